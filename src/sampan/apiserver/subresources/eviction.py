"""`pods/eviction`: delete a pod, unless a PodDisruptionBudget forbids it now.

Source: kubernetes/pkg/registry/core/pod/storage/eviction.go
"""

from __future__ import annotations

import orjson

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.api.schema.bodies import read_body
from sampan.api.schema.decode import decode
from sampan.api.selectors import label_selector_from
from sampan.api.times import format_time
from sampan.apiserver import replies
from sampan.apiserver.cache import Record, encode
from sampan.apiserver.call import Call
from sampan.apiserver.options import delete_options, write_options
from sampan.apiserver.verbs.delete import remove
from sampan.apiserver.write import admit
from sampan.http.server.messages import Response
from sampan.store.contract import Compare, Put

CANNOT = "Cannot evict pod as it would violate the pod's disruption budget."
MAX_DISRUPTED = 2000


async def serve(call: Call) -> Response:
    """201 with a Status. Raises 429 while a budget forbids it, 500 when several budgets select the pod."""
    options = write_options(call.query, "CreateOptions")
    eviction = await call.work(call.body_size, _read, call)
    deletion = delete_options({}, eviction.get("deleteOptions"))
    # either of both says so
    options.dry_run = deletion.dry_run = deletion.dry_run or options.dry_run
    await admit(call, eviction, options, ("policy", "v1", "Eviction"))
    await call.api.fresh()
    record = call.resource.cache.get(call.key)
    if record is None:
        raise errors.not_found("", "pods", call.info.name)
    pod = record.obj()
    if not _needs_no_budget(pod):
        await _spend(call, record, pod, deletion.dry_run)
    await remove(call, call.key, deletion, ask=False)
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return replies.reply(orjson.dumps(body), code=201, media=call.accept.media, warnings=call.warnings)


def _read(call: Call) -> Obj:
    struct = call.api.registry.struct("policy", "v1", "Eviction")
    assert struct is not None
    raw, found, _ = read_body(
        call.request.body,
        call.request.headers.get("content-type", ""),
        default_gvk=("policy", "v1", "Eviction"),
        resolve=call.api.registry.struct,
        want_duplicates=False,
    )
    if found not in (("policy", "v1", "Eviction"), ("policy", "v1beta1", "Eviction")):
        raise errors.bad_request(f"not an Eviction: {found[2]} in version {found[1]}")
    eviction = decode(struct, raw, strict=None)
    name = eviction.get("metadata", {}).get("name", "")
    if name and name != call.info.name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    return eviction


def _needs_no_budget(pod: Obj) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed", "Pending") or bool(
        pod["metadata"].get("deletionTimestamp")
    )


async def _spend(call: Call, record: Record, pod: Obj, dry_run: bool) -> None:
    """Take one disruption from the pod's budget, if it has one."""
    budgets = [
        found
        for found in call.api.cached("policy", "poddisruptionbudgets").list(record.namespace)
        if _selects(found, record)
    ]
    if len(budgets) > 1:
        raise errors.StatusError(
            500, "", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    if not budgets:
        return
    budget = budgets[0]
    obj = budget.obj()
    status = dict(obj.get("status", {}))
    observed, generation = status.get("observedGeneration", 0), obj["metadata"].get("generation", 0)
    if observed < generation:
        raise _too_many(f"The disruption budget {budget.name} is still being processed by the server.")
    unhealthy = not _ready(pod)
    if unhealthy and obj["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if unhealthy and healthy >= desired and desired > 0:
        return
    if status.get("disruptionsAllowed", 0) <= 0:
        raise _too_many(f"The disruption budget {budget.name} needs {desired} healthy pods and has {healthy} currently")
    status["disruptionsAllowed"] -= 1
    disrupted = dict(status.get("disruptedPods") or {})
    if len(disrupted) > MAX_DISRUPTED:
        raise errors.forbidden(
            "policy",
            "poddisruptionbudgets",
            budget.name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        )
    disrupted[record.name] = format_time(call.api.clock())
    status["disruptedPods"] = disrupted
    if dry_run:
        return
    key = (call.api.cached("policy", "poddisruptionbudgets").prefix + budget.key).encode()
    value = encode({**obj, "status": status})
    result = await call.api.store.txn([Compare(key, "mod", "=", budget.revision)], [Put(key, value)])
    await call.api.cache.reach(result.revision)
    if not result.succeeded:
        raise _too_many("The disruption budget changed while the pod was being evicted.")


def _selects(budget: Record, pod: Record) -> bool:
    return label_selector_from(budget.obj().get("spec", {}).get("selector")).matches(pod.labels)


def _ready(pod: Obj) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def _too_many(message: str) -> errors.StatusError:
    cause = {"reason": "DisruptionBudget", "message": message}
    error = errors.too_many_requests(CANNOT, 0)
    error.details = {"causes": [cause]}
    if "still being processed" in message:
        error.details["retryAfterSeconds"] = 10
        error.headers = (("Retry-After", "10"),)
    return error
