"""Kinds of storage.k8s.io: parameters, attachments and drivers.

Source: kubernetes/pkg/apis/storage/validation/validation.go
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.persistent_volumes import volume_spec
from sampan.api.validation.volume_sources import csi_driver_name
from sampan.api.validation.workload import SPEC, STATUS

MAX_PARAMETERS, MAX_PARAMETERS_BYTES = 512, 256 * 1024
MAX_NODE_ID, MAX_METADATA, MAX_MESSAGE = 256, 256 * 1024, 1024
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
_FS_GROUP = ("File", "None", "ReadWriteOnceWithFSType")
_MINUTES, _CENTURY = 600, 1 << 32


def parameters(given: dict[str, str], may_be_empty: bool, path: Path, out: ErrorList) -> None:
    if len(given) > MAX_PARAMETERS:
        out.too_long(path, MAX_PARAMETERS)
        return
    for key in given:
        if not key:
            out.invalid(path, key, "field can not be empty.")
    total = sum(len(key.encode()) + len(value.encode()) for key, value in given.items())
    if total > MAX_PARAMETERS_BYTES:
        out.too_long(path, MAX_PARAMETERS_BYTES)
    if not given and not may_be_empty:
        out.required(path, "must contain at least one key/value pair")


# -- attachments -------------------------------------------------------------------------------------------------------


def attachment(obj: Obj, out: ErrorList, new: bool = True) -> None:
    spec = obj.get("spec") or {}
    attacher, node = spec.get("attacher", ""), spec.get("nodeName", "")
    if not attacher:
        out.required(SPEC / "attacher", "")
    source, here = spec.get("source") or {}, SPEC / "source"
    inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if inline is None and name is None:
        out.required(here, _ONE_SOURCE)
    elif inline is not None and name is not None:
        out.forbidden(here, _ONE_SOURCE)
    elif name == "":
        out.required(here / "persistentVolumeName", "")
    elif inline is not None:
        _inline(inline, here / "inlineVolumeSpec", out)
    out.each(SPEC / "nodeName", node, names.is_dns1123_subdomain(node))
    status = obj.get("status") or {}
    metadata = status.get("attachmentMetadata") or {}
    if sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items()) > MAX_METADATA:
        out.too_long(STATUS / "attachmentMetadata", MAX_METADATA)
    for field in ("attachError", "detachError"):
        problem = status.get(field) or {}
        if len(problem.get("message", "").encode()) > MAX_MESSAGE:
            out.too_long(STATUS / field / "message", MAX_MESSAGE)
        if (problem.get("errorCode") or 0) < 0:
            out.invalid(STATUS / field / "errorCode", problem["errorCode"], "must be greater than or equal to 0")
    if new:
        csi_driver_name(attacher, SPEC / "attacher", out)
        if name is not None:
            out.each(here / "persistentVolumeName", name, names.is_dns1123_subdomain(name))


def _inline(spec: Obj, path: Path, out: ErrorList) -> None:
    """Of a volume in a pod, as a PersistentVolume would be; only CSI's."""
    found = ErrorList()
    volume_spec({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}, **spec}, found)
    for error in found:
        out.append(type(error)(error.type, str(path) + error.field.removeprefix("spec"), error.value, error.detail))


# -- drivers -----------------------------------------------------------------------------------------------------------


def driver_spec(spec: Obj, out: ErrorList) -> None:
    for field in ("attachRequired", "podInfoOnMount", "storageCapacity"):
        if spec.get(field) is None:
            out.required(SPEC / ("attachedRequired" if field == "attachRequired" else field), "")
    policy = spec.get("fsGroupPolicy")
    if policy is None:
        out.required(SPEC / "fsGroupPolicy", "")
    elif policy not in _FS_GROUP:
        out.not_supported(SPEC / "fsGroupPolicy", policy, _FS_GROUP)
    if spec.get("seLinuxMount") is None:
        out.required(SPEC / "seLinuxMount", "")
    seen: set[str] = set()
    for index, request in enumerate(spec.get("tokenRequests") or ()):
        here, audience, seconds = (
            SPEC / "tokenRequests" @ index,
            request.get("audience", ""),
            request.get("expirationSeconds"),
        )
        if audience in seen:
            out.duplicate(here / "audience", audience)
        seen.add(audience)
        if seconds is None:
            continue
        if seconds < _MINUTES:
            out.invalid(here / "expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        if seconds > _CENTURY:
            detail = "may not specify a duration larger than 2^32 seconds"
            out.invalid(here / "expirationSeconds", seconds, detail)
    if spec.get("serviceAccountTokenInSecrets") is not None and not spec.get("tokenRequests"):
        detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        out.invalid(SPEC / "serviceAccountTokenInSecrets", spec["serviceAccountTokenInSecrets"], detail)
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in ("Persistent", "Ephemeral"):
            out.not_supported(SPEC / "volumeLifecycleModes", mode, ("Persistent", "Ephemeral"))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < 10:
        detail = "must be greater than or equal to 10 seconds"
        out.invalid(SPEC / "nodeAllocatableUpdatePeriodSeconds", period, detail)


def node_drivers(drivers: Sequence[Obj], out: ErrorList) -> None:
    seen: set[str] = set()
    for index, driver in enumerate(drivers):
        here, name, node = SPEC / "drivers" @ index, driver.get("name", ""), driver.get("nodeID", "")
        csi_driver_name(name, here / "name", out)
        if not node:
            out.required(here / "nodeID", "")
        elif len(node) > MAX_NODE_ID:
            out.invalid(here / "nodeID", node, f"must be {MAX_NODE_ID} characters or less")
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None and count < 0:
            out.invalid(here / "allocatable" / "count", count, "must be greater than or equal to 0")
        if name in seen:
            out.duplicate(here / "name", name)
        seen.add(name)
        keys: set[str] = set()
        for key in driver.get("topologyKeys") or ():
            if key in keys:
                out.duplicate(here / "topologyKeys", key)
            keys.add(key)
            out.each(here / "topologyKeys", key, names.is_qualified_name(key))
