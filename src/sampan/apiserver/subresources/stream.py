"""`pods/exec`, `pods/attach`, `pods/portforward`: a connection to the pod's kubelet, and from there to its runtime.

SPDY and the older WebSocket protocols are passed on as they are; what newer clients speak is translated to the SPDY that every
kubelet knows.

Source: kubernetes/pkg/registry/core/pod/rest/subresources.go, pod/strategy.go (streamLocation, streamParams)
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.apiserver.authorization.attributes import of_request, refusal
from sampan.apiserver.call import Call
from sampan.apiserver.subresources import containers, node
from sampan.http import HttpError, translate, upgraded
from sampan.http.remotecommand import Options
from sampan.http.server.messages import Request, Response

_PARAMETERS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
ANSWER_SECONDS = 30.0


async def serve(call: Call) -> Response:
    """Raises 403, 404, 400 for a pod without a node or a container that it has not, 500 for a kubelet that does not answer."""
    _may_create(call)
    asked = await node.ask(call)
    await call.api.fresh()
    record = call.resource.cache.get(call.key)
    if record is None:
        raise errors.not_found("", "pods", call.info.name)
    url = _location(call, record.obj(), asked)
    request, client, headers = call.request, call.api.kubelets.client, _headers(call.request)
    if not upgraded.asks(request):
        raise errors.bad_request("Upgrade request required")
    forwards = call.info.subresource == "portforward"
    try:
        if forwards and translate.tunnelled(request):
            return await translate.tunnel(request, client, url)
        if not forwards and translate.offers_v5(request):
            return translate.translate(
                request, client, url, Options(**{name: bool(asked.get(name)) for name in _PARAMETERS})
            )
        return await upgraded.relay(request, client, url, headers=headers, timeout=ANSWER_SECONDS)
    except HttpError as error:
        raise errors.StatusError(500, "", f"error dialing backend: {error}") from None


def _may_create(call: Call) -> None:
    """A WebSocket begins with a GET, and who may only get may not run commands."""
    attributes = replace(of_request(call.info, call.query), verb="create")
    decision = call.api.authorizer.authorize(call.user, attributes)
    if decision.allowed is not True:
        raise refusal(call.user, attributes, decision.reason)


def _location(call: Call, pod: Obj, asked: Obj) -> str:
    """The kubelet's URL. Raises StatusError."""
    name, what = call.info.name, call.info.subresource
    query: list[tuple[str, str]] = []
    where = [call.info.namespace, name]
    if what == "portforward":
        if asked.get("ports"):
            query.append(("port", ",".join(map(str, asked["ports"]))))
    else:
        where.append(containers.choose(pod, asked.get("container", "")))
        query += [(short, "1") for long, short in _PARAMETERS.items() if asked.get(long)]
        query += [("command", each) for each in asked.get("command") or ()]
    host = pod["spec"].get("nodeName")
    if not host:
        raise errors.bad_request(f"pod {name} does not have a host assigned")
    if node.simulated(call, host):
        raise errors.bad_request(f"pod {name} is simulated: node {host} runs no containers to connect to")
    path = {"exec": "exec", "attach": "attach", "portforward": "portForward"}[what]
    return f"{call.api.kubelets.url(host)}/{path}/{'/'.join(where)}{'?' if query else ''}{urlencode(query)}"


def _headers(request: Request) -> list[tuple[str, str]]:
    """The client's own, without what says who it is: the kubelet is asked in our name."""
    kept = [
        (name, value)
        for name, value in upgraded.forwarded(request)
        if not name.startswith(("impersonate-", "x-remote-")) and name != "x-forwarded-for"
    ]
    before = [value for name, value in request.header_list if name == "x-forwarded-for"]
    through = ", ".join([*before, *([request.remote] if request.remote else [])])
    return [*kept, *([("X-Forwarded-For", through)] if through else [])]
