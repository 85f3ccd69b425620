"""ComponentStatus: how the scheduler, the controllers and the store are.

Source: kubernetes/pkg/registry/core/componentstatus/rest.go, pkg/registry/core/rest/storage_core.go (componentStatusStorage)
"""

from __future__ import annotations

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.api.times import parse_time
from sampan.api.user import MASTERS
from sampan.apiserver.api import Api
from sampan.apiserver.call import Call
from sampan.apiserver.options import list_options
from sampan.apiserver.unstored import many, one
from sampan.http.server.messages import Response
from sampan.store.contract import StoreError

CONTROLLERS = "system:serviceaccount:kube-system:"
NAMES = ("controller-manager", "etcd-0", "scheduler")


async def serve(call: Call) -> Response:
    """GET of one or many."""
    if call.info.verb == "get":
        if call.info.name not in NAMES:
            # DEVIATION: upstream answers 500
            raise errors.not_found("", "componentstatuses", call.info.name)
        return one(call, await _status(call.api, call.info.name))
    options = list_options(call.query, {}, call.kind.names.kind)
    wanted = options.fields.exact("metadata.name")
    names = [name for name in NAMES if wanted in (None, name)] if options.labels.matches(None) else []
    return many(call, [await _status(call.api, name) for name in names])


async def _status(api: Api, name: str) -> Obj:
    wrong = await _store(api) if name == "etcd-0" else _component(api, f"kube-{name}")
    condition = {"type": "Healthy", "status": "False" if wrong else "True", "message": wrong or "ok"}
    return {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]}


async def _store(api: Api) -> str:
    try:
        await api.store.range(b"/registry/health", b"/registry/health0", limit=1)
    except StoreError as error:
        return str(error)
    return ""


def _component(api: Api, name: str) -> str:
    """What is wrong, if anything.

    DEVIATION: a component is well that watches this server, or whose lease is renewed; upstream asks the ports 10257 and
    10259 of its own machine, behind which another component may live, or none.
    """
    if any(_is(name, session.call) for session in api.sessions):
        return ""
    record = api.cached("coordination.k8s.io", "leases").get(f"kube-system/{name}")
    if record is not None:
        spec: Obj = record.obj().get("spec") or {}
        renewed = spec.get("renewTime")
        if renewed and api.clock() < parse_time(renewed) + spec.get("leaseDurationSeconds", 0):
            return ""
    return f"{name} watches nothing of this server, and its lease is not renewed"


def _is(name: str, call: Call) -> bool:
    """Controllers may come as themselves; who watches for several names them in its user agent."""
    user = call.user
    if user.name == f"system:{name}":
        return True
    if user.name == "system:kube-controller-manager" or MASTERS in user.groups:
        return name in call.request.headers.get("user-agent", "")
    return name == "kube-controller-manager" and user.name.startswith(CONTROLLERS) and user.name.endswith("-controller")
