"""`nodes/NAME/proxy`, `pods/NAME/proxy`, `services/NAME/proxy`: plain HTTP, any method, to a kubelet, a pod, an endpoint of a Service.

`NAME` may be `scheme:name:port`; what stands behind `proxy` is the path there. Upgrades pass. The client's credentials do not,
and of the reply its links and redirects lead back through here.

DEVIATION: a request's body is held in memory and bounded as every request's; upstream streams it.

Source: k8s.io/apimachinery/pkg/util/proxy/{upgradeaware,transport}.go; kubernetes/pkg/registry/core/{node/strategy,pod/strategy,
service/storage/storage}.go (ResourceLocation)
"""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Iterator
from urllib.parse import quote, unquote, unquote_to_bytes

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.apiserver import replies
from sampan.apiserver.call import Call
from sampan.apiserver.subresources import node
from sampan.apiserver.subresources.links import Links
from sampan.http import HttpClient, HttpError, ResponseStream
from sampan.http import upgraded as upgrades
from sampan.http.errors import join_host_port
from sampan.http.server import relay
from sampan.http.server.messages import Request, Response

#: a page longer than this goes on as it is
MAX_PAGE = 8 << 20
SERVICE_OF_SLICE = "kubernetes.io/service-name"
_HOP = {"connection", "proxy-connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade"}  # fmt: skip
#: of requests: what was meant for us, or is written anew
_OURS = {"authorization", "content-length", "accept-encoding", "expect"}
_CORS = {"access-control-allow-origin", "access-control-allow-credentials", "access-control-allow-headers",
         "access-control-allow-methods", "access-control-max-age", "access-control-expose-headers"}  # fmt: skip


async def serve(call: Call) -> Response:
    """Raises 400, 404, 503, and what admission says of it."""
    await node.ask(call)
    await call.api.fresh()
    where = {"nodes": _node, "pods": _pod, "services": _service}[call.info.resource]
    origin, client = where(call, *_split(call))
    request = call.request
    prefix, tail = _paths(request.raw_path, 8 if call.info.namespace else 6)
    query = f"?{request.query}" if request.query else ""
    if not tail and request.method in ("GET", "HEAD") and not upgrades.asks(request):
        return Response(301, (("Location", f"{unquote(prefix)}/{query}"),))
    node.abandon(call)
    path = _cleaned(tail)
    url = f"{origin}{path}{query}"
    headers = _headers(request, f"{prefix}{path}")
    try:
        if upgrades.asks(request):
            kept = [("Connection", "Upgrade"), ("Upgrade", request.headers["upgrade"]), ("Accept-Encoding", "")]
            return await upgrades.relay(request, client, url, headers=[*headers, *kept])
        headers.append(("Accept-Encoding", request.headers.get("accept-encoding", "")))
        stream = await client.stream(request.method, url, headers=headers, body=request.body, raw=True)
    except HttpError as error:
        raise errors.unavailable(f"error trying to reach service: {error}") from None
    return await _answer(
        call, stream, Links(unquote(prefix), origin.partition("://")[2], request.headers.get("host", ""))
    )


# -- where to ----------------------------------------------------------------------------------------------------------


def _split(call: Call) -> tuple[str, str, str]:
    """Scheme, name and port of `scheme:name:port`, `name:port` or `name`."""
    parts = call.info.name.split(":")
    scheme, name, port = ("", *parts, "")[:3] if len(parts) < 3 else (*parts, "")[:3]
    if len(parts) > 3 or not name or scheme not in ("", "http", "https"):
        kind = call.info.resource.removesuffix("s")
        raise errors.bad_request(f'invalid {kind} request "{call.info.name}"')
    return scheme, name, port


def _node(call: Call, scheme: str, name: str, port: str) -> tuple[str, HttpClient]:
    kubelet = call.api.kubelets.url(name)
    if node.simulated(call, name):
        raise errors.unavailable(f"node {name} is simulated: there is no kubelet to ask")
    host, _, usual = kubelet.partition("://")[2].rpartition(":")
    if not port or port == usual:
        return kubelet, call.api.kubelets.client
    return f"{scheme or 'http'}://{host}:{port}", call.api.proxied


def _pod(call: Call, scheme: str, name: str, port: str) -> tuple[str, HttpClient]:
    record = call.resource.cache.get(f"{call.info.namespace}/{name}")
    if record is None:
        raise errors.not_found("", "pods", name)
    pod = record.obj()
    where = pod["spec"].get("nodeName", "")
    if where and node.simulated(call, where):
        raise errors.bad_request(f"pod {name} is simulated: node {where} runs no containers to connect to")
    if not port:
        declared = (
            each["containerPort"] for item in pod["spec"]["containers"] for each in (item.get("ports") or ())[:1]
        )
        port = str(next(declared, ""))
    address = ((pod.get("status") or {}).get("podIPs") or [{}])[0].get("ip", "")
    if not _global(address):
        raise errors.bad_request("address not allowed")
    host = f"[{address}]" if ":" in address else address
    return f"{scheme or 'http'}://{host}{':' if port else ''}{port}", call.api.proxied


