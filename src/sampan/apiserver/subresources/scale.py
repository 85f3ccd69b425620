"""`/scale`: the replicas of any scalable kind, as an `autoscaling/v1` Scale.

Source: kubernetes/pkg/registry/apps/deployment/storage/storage.go (ScaleREST)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Names, Obj
from sampan.api.selectors import label_selector_from, selector_from_map
from sampan.api.table import age
from sampan.apiserver import replies
from sampan.apiserver.body import read_as
from sampan.apiserver.call import Call
from sampan.apiserver.options import write_options
from sampan.apiserver.patch.managed import update_managed_fields
from sampan.apiserver.patch.scale import Owners
from sampan.apiserver.verbs.patch import APPLY, patch_type, patcher
from sampan.apiserver.verbs.update import check_name
from sampan.apiserver.views import TableView
from sampan.apiserver.write import Produced, View, change, served
from sampan.http.server.messages import Response

GVK = ("autoscaling", "v1", "Scale")
NAMES = Names("autoscaling", "v1", "scales", "scale", "Scale", True, ("get", "patch", "update"))


class ScaleKind(Kind):
    """Scale as a kind, for Tables and patches."""

    columns = (NAME, Column("Desired", "integer"), Column("Available", "integer"), AGE)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        desired, available = obj["spec"].get("replicas", 0), obj["status"].get("replicas", 0)
        return [meta["name"], desired, available, age(meta.get("creationTimestamp"), now)]


async def serve(call: Call) -> Response:
    struct = call.api.registry.struct("autoscaling", "v1", "Scale")
    assert struct is not None
    kind = ScaleKind(NAMES, struct)
    show, take = _forms(call)
    if call.info.verb == "get":
        await call.api.fresh()
        record = call.resource.cache.get(call.key)
        if record is None:
            raise errors.not_found(call.group, call.kind.names.resource, call.info.name)
        return shown(call, kind, show(await served(call.kind, record)))
    apply = call.info.verb == "patch" and patch_type(call) == APPLY
    options = write_options(call.query, "PatchOptions" if call.info.verb == "patch" else "UpdateOptions", apply=apply)
    sent = None
    if call.info.verb == "update":
        sent = await read_as(call, struct, ("autoscaling", "v1", "Scale"), options.validation)
        check_name(call, sent)
    patch = await patcher(call, kind, patch_type(call), options) if call.info.verb == "patch" else None

    owners = Owners(call.api.registry, call.kind)

    def produce(old: Obj | None) -> Produced:
        assert old is not None
        before = show(old)
        entries = owners.of_scale(old["metadata"].get("managedFields"))
        if entries:
            before["metadata"]["managedFields"] = entries
        made = Produced(dict(sent or {})) if patch is None else patch(before)
        scale = made.obj
        if made.managed is None:
            made.managed = update_managed_fields(
                struct, before, scale, manager=options.manager or call.manager, api_version="autoscaling/v1",
                subresource="scale", time=call.context().now, reset_fields=("status",),
            )  # fmt: skip
        new = {**old, "metadata": dict(old["metadata"])}
        new["metadata"]["resourceVersion"] = scale["metadata"].get("resourceVersion", "")
        uid = scale["metadata"].get("uid")
        if uid:
            new["metadata"]["uid"] = uid
        return Produced(take(new, scale), owners.of_object(old["metadata"].get("managedFields"), made.managed))

    result = await change(call, call.key, produce, options, subresource="scale", view=View(GVK, show, take))
    return shown(call, kind, show(await served(call.kind, result.record)))


def _forms(call: Call) -> tuple[Callable[[Obj], Obj], Callable[[Obj, Obj], Obj]]:
    """How this kind shows a Scale, and how it takes the replicas from one."""
    if not call.kind.custom:
        return scale_of, scaled
    from sampan.apiserver.customresources import scale

    kind = call.kind
    return partial(scale.scale_of, kind), lambda old, sent: scale.scaled(kind, old, replicas_of(sent))


def replicas_of(scale: Obj) -> int:
    """Raises 422."""
    replicas: int = scale.get("spec", {}).get("replicas", 0)
    if replicas < 0:
        problems = ErrorList()
        problems.invalid(Path("spec", "replicas"), replicas, "must be greater than or equal to 0")
        raise errors.invalid("autoscaling", "Scale", scale["metadata"].get("name", ""), problems)
    return replicas


def scaled(obj: Obj, scale: Obj) -> Obj:
    """The object with the replicas of its Scale. Raises 422."""
    return {**obj, "spec": {**obj["spec"], "replicas": replicas_of(scale)}}


def scale_of(obj: Obj) -> Obj:
    """The Scale of a Deployment, ReplicaSet, StatefulSet or ReplicationController."""
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = spec.get("selector")
    plain = obj["kind"] == "ReplicationController"
    text = str(selector_from_map(selector) if plain else label_selector_from(selector))
    out_spec: dict[str, Any] = {"replicas": spec["replicas"]} if spec.get("replicas") else {}
    out_status: dict[str, Any] = {"replicas": status.get("replicas", 0)}
    if text:
        out_status["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in kept if name in meta},
        "spec": out_spec,
        "status": out_status,
    }


def shown(call: Call, kind: Kind, scale: Obj) -> Response:
    body = orjson.dumps(scale)
    if call.accept.view == "Table":
        view = TableView(kind, call.accept.version, call.query.get("includeObject", ""), call.api.clock)
        meta = {"resourceVersion": scale["metadata"].get("resourceVersion", "")}
        body = b"".join(view.table([view.render(scale, call.api.clock())], meta))
    pretty = replies.wants_pretty(call.request, call.query)
    return replies.reply(body, media=call.accept.media, warnings=call.warnings, pretty=pretty)
