"""GET of one object: the cached bytes, as they are."""

from __future__ import annotations

from collections.abc import Awaitable

from sampan.api import errors
from sampan.apiserver import replies
from sampan.apiserver.call import Call
from sampan.apiserver.views import view_for
from sampan.http.server.messages import Response


def get(call: Call) -> Response | Awaitable[Response]:
    """200 with the object. Raises 404, and 504 for a resourceVersion that has not happened yet."""
    asked = call.query.get("resourceVersion", "")
    if asked and not asked.isdigit():
        raise errors.bad_request(f'Invalid value: "{asked}": strconv.ParseUint: parsing "{asked}": invalid syntax')
    waits = call.api.freshness(asked)
    if waits is not None or call.kind.remote:
        return _later(call, waits)
    return now(call)


async def _later(call: Call, waits: Awaitable[None] | None) -> Response:
    if waits is not None:
        await waits
    record = call.resource.cache.get(call.key)
    if call.kind.remote and record is not None:
        await call.kind.fetch([record])
    return now(call)


def now(call: Call) -> Response:
    record = call.resource.cache.get(call.key)
    names = call.kind.names
    if record is None:
        raise errors.not_found(names.group, names.resource, call.info.name)
    view = view_for(call.kind, call.accept, call.query.get("includeObject", ""), call.api.clock)
    pretty = replies.wants_pretty(call.request, call.query)
    return replies.reply(view.object(record), media=call.accept.media, warnings=call.warnings, pretty=pretty)