def _global(address: str) -> bool:
    """No loopback, link-local, multicast or unspecified address: nothing that means something else to us than to a pod."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified)


def _service(call: Call, scheme: str, name: str, port: str) -> tuple[str, HttpClient]:
    record = call.resource.cache.get(f"{call.info.namespace}/{name}")
    if record is None:
        raise errors.not_found("", "services", name)
    if port.isdigit():
        ports = record.obj()["spec"].get("ports") or ()
        found = next((each for each in ports if each["port"] == int(port)), None)
        if found is None:
            raise errors.unavailable(f'no service port {port} found for service "{name}"')
        port = found.get("name", "")
    ready = list(_endpoints(call, name, port))
    if not ready:
        raise errors.unavailable(f'no endpoints available for service "{call.info.name}"')
    address, number = call.api.rng.choice(ready)
    return f"{scheme or 'http'}://{join_host_port(address, number)}", call.api.proxied


def _endpoints(call: Call, name: str, port: str) -> Iterator[tuple[str, int]]:
    """Ready ones that are really pods': an EndpointSlice may be written by many, and we may reach more than they."""
    slices = call.api.cached("discovery.k8s.io", "endpointslices").list(call.info.namespace)
    for record in slices:
        if (record.labels or {}).get(SERVICE_OF_SLICE) != name:
            continue
        found = record.obj()
        number: int = next(
            (each.get("port") for each in found.get("ports") or () if (each.get("name") or "") == port), 0
        )
        for endpoint in found.get("endpoints") or () if number else ():
            if (endpoint.get("conditions") or {}).get("ready") is not False and _of_pod(call, endpoint):
                yield endpoint["addresses"][0], number


def _of_pod(call: Call, endpoint: Obj) -> bool:
    target = endpoint.get("targetRef") or {}
    if target.get("kind") != "Pod":
        return False
    record = call.api.cached("", "pods").get(f"{target.get('namespace') or call.info.namespace}/{target.get('name')}")
    if record is None:
        return False
    pod = record.obj()
    if node.simulated(call, pod["spec"].get("nodeName", "")):
        return False
    addresses = {each["ip"] for each in (pod.get("status") or {}).get("podIPs") or ()}
    return endpoint["addresses"][0] in addresses


# -- what goes there, and comes back -----------------------------------------------------------------------------------


def _paths(raw: str, segments: int) -> tuple[str, str]:
    """The path up to `proxy`, and what follows, both as they were sent."""
    parts = raw.split("/")
    tail = "/".join(parts[segments:])
    return "/".join(parts[:segments]), f"/{tail}" if len(parts) > segments else ""


def _cleaned(tail: str) -> str:
    """As upstream joins paths: decoded, without empty and dotted segments, a slash at the end kept, and encoded anew."""
    path = unquote_to_bytes(tail)
    clean = posixpath.normpath(b"/" + path.lstrip(b"/"))
    return quote(clean + b"/" if path.endswith(b"/") and clean != b"/" else clean, safe="/$&+,:;=@~")


def _headers(request: Request, uri: str) -> list[tuple[str, str]]:
    dropped = _HOP | _OURS | {name.strip().lower() for name in request.headers.get("connection", "").split(",")}
    kept = [
        (name, value)
        for name, value in request.header_list
        if name not in dropped and not name.startswith(("impersonate-", "x-remote-")) and name != "x-forwarded-for"
    ]
    before = [value for name, value in request.header_list if name == "x-forwarded-for"]
    through = ", ".join([*before, *([request.remote] if request.remote else [])])
    return [*kept, ("X-Forwarded-Uri", uri), *([("X-Forwarded-For", through)] if through else [])]


async def _answer(call: Call, stream: ResponseStream, links: Links) -> Response:
    dropped = (
        _HOP | _CORS | {"date"} | {name.strip().lower() for name in stream.headers.get("connection", "").split(",")}
    )
    headers = [(name, value) for name, value in stream.header_list if name.lower() not in dropped]
    names = {name.lower() for name, _ in headers}
    headers.append(("Audit-Id", replies.audit_id()))
    if "cache-control" not in names:
        headers.append(("Cache-Control", "no-cache, private"))
    headers = [(name, links.url(value) if name.lower() == "location" else value) for name, value in headers]
    media = stream.headers.get("content-type", "").partition(";")[0].strip()
    if stream.code in (204, 304) or call.request.method == "HEAD":
        await stream.aclose()
        return Response(stream.code, headers)
    encoded = stream.headers.get("content-encoding", "")
    if media == "text/html" and "location" not in names and not encoded:
        return await _page(call, stream, headers, links)
    return Response(stream.code, headers, stream=relay.body(stream), patient=True)


async def _page(call: Call, stream: ResponseStream, headers: list[tuple[str, str]], links: Links) -> Response:
    """A page whole, for its links; one that is very long as it comes."""
    begun: list[bytes] = []
    size = 0
    try:
        async for data in stream:
            begun.append(data)
            size += len(data)
            if size > MAX_PAGE:
                return Response(stream.code, headers, stream=relay.body(stream, b"".join(begun)), patient=True)
    except HttpError as error:
        await stream.aclose()
        raise errors.unavailable(f"error trying to reach service: {error}") from None
    await stream.aclose()
    text = b"".join(begun).decode("utf-8", "surrogateescape")
    changed = (await call.work(size, links.page, text)).encode("utf-8", "surrogateescape")
    return Response(stream.code, [each for each in headers if each[0].lower() != "content-length"], changed)
