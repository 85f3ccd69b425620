"""What may change of a pod, and through which subresource.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidatePodUpdate, ValidatePodStatusUpdate,
ValidatePodEphemeralContainersUpdate, ValidatePodResize)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation import ips
from sampan.api.validation.diff import difference
from sampan.api.validation.pods import MIRROR, SPEC, annotation_updates, pod_metadata_and_spec
from sampan.api.validation.scheduling import added_tolerations, node_affinity_mutation, node_selector_mutation

STATUS = Path("status")
CHANGED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def pod_update(obj: Obj, old: Obj, out: ErrorList) -> None:
    pod_metadata_and_spec(obj, out, old)
    if obj["metadata"].get("annotations") or old["metadata"].get("annotations"):
        annotation_updates(obj, old, out)
    new, was = obj["spec"], old["spec"]
    for kind in ("containers", "initContainers"):
        if _containers_changed(new.get(kind) or (), was.get(kind) or (), SPEC / kind, out):
            return
    if _deadline_wrong(new, was, out):
        return
    if new.get("tolerations") != was.get("tolerations"):
        added_tolerations(new.get("tolerations") or (), was.get("tolerations") or (), SPEC / "tolerations", out)
    gates = [gate.get("name") for gate in was.get("schedulingGates") or ()]
    for index, gate in enumerate(new.get("schedulingGates") or ()):
        if gate.get("name") not in gates:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'"
            out.forbidden(SPEC / "schedulingGates" @ index / "name", detail)
    if new == was:
        return
    masked = _masked(new, was)
    if gates:
        _narrowed(masked, was, out)
    if masked != was:
        out.forbidden(SPEC, f"{CHANGED}\n{difference(was, masked)}")


def _containers_changed(new: Sequence[Obj], old: Sequence[Obj], path: Path, out: ErrorList) -> bool:
    if len(new) != len(old):
        out.forbidden(path, "pod updates may not add or remove containers")
        return True
    for index, container in enumerate(new):
        image = container.get("image", "")
        if not image:
            out.required(path @ index / "image", "")
        if image != image.strip():
            out.invalid(path @ index / "image", image, "must not have leading or trailing whitespace")
    return False


def _deadline_wrong(new: Obj, old: Obj, out: ErrorList) -> bool:
    was, now, path = old.get("activeDeadlineSeconds"), new.get("activeDeadlineSeconds"), SPEC / "activeDeadlineSeconds"
    if now is None:
        if was is not None:
            out.invalid(path, None, "must not update from a positive integer to nil value")
        return False
    problems = names.is_in_range(now, 0, 2147483647)
    if not problems and was is not None and was < now:
        problems = ["must be less than or equal to previous value"]
    out.each(path, now, problems)
    return bool(problems)


def _masked(new: Obj, old: Obj) -> Obj:
    """The new spec with the old one's values where it may differ."""
    masked = copy.deepcopy(new)
    for kind in ("containers", "initContainers"):
        for now, was in zip(masked.get(kind) or (), old.get(kind) or (), strict=True):
            _same(now, was, "image")
    for field in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _same(masked, old, field)
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and masked.get("terminationGracePeriodSeconds") == 1:
        _same(masked, old, "terminationGracePeriodSeconds")
    return masked


def _same(new: Obj, old: Obj, field: str) -> None:
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)


def _narrowed(masked: Obj, old: Obj, out: ErrorList) -> None:
    """While gates hold it back, a pod's placement may be narrowed."""
    if masked.get("nodeSelector") != old.get("nodeSelector"):
        selectors = (masked.get("nodeSelector") or {}, old.get("nodeSelector") or {})
        node_selector_mutation(*selectors, SPEC / "nodeSelector", out)
        _same(masked, old, "nodeSelector")
    before = (old.get("affinity") or {}).get("nodeAffinity")
    after = (masked.get("affinity") or {}).get("nodeAffinity")
    if before == after:
        return
    node_affinity_mutation(after, before, SPEC / "affinity" / "nodeAffinity", out)
    rest = {name: value for name, value in (masked.get("affinity") or {}).items() if name != "nodeAffinity"}
    if before is not None:
        rest["nodeAffinity"] = before
    if rest or "affinity" in old:
        masked["affinity"] = rest
    else:
        masked.pop("affinity", None)


