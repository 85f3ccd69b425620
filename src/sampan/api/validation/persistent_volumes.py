"""PersistentVolumes: one source, a size, who may use it and where.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidatePersistentVolumeSpec,
ValidatePersistentVolumeUpdate), pkg/api/persistentvolume/util.go
"""

from __future__ import annotations

import posixpath

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.claims import VOLUME_MODES, access_modes
from sampan.api.validation.diff import difference
from sampan.api.validation.meta import IMMUTABLE
from sampan.api.validation.node_labels import term_warnings
from sampan.api.validation.pod_warnings import VOLUMES, fraction_warning
from sampan.api.validation.resources import basic_resource, positive_quantity
from sampan.api.validation.scheduling import node_selector
from sampan.api.validation.volume_sources import PERSISTENT
from sampan.api.validation.workload import SPEC

RECLAIM = ("Delete", "Recycle", "Retain")
#: how a second source is named where it is refused
_SPELT = {"cephfs": "cephFS"}
#: labels of zones that could become the newer ones
_RENAMED = {
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def volume_spec(spec: Obj, out: ErrorList) -> None:
    modes = spec.get("accessModes") or []
    if not modes:
        out.required(SPEC / "accessModes", "")
    access_modes(modes, SPEC / "accessModes", out)
    capacity = spec.get("capacity") or {}
    if not capacity:
        out.required(SPEC / "capacity", "")
    if "storage" not in capacity or len(capacity) > 1:
        out.not_supported(SPEC / "capacity", capacity, ("storage",))
    for name, amount in sorted(capacity.items()):
        here = SPEC / "capacity" @ name
        basic_resource(amount, here, out)
        positive_quantity(amount, here, out)
    policy = spec.get("persistentVolumeReclaimPolicy", "")
    if policy and policy not in RECLAIM:
        out.not_supported(SPEC / "persistentVolumeReclaimPolicy", policy, RECLAIM)
    affine = _node_affinity(spec.get("nodeAffinity"), out)
    found = False
    for field, (shown, check) in PERSISTENT.items():
        source = spec.get(field)
        if source is None:
            continue
        if found:
            out.forbidden(SPEC / _SPELT.get(field, field), "may not specify more than 1 volume type")
            continue
        found = True
        check(source, SPEC / shown, out)
        if field == "local" and not affine:
            out.required(SPEC / "nodeAffinity", "Local volume requires node affinity")
    if not found:
        out.required(SPEC, "must specify a volume type")
    host = (spec.get("hostPath") or {}).get("path", "")
    if policy == "Recycle" and host and posixpath.normpath(host) in ("/", "//"):
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        out.forbidden(SPEC / "persistentVolumeReclaimPolicy", detail)
    if spec.get("storageClassName"):
        name = spec["storageClassName"]
        out.each(SPEC / "storageClassName", name, names.is_dns1123_subdomain(name))
    if spec.get("volumeMode") is not None and spec["volumeMode"] not in VOLUME_MODES:
        out.not_supported(SPEC / "volumeMode", spec["volumeMode"], VOLUME_MODES)
    _attributes_class(spec, out)


def _node_affinity(affinity: Obj | None, out: ErrorList) -> bool:
    """Whether there is one."""
    if affinity is None:
        return False
    here = SPEC / "nodeAffinity" / "required"
    if affinity.get("required") is None:
        out.required(here, "must specify required node constraints")
    else:
        node_selector(affinity["required"], here, out)
    return True


def _attributes_class(spec: Obj, out: ErrorList) -> None:
    name = spec.get("volumeAttributesClassName")
    if name is None:
        return
    here = SPEC / "volumeAttributesClassName"
    if name == "":
        out.required(here, "an empty string is disallowed")
    else:
        out.each(here, name, names.is_dns1123_subdomain(name))
    if spec.get("csi") is None:
        out.required(SPEC / "csi", "has to be specified when using volumeAttributesClassName")


def _source(spec: Obj) -> Obj:
    return {name: spec[name] for name in PERSISTENT if spec.get(name) is not None}


def volume_update(new: Obj, was: Obj, out: ErrorList) -> None:
    after, before = _source(new), _source(was)
    csi = before.get("csi")
    if csi is not None and csi.get("controllerExpandSecretRef") is None and after.get("csi") is not None:
        # the one thing that may come later
        before = {**before, "csi": dict(csi)}
        if after["csi"].get("controllerExpandSecretRef") is not None:
            before["csi"]["controllerExpandSecretRef"] = after["csi"]["controllerExpandSecretRef"]
    if after != before:
        detail = f"spec.persistentvolumesource is immutable after creation\n{difference(before, after)}"
        out.forbidden(SPEC / "persistentvolumesource", detail)
    if new.get("volumeMode") != was.get("volumeMode"):
        out.invalid(Path("volumeMode"), new.get("volumeMode"), IMMUTABLE)
    affinity, old = new.get("nodeAffinity"), was.get("nodeAffinity")
    if old is not None and affinity != old and _without_beta(affinity) != _without_beta(old):
        detail = IMMUTABLE + ", except for updating from beta label to GA"
        out.invalid(Path("nodeAffinity"), affinity, detail)
    if was.get("volumeAttributesClassName") is not None and new.get("volumeAttributesClassName") is None:
        out.forbidden(SPEC / "volumeAttributesClassName", "update from non-nil value to nil is forbidden")


def _without_beta(affinity: Obj | None) -> Obj | None:
    if affinity is None:
        return None
    terms = []
    for term in (affinity.get("required") or {}).get("nodeSelectorTerms") or ():
        items = [
            {**item, "key": _RENAMED.get(item.get("key", ""), item.get("key", ""))}
            for item in term.get("matchExpressions") or ()
        ]
        terms.append({**term, "matchExpressions": items})
    return {"required": {"nodeSelectorTerms": terms}}


def volume_warnings(obj: Obj) -> list[str]:
    out: list[str] = []
    spec = obj["spec"]
    beta = "volume.beta.kubernetes.io/storage-class"
    annotations = obj["metadata"].get("annotations") or {}
    if beta in annotations:
        out.append(
            f'{Path("metadata", "annotations") @ beta}: deprecated since v1.8; use "storageClassName" attribute instead'
        )
    if "volume.beta.kubernetes.io/mount-options" in annotations:
        here = Path("metadata", "annotations") @ "volume.beta.kubernetes.io/mount-options"
        out.append(f'{here}: deprecated since v1.31; use "mountOptions" attribute instead')
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        out.append(
            f"{SPEC / 'persistentVolumeReclaimPolicy'}: The Recycle reclaim policy is deprecated. Instead, the "
            "recommended approach is to use dynamic provisioning."
        )
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    for index, term in enumerate(terms):
        here = SPEC / "nodeAffinity" / "required" / "nodeSelectorTerms" @ index
        out += term_warnings(term, here, False)
    for field, (_, text) in VOLUMES.items():
        if spec.get(field) is not None:
            out.append(f"{SPEC / field}: {text}")
    storage = (spec.get("capacity") or {}).get("storage")
    if storage is not None:
        fraction_warning(storage, SPEC / "capacity" @ "storage", out)
    return out
