"""`serviceaccounts/token`: tokens come with authentication; until then the request is refused plainly."""

from __future__ import annotations

from sampan.api import errors
from sampan.apiserver.call import Call
from sampan.apiserver.http.messages import Response


async def serve(call: Call) -> Response:
    """Raises 404 without the ServiceAccount, else 503."""
    await call.api.fresh()
    if call.resource.cache.get(call.key) is None:
        raise errors.not_found("", "serviceaccounts", call.info.name)
    raise errors.unavailable("service account tokens are not issued by this server yet")
