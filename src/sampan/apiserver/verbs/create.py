"""POST: a new object."""

from __future__ import annotations

from sampan.apiserver import replies
from sampan.apiserver.body import read_object
from sampan.apiserver.call import Call
from sampan.apiserver.options import write_options
from sampan.apiserver.views import view_for
from sampan.apiserver.write import Produced, Written
from sampan.apiserver.write import create as store_new
from sampan.http.server.messages import Response


async def create(call: Call) -> Response:
    """201 with the object as stored."""
    options = write_options(call.query, "CreateOptions")
    obj = await read_object(call, options.validation)
    return written(call, await store_new(call, Produced(obj), options))


def written(call: Call, result: Written) -> Response:
    """The reply to a write: the object in the view asked for."""
    view = view_for(call.kind, call.accept, call.query.get("includeObject", ""), call.api.clock)
    body = view.object(result.record)
    code = 201 if result.created else 200
    pretty = replies.wants_pretty(call.request, call.query)
    return replies.reply(body, code=code, media=call.accept.media, warnings=call.warnings, pretty=pretty)
