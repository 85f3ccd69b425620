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
from sampan.apiserver.options import DeleteOptions, WriteOptions, delete_options, write_options
from sampan.apiserver.verbs.delete import check_preconditions, remove
from sampan.apiserver.write import Produced, admit, change
from sampan.http.server.messages import Response
from sampan.store.contract import Compare, Put

CANNOT = "Cannot evict pod as it would violate the pod's disruption budget."
STILL = "The disruption budget {} is still being processed by the server."
NOT_NOW = "does not allow evicting pods currently"
NEGATIVE = "pdb disruptions allowed is negative"
TOO_MANY = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
TARGET, ALLOWED = "DisruptionTarget", "DisruptionAllowed"
MAX_DISRUPTED = 2000
#: how often a budget is looked at again that somebody else has changed
TRIES = 20


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
    budget, watched = "", False
    if not _needs_no_budget(pod):
        budget, watched = await _spend(call, record, pod, deletion.dry_run)
    elif pod["status"]["phase"] == "Pending" and not pod["metadata"].get("deletionTimestamp"):
        watched = True
    own = "resourceVersion" in deletion.preconditions
    if watched and not own:
        # it must not have become ready meanwhile
        deletion.preconditions = {**deletion.preconditions, "resourceVersion": str(record.revision)}
    try:
        await _mark(call, deletion)
        await remove(call, call.key, deletion, ask=False)
    except errors.StatusError as error:
        if budget and watched and not own and error.reason == "Conflict":
            raise _too_many(STILL.format(budget), 10) from None
        raise
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


async def _mark(call: Call, deletion: DeleteOptions) -> None:
    """The pod says why it goes, so that whoever counts failures can leave this one out."""
    if deletion.dry_run:
        return

    def produce(old: Obj | None) -> Produced:
        assert old is not None
        check_preconditions(call, old, deletion)
        status, meta = old.get("status") or {}, old["metadata"]
        conditions = [item for item in status.get("conditions") or () if item.get("type") != TARGET]
        before: Obj = next((item for item in status.get("conditions") or () if item.get("type") == TARGET), {})
        now = format_time(call.api.clock())
        same = before.get("status") == "True"
        condition: Obj = {
            "type": TARGET,
            "observedGeneration": meta.get("generation", 0),
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": before.get("lastTransitionTime", now) if same else now,
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
        new = {**old, "status": {**status, "conditions": [*conditions, condition]}}
        # nobody becomes the owner of it
        return Produced(new, meta.get("managedFields") or [])

    written = await change(call, call.key, produce, WriteOptions(), subresource="status", ask=False)
    if "resourceVersion" in deletion.preconditions:
        deletion.preconditions = {**deletion.preconditions, "resourceVersion": str(written.record.revision)}


async def _spend(call: Call, record: Record, pod: Obj, dry_run: bool) -> tuple[str, bool]:
    """Take one disruption from the pod's budget, if it has one. The budget's name, and whether the pod may go only as long
    as it is not ready."""
    for _ in range(TRIES):
        budgets = [
            found
            for found in call.api.cached("policy", "poddisruptionbudgets").list(record.namespace)
            if _selects(found, record)
        ]
        if len(budgets) > 1:
            why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise errors.StatusError(500, "", why)
        if not budgets:
            return "", False
        budget = budgets[0]
        obj = budget.obj()
        status: Obj = obj.get("status") or {}
        if not _ready(pod):
            enough = status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0
            if enough or obj["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
                return budget.name, True
        spent = _spent(budget.name, obj, status, record.name, format_time(call.api.clock()))
        if dry_run:
            return budget.name, False
        key = (call.api.cached("policy", "poddisruptionbudgets").prefix + budget.key).encode()
        value = encode({**obj, "status": spent})
        result = await call.api.store.txn([Compare(key, "mod", "=", budget.revision)], [Put(key, value)])
        await call.api.cache.reach(result.revision)
        if result.succeeded:
            return budget.name, False
    raise errors.timeout(f'couldn\'t update PodDisruptionBudget "{budget.name}" due to conflicts')


def _spent(name: str, budget: Obj, status: Obj, pod: str, now: str) -> Obj:
    """The budget's status with one disruption less. Raises 403, 429."""
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _too_many(STILL.format(name), 10)
    left = status.get("disruptionsAllowed", 0)
    disrupted = dict(status.get("disruptedPods") or {})
    if left < 0:
        raise _refused(name, NEGATIVE, NEGATIVE)
    if len(disrupted) > MAX_DISRUPTED:
        raise _refused(name, TOO_MANY, "too many pending evictions not confirmed by PDB controller")
    if left == 0:
        raise _too_many(f"The disruption budget {name} {_why_none(status)}", 0)
    disrupted[pod] = now
    out = {**status, "disruptionsAllowed": left - 1, "disruptedPods": disrupted}
    if left == 1:
        out["conditions"] = _exhausted(status, now)
    return out


def _why_none(status: Obj) -> str:
    condition = _allowed(status)
    why: str = condition.get("message", "") if condition.get("status") == "False" else ""
    desired, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
    if why and condition.get("reason") == "SyncFailed":
        # what it counted is not to be trusted then
        return f"{NOT_NOW} because it failed sync: {why}"
    if healthy <= desired:
        return f"needs {desired} healthy pods and has {healthy} currently"
    if why:
        return f"{NOT_NOW} ({condition.get('reason', '')}): {why}"
    return NOT_NOW


def _allowed(status: Obj) -> Obj:
    return next((item for item in status.get("conditions") or () if item.get("type") == ALLOWED), {})


def _exhausted(status: Obj, now: str) -> list[Obj]:
    before = _allowed(status)
    since = before.get("lastTransitionTime", now) if before.get("status") == "False" else now
    condition: Obj = {
        "type": ALLOWED,
        "status": "False",
        "observedGeneration": status.get("observedGeneration", 0),
        "lastTransitionTime": since,
        "reason": "InsufficientPods",
        "message": "",
    }
    others = status.get("conditions") or ()
    if not before:
        return [*others, condition]
    return [condition if item is before else item for item in others]


def _selects(budget: Record, pod: Record) -> bool:
    return label_selector_from(budget.obj().get("spec", {}).get("selector")).matches(pod.labels)


def _ready(pod: Obj) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def _refused(name: str, why: str, cause: str) -> errors.StatusError:
    error = errors.forbidden("policy", "poddisruptionbudget", name, why)
    return _with_cause(error, f"The disruption budget {name} {NOT_NOW}: {cause}")


def _too_many(message: str, seconds: int) -> errors.StatusError:
    return _with_cause(errors.too_many_requests(CANNOT, seconds), message)


def _with_cause(error: errors.StatusError, message: str) -> errors.StatusError:
    error.details = {**(error.details or {}), "causes": [{"reason": "DisruptionBudget", "message": message}]}
    return error