# -- /status -----------------------------------------------------------------------------------------------------------

_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")


def pod_status_update(obj: Obj, old: Obj, out: ErrorList) -> None:
    if obj["metadata"].get("annotations") or old["metadata"].get("annotations"):
        annotation_updates(obj, old, out)
    spec, status, was = obj["spec"], obj.get("status") or {}, old.get("status") or {}
    for index, condition in enumerate(status.get("conditions") or ()):
        kind = condition.get("type", "")
        if kind not in _SYSTEM_CONDITIONS and names.is_qualified_name(kind):
            # under metadata: upstream's slip
            out.each(Path("metadata", "conditions") @ index / "Type", kind, names.is_qualified_name(kind))
    nominated = status.get("nominatedNodeName", "")
    if nominated and nominated != was.get("nominatedNodeName", ""):
        out.each(STATUS / "nominatedNodeName", nominated, names.is_dns1123_subdomain(nominated))
    if status.get("qosClass", "") != was.get("qosClass", ""):
        out.invalid(STATUS / "qosClass", status.get("qosClass", ""), "field is immutable")
    policy = spec.get("restartPolicy", "")
    sidecars = {c.get("name") for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    for kind, rule in (
        ("containerStatuses", policy), ("initContainerStatuses", policy), ("ephemeralContainerStatuses", "Never"),
    ):  # fmt: skip
        _transitions(status, was, kind, rule, sidecars if kind.startswith("init") else set(), out)
    _claim_statuses(status, spec, out)
    _addresses(status, was, out)


def _transitions(status: Obj, old: Obj, kind: str, policy: str, may: set[str | None], out: ErrorList) -> None:
    """What has ended and will not be restarted stays ended."""
    if policy == "Always":
        return
    running = {c.get("name") for c in status.get(kind) or () if "terminated" not in (c.get("state") or {})}
    for index, was in enumerate(old.get(kind) or ()):
        ended = (was.get("state") or {}).get("terminated")
        if ended is None or (ended.get("exitCode", 0) != 0 and policy == "OnFailure") or was.get("name") in may:
            continue
        if was.get("name") in running:
            out.forbidden(STATUS / kind @ index / "state", "may not be transitioned to non-terminated state")


def _claim_statuses(status: Obj, spec: Obj, out: ErrorList) -> None:
    known, seen = {claim.get("name") for claim in spec.get("resourceClaims") or ()}, set[str]()
    for index, item in enumerate(status.get("resourceClaimStatuses") or ()):
        here, name = STATUS / "resourceClaimStatuses" @ index / "name", item.get("name", "")
        if name not in known:
            out.invalid(here, name, "must match the name of an entry in `spec.resourceClaims`")
        if name in seen:
            out.duplicate(here, name)
        seen.add(name)
        if item.get("resourceClaimName") is not None:
            out.each(here, item["resourceClaimName"], names.is_dns1123_subdomain(item["resourceClaimName"]))


def _addresses(status: Obj, was: Obj, out: ErrorList) -> None:
    hosts = [item.get("ip", "") for item in status.get("hostIPs") or ()]
    if hosts and status.get("hostIP", "") != hosts[0]:
        out.invalid(STATUS / "hostIPs" @ 0 / "ip", hosts[0], "must be equal to `hostIP`")
    for field in ("podIPs", "hostIPs"):
        listed = [item.get("ip", "") for item in status.get(field) or ()]
        if status.get(field) != was.get(field):
            known = [item.get("ip", "") for item in was.get(field) or ()]
            for index, text in enumerate(listed):
                out.each(STATUS / field @ index, text, ips.legacy_ip(text, known))
        if len(listed) > 1 and (len(listed) > 2 or not ips.is_dual_stack(listed)):
            detail = "may specify no more than one IP for each IP family"
            out.invalid(STATUS / field, status[field], detail)


# -- /ephemeralcontainers, /resize -------------------------------------------------------------------------------------


def ephemeral_containers_update(obj: Obj, old: Obj, out: ErrorList) -> None:
    """They may be added, and no more."""
    if MIRROR in (old["metadata"].get("annotations") or ()):
        out.forbidden(Path(""), "static pods do not support ephemeral containers")
        return
    pod_metadata_and_spec(obj, out, old)
    path = SPEC / "ephemeralContainers"
    by_name = {item.get("name"): item for item in obj["spec"].get("ephemeralContainers") or ()}
    for was in old["spec"].get("ephemeralContainers") or ():
        name, now = was.get("name", ""), by_name.get(was.get("name"))
        if now is None:
            out.forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n')
        elif now != was:
            detail = f'existing ephemeral containers "{name}" may not be changed\n{difference(was, now)}'
            out.forbidden(path, detail)


def resize(obj: Obj, old: Obj, qos: tuple[str, str], out: ErrorList) -> None:
    """Amounts of cpu and memory may change; `qos`: the class before and after, which may not."""
    for unfit, who in (
        (MIRROR in (old["metadata"].get("annotations") or ()), "static pods"),
        ((old["spec"].get("os") or {}).get("name") == "windows", "windows pods"),
    ):
        if unfit:
            out.forbidden(Path(""), f"{who} cannot be resized")
            return
    pod_metadata_and_spec(obj, out, old)
    if qos[0] != qos[1]:
        out.invalid(SPEC, qos[1], "Pod QOS Class may not change as a result of resizing")
    new, was = obj["spec"], old["spec"]
    if not _same_order(new, was, out):
        return
    for kind in ("containers", "initContainers"):
        for index, (now, before) in enumerate(zip(new.get(kind) or (), was.get(kind) or (), strict=True)):
            sidecar = kind == "containers" or now.get("restartPolicy") == "Always"
            if not sidecar:
                if now != before:
                    out.forbidden(SPEC, "resources for non-sidecar init containers are immutable")
                continue
            here = SPEC / kind @ index
            _amounts(now, before, here / "resources", out)
            if _without_compute(now) != _without_compute(before):
                if kind == "containers":
                    out.forbidden(SPEC, "only cpu and memory resources are mutable")
                else:
                    detail = "only cpu and memory resources for init or sidecar containers are mutable"
                    out.forbidden(here, detail)


def _same_order(new: Obj, old: Obj, out: ErrorList) -> bool:
    before = len(out)
    for kind in ("containers", "initContainers"):
        now, was = ([c.get("name") for c in spec.get(kind) or ()] for spec in (new, old))
        if len(now) != len(was):
            out.forbidden(SPEC / kind, f"{kind} may not be added or removed on resize")
            continue
        for index, (name, other) in enumerate(zip(now, was, strict=True)):
            if name != other:
                out.forbidden(SPEC / kind @ index / "name", f"{kind} may not be renamed or reordered on resize")
    return len(out) == before


def _amounts(new: Obj, old: Obj, path: Path, out: ErrorList) -> None:
    now, was = new.get("resources") or {}, old.get("resources") or {}
    for kind in ("requests", "limits"):
        if any(name not in (now.get(kind) or ()) for name in was.get(kind) or ()):
            out.forbidden(path / kind, f"resource {kind} cannot be removed")


def _without_compute(container: Obj) -> Obj:
    out = {name: value for name, value in container.items() if name != "resources"}
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        out[kind] = {k: v for k, v in (resources.get(kind) or {}).items() if k not in ("cpu", "memory")}
    out["claims"] = resources.get("claims") or []
    return out
