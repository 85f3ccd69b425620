"""StatefulSet.

Source: kubernetes/pkg/registry/apps/statefulset/strategy.go, pkg/apis/apps/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age, containers_cells
from sampan.api.validation import pod_warnings
from sampan.api.validation.claims import claim_spec
from sampan.api.validation.meta import validate_nonnegative
from sampan.api.validation.pods import pod_template
from sampan.api.validation.workload import (
    SPEC,
    int_or_percent,
    is_zero,
    matches_template,
    nonnegative,
    not_decremented,
    not_over_hundred,
    runs_forever,
    selector,
    status_counts,
)

COUNTS = (
    "replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas", "observedGeneration",
    "collisionCount",
)  # fmt: skip

MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
CHANGED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


class StatefulSet(Kind):
    has_status = True
    scale_paths = ("spec.replicas", "status.replicas", "spec.selector")
    columns = (NAME, Column("Ready"), AGE, Column("Containers", priority=1), Column("Images", priority=1))

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        default_pod_template(spec.setdefault("template", {}))
        spec.setdefault("podManagementPolicy", "OrderedReady")
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
            strategy.setdefault("rollingUpdate", {})
        rolling = strategy.get("rollingUpdate")
        if strategy["type"] == "RollingUpdate" and rolling is not None:  # who names the type alone is given no more
            rolling.setdefault("partition", 0)
            rolling.setdefault("maxUnavailable", 1)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        for when in ("whenDeleted", "whenScaled"):
            if not retention.get(when):
                retention[when] = "Retain"
        spec.setdefault("replicas", 1)
        spec.setdefault("revisionHistoryLimit", 10)
        for claim in spec.get("volumeClaimTemplates") or ():
            claim.setdefault("kind", "PersistentVolumeClaim")
            claim.setdefault("apiVersion", "v1")
            claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
            status = claim.setdefault("status", {})
            if not status.get("phase"):
                status["phase"] = "Pending"

    def validate_name(self, name: str, generate: bool) -> list[str]:
        # it is the host name of its pods, but for the number
        return names.is_dns1123_label(name.rstrip("-") + "a" if generate and name.endswith("-") else name)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        policy = spec.get("podManagementPolicy", "")
        if not policy:
            out.required(SPEC / "podManagementPolicy", "")
        elif policy not in ("OrderedReady", "Parallel"):
            out.invalid(SPEC / "podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
        _strategy(spec.get("updateStrategy") or {}, out)
        retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
        for when in ("whenDeleted", "whenScaled"):
            if retention and retention.get(when) not in ("Retain", "Delete"):
                here = SPEC / "persistentVolumeClaimRetentionPolicy" / when
                out.not_supported(here, retention.get(when, ""), ("Retain", "Delete"))
        nonnegative(spec, out, "replicas", "minReadySeconds")
        # upstream names the two as one field
        out.extend(validate_nonnegative((spec.get("ordinals") or {}).get("start", 0), SPEC / "ordinals.start"))
        template = spec.get("template") or {}
        if not selector(spec, "statefulset", out):
            out.invalid(SPEC / "selector", spec["selector"], "")
        else:
            matches_template(spec.get("selector"), template, SPEC / "template", out)
            pod_template(_with_claims(template, spec), SPEC / "template", out)
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            here = SPEC / "volumeClaimTemplates" @ index
            name = (claim.get("metadata") or {}).get("name", "")
            if not name:
                out.required(here / "metadata" / "name", "name or generateName is required")
            else:
                out.each(here / "metadata" / "name", name, names.is_dns1123_subdomain(name))
            claim_spec(claim.get("spec") or {}, here / "spec", out)
        service = spec.get("serviceName", "")
        if service:
            out.each(SPEC / "serviceName", service, names.is_dns1123_label(service))
        runs_forever(template, "StatefulSet", out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        new, was = ({k: v for k, v in o["spec"].items() if k not in MUTABLE} for o in (obj, old))
        if new != was:
            out.forbidden(SPEC, CHANGED)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        status = obj.get("status") or {}
        status_counts(status, out, *COUNTS, within=COUNTS[1:5], ready="status.readyReplicas")
        not_decremented(obj, old, "collisionCount", out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        spec, out = obj["spec"], list[str]()
        if pod_warnings.due(obj, old):
            out = pod_warnings.template(spec.get("template"), SPEC / "template")
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            # upstream's paths
            here = SPEC / "volumeClaimTemplates" @ index
            out += pod_warnings.claim_warnings(claim.get("spec") or {}, here if old is None else here / "Spec")
        if spec.get("revisionHistoryLimit", 0) < 0:
            said = "a negative value retains all historical revisions; a value >= 0 is recommended"
            out.append(f"{SPEC / 'revisionHistoryLimit'}: {said}")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        containers, images = containers_cells(spec["template"]["spec"])
        ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
        return [meta["name"], ready, age(meta.get("creationTimestamp"), now), containers, images]


def _strategy(strategy: Obj, out: ErrorList) -> None:
    here = SPEC / "updateStrategy"
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if not kind:
        out.required(here, "")
    elif kind == "OnDelete":
        if rolling is not None:
            out.invalid(here / "rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
    elif kind != "RollingUpdate":
        out.invalid(here, strategy, "must be 'RollingUpdate' or 'OnDelete'")
    elif rolling is not None:
        out.extend(validate_nonnegative(rolling.get("partition") or 0, here / "rollingUpdate" / "partition"))
        unavailable, at = rolling.get("maxUnavailable"), here / "rollingUpdate" / "maxUnavailable"
        if unavailable is not None:
            int_or_percent(unavailable, at, out)
            if is_zero(unavailable):
                out.invalid(at, unavailable, "cannot be 0")
            not_over_hundred(unavailable, at, out)


def _with_claims(template: Obj, spec: Obj) -> Obj:
    """The template as its pods will be: with a volume for each claim."""
    claims = [name for claim in spec.get("volumeClaimTemplates") or () if (name := claim["metadata"].get("name"))]
    if not claims:
        return template
    pod = template.get("spec") or {}
    rest = [volume for volume in pod.get("volumes") or () if volume.get("name") not in claims]
    made = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    return {**template, "spec": {**pod, "volumes": [*rest, *made]}}
