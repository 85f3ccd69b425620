"""`pods/binding` (and the older `bindings`): a pod gets its node.

Source: kubernetes/pkg/registry/core/pod/storage/storage.go (BindingREST)
"""

from __future__ import annotations

import orjson

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.times import format_time
from sampan.apiserver import replies
from sampan.apiserver.body import read_as
from sampan.apiserver.call import Call
from sampan.apiserver.options import write_options
from sampan.apiserver.verbs.update import check_name
from sampan.apiserver.write import Produced, admit, change
from sampan.http.server.messages import Response


async def serve(call: Call) -> Response:
    """201 with a Status. Raises 409 when the pod has a node already or is going."""
    options = write_options(call.query, "CreateOptions")
    struct = call.api.registry.struct("", "v1", "Binding")
    assert struct is not None
    binding = await read_as(call, struct, ("", "v1", "Binding"), options.validation)
    if not call.info.name:
        call.info.name = binding["metadata"].get("name", "")
    check_name(call, binding)
    # the older way is a resource of its own
    at = None if call.info.subresource else ("", "v1", "bindings")
    binding = await admit(call, binding, options, ("", "v1", "Binding"), at=at)
    target = binding.get("target") or {}
    problems = ErrorList()
    if target.get("kind") not in ("", None, "Node"):
        problems.not_supported(Path("target", "kind"), target["kind"], ("Node", "<empty>"))
    if not target.get("name"):
        problems.required(Path("target", "name"), "")
    if problems:
        raise errors.invalid("", "Binding", call.info.name, problems)

    def produce(old: Obj | None) -> Produced:
        assert old is not None
        return Produced(_bound(call, old, binding))

    await change(call, call.key, produce, options, subresource="binding", ask=False)
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return replies.reply(orjson.dumps(body), code=201, media=call.accept.media, warnings=call.warnings)


def _bound(call: Call, old: Obj, binding: Obj) -> Obj:
    name, node = old["metadata"]["name"], binding["target"]["name"]

    def refused(why: str) -> errors.StatusError:
        return errors.conflict("", "pods/binding", name, why)

    uid = binding["metadata"].get("uid")
    if uid and uid != old["metadata"]["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
        raise errors.conflict("", "pods", name, why)
    if old["metadata"].get("deletionTimestamp"):
        raise refused(f"pod {name} is being deleted, cannot be assigned to a host")
    if old["spec"].get("nodeName"):
        raise refused(f'pod {name} is already assigned to node "{old["spec"]["nodeName"]}"')
    if old["spec"].get("schedulingGates"):
        raise refused(f"pod {name} has non-empty .spec.schedulingGates")
    meta = dict(old["metadata"])
    meta["annotations"] = {**(meta.get("annotations") or {}), **(binding["metadata"].get("annotations") or {})}
    meta["labels"] = {**(meta.get("labels") or {}), **(binding["metadata"].get("labels") or {})}
    for name in ("annotations", "labels"):
        if not meta[name]:
            del meta[name]
    meta["resourceVersion"] = ""
    status = dict(old.get("status", {}))
    status.pop("nominatedNodeName", None)
    now = format_time(call.api.clock())
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    others = [item for item in status.get("conditions") or () if item.get("type") != "PodScheduled"]
    status["conditions"] = [*others, scheduled]
    return {**old, "metadata": meta, "spec": {**old["spec"], "nodeName": node}, "status": status}
