"""Answers to reads of what is stored nowhere, but made when it is asked for: metrics, component statuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from sampan.api.kind import Obj
from sampan.apiserver import replies
from sampan.apiserver.call import Call
from sampan.apiserver.negotiation import Accept
from sampan.apiserver.views import PartialView, TableView, chunked, view_for
from sampan.http.server.messages import Response


def one(call: Call, obj: Obj) -> Response:
    view = _view(call)
    if isinstance(view, TableView):
        return _reply(call, view.table([view.render(obj, call.api.clock())], {}))
    if isinstance(view, PartialView):
        return _reply(call, orjson.dumps(_partial(view, obj)))
    return _reply(call, orjson.dumps(obj))


def many(call: Call, found: Sequence[Obj]) -> Response:
    view = _view(call)
    if isinstance(view, TableView):
        return _reply(call, view.table([view.render(obj, call.api.clock()) for obj in found], {}))
    if isinstance(view, PartialView):
        items = [orjson.dumps(_partial(view, obj)) for obj in found]
    else:
        items = [orjson.dumps({key: obj[key] for key in obj if key not in ("kind", "apiVersion")}) for obj in found]
    head = f'{{"kind":"{view.list_kind}","apiVersion":"{view.list_version}","metadata":{{}},"items":['
    return _reply(call, chunked(head.encode(), items, b"]}\n"))


def _view(call: Call) -> Any:
    # as JSON, which replies turn into what else is asked for
    accept = Accept(view=call.accept.view, version=call.accept.version)
    return view_for(call.kind, accept, call.query.get("includeObject", ""), call.api.clock)


def _partial(view: PartialView, obj: Obj) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": view.version, "metadata": obj["metadata"]}


def _reply(call: Call, body: bytes | list[bytes]) -> Response:
    pretty = replies.wants_pretty(call.request, call.query)
    return replies.reply(body, media=call.accept.media, warnings=call.warnings, pretty=pretty)
