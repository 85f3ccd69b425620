"""What volumes are made of: one function for each source that pods, or persistent volumes too, may name.

Source: kubernetes/pkg/apis/core/validation/validation.go (validateVolumeSource, ValidatePersistentVolumeSpec)
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.paths import descending, no_backsteps, not_reserved

Check = Callable[[Obj, Path, ErrorList], None]
MODE = "must be a number between 0 and 0777 (octal), both inclusive"
HOST_PATHS = frozenset({
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
})  # fmt: skip
PORTALS = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."
_ISCSI = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9.\-]+)(:[^,;*&$|\s]+)", re.ASCII),
    "eui": re.compile("eui.[A-Za-z0-9]{16}", re.ASCII),
    "naa": re.compile("naa.[A-Za-z0-9]{32}", re.ASCII),
}


def requires(*fields: str) -> Check:
    """Fields that may not be empty."""

    def check(source: Obj, path: Path, out: ErrorList) -> None:
        for name in fields:
            if not source.get(name):
                out.required(path / name, "")

    return check


def mode(source: Obj, field: str, path: Path, out: ErrorList) -> None:
    value = source.get(field)
    if value is not None and not 0 <= value <= 0o777:
        out.invalid(path / field, value, MODE)


def key_to_path(item: Obj, path: Path, out: ErrorList) -> None:
    if not item.get("key"):
        out.required(path / "key", "")
    if not item.get("path"):
        out.required(path / "path", "")
    not_reserved(item.get("path", ""), path / "path", out)
    mode(item, "mode", path, out)


def csi_driver_name(name: str, path: Path, out: ErrorList) -> None:
    if not name:
        out.required(path, "")
    if len(name.encode()) > 63:
        out.too_long(path, 63)
    out.each(path, name, names.is_dns1123_subdomain(name.lower()))


def host_path(source: Obj, path: Path, out: ErrorList) -> None:
    if not source.get("path"):
        out.required(path / "path", "")
        return
    no_backsteps(source["path"], path / "path", out)
    if source.get("type") is not None and source["type"] not in HOST_PATHS:
        out.not_supported(path / "type", source["type"], HOST_PATHS)


def nfs(source: Obj, path: Path, out: ErrorList) -> None:
    requires("server", "path")(source, path, out)
    if not source.get("path", "").startswith("/"):
        out.invalid(path / "path", source.get("path", ""), "must be an absolute path")


def _disk(field: str) -> Check:
    def check(source: Obj, path: Path, out: ErrorList) -> None:
        requires(field)(source, path, out)
        if not 0 <= source.get("partition", 0) <= 255:
            out.invalid(path / "partition", source["partition"], "must be between 1 and 255, inclusive")

    return check


def _git_repo(source: Obj, path: Path, out: ErrorList) -> None:
    requires("repository")(source, path, out)
    descending(source.get("directory", ""), path / "directory", out)


def iscsi(source: Obj, path: Path, out: ErrorList, persistent: bool = False) -> None:
    requires("targetPortal")(source, path, out)
    wrong = "must be valid format" if persistent else "must be valid format starting with iqn, eui, or naa"
    if not source.get("iqn"):
        out.required(path / "iqn", "")
    else:
        _initiator(source["iqn"], path / "iqn", wrong, out)
    if not 0 <= source.get("lun", 0) <= 255:
        out.invalid(path / "lun", source["lun"], "must be between 0 and 255, inclusive")
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        out.required(path / "secretRef", "")
    if persistent and source.get("secretRef") is not None:
        requires("name")(source["secretRef"], path / "secretRef", out)
    if source.get("initiatorName") is not None:
        _initiator(source["initiatorName"], path / "initiatorname", wrong, out)


def _initiator(name: str, path: Path, wrong: str, out: ErrorList) -> None:
    shape = _ISCSI.get(name[:3])
    if shape is None:
        out.invalid(path, name, wrong)
    elif not shape.fullmatch(name):
        out.invalid(path, name, "must be valid format")


def _fibre_channel(source: Obj, path: Path, out: ErrorList) -> None:
    targets, ids, lun = source.get("targetWWNs"), source.get("wwids"), source.get("lun")
    if not targets and not ids:
        out.required(path / "targetWWNs", "must specify either targetWWNs or wwids, but not both")
    if targets and ids:
        out.invalid(path / "targetWWNs", targets, "targetWWNs and wwids can not be specified simultaneously")
    if targets and lun is None:
        out.required(path / "lun", "lun is required if targetWWNs is specified")
    elif targets and lun is not None and not 0 <= lun <= 255:
        out.invalid(path / "lun", lun, "must be between 0 and 255, inclusive")


def _quobyte(source: Obj, path: Path, out: ErrorList) -> None:
    registry, pairs = source.get("registry", ""), "must be a host:port pair or multiple pairs separated by commas"
    if not registry:
        out.required(path / "registry", pairs)
    elif len(source.get("tenant", "").encode()) >= 65:
        out.required(path / "tenant", "must be a UUID and may not exceed a length of 64 characters")
    else:
        for pair in registry.split(","):
            if not re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*):[^:\[\]]*", pair):
                out.invalid(path / "registry", registry, pairs)
    requires("volume")(source, path, out)


def _glusterfs(source: Obj, path: Path, out: ErrorList) -> None:
    requires("endpoints", "path")(source, path, out)
    namespace = source.get("endpointsNamespace")
    if namespace == "":
        detail = "if the endpointnamespace is set, it must be a valid namespace name"
        out.invalid(path / "endpointsNamespace", namespace, detail)
    elif namespace is not None:
        out.each(path / "endpointsNamespace", namespace, names.is_dns1123_label(namespace))


def _flocker(source: Obj, path: Path, out: ErrorList) -> None:
    name, uid = source.get("datasetName", ""), source.get("datasetUUID", "")
    if not name and not uid:
        out.required(path, "one of datasetName and datasetUUID is required")
    if name and uid:
        out.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")
    if "/" in name:
        out.invalid(path / "datasetName", name, "must not contain '/'")


def _flex(source: Obj, path: Path, out: ErrorList) -> None:
    requires("driver")(source, path, out)
    for key in sorted(source.get("options") or ()):
        if f".{key.partition('/')[0].lower()}".endswith((".kubernetes.io", ".k8s.io")):
            out.invalid(path / "options" @ key, key, "kubernetes.io and k8s.io namespaces are reserved")


def _secret_of(*fields: str, then: Check) -> Check:
    """`then`, and a `secretRef`, if any, with these fields."""

    def check(source: Obj, path: Path, out: ErrorList) -> None:
        then(source, path, out)
        if source.get("secretRef") is not None:
            requires(*fields)(source["secretRef"], path / "secretRef", out)

    return check


def _azure_file(source: Obj, path: Path, out: ErrorList) -> None:
    requires("secretName", "shareName")(source, path, out)
    if source.get("secretNamespace") == "":
        out.required(path / "secretNamespace", "")


_MANAGED = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def _azure_disk(source: Obj, path: Path, out: ErrorList) -> None:
    requires("diskName", "diskURI")(source, path, out)
    caching, kind, uri = source.get("cachingMode"), source.get("kind"), source.get("diskURI", "")
    if caching is not None and caching not in ("None", "ReadOnly", "ReadWrite"):
        out.not_supported(path / "cachingMode", caching, ("None", "ReadOnly", "ReadWrite"))
    if kind is not None and kind not in ("Dedicated", "Managed", "Shared"):
        out.not_supported(path / "kind", kind, ("Dedicated", "Managed", "Shared"))
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        out.not_supported(path / "diskURI", uri, (_MANAGED,))
    if kind is not None and kind != "Managed" and not uri.startswith("https://"):
        out.not_supported(path / "diskURI", uri, (_BLOB,))


def _storage_os(source: Obj, path: Path, out: ErrorList) -> None:
    requires("volumeName")(source, path, out)
    for name in ("volumeName", "volumeNamespace"):
        if source.get(name):
            out.each(path / name, source[name], names.is_dns1123_label(source[name]))


def local(source: Obj, path: Path, out: ErrorList) -> None:
    requires("path")(source, path, out)
    no_backsteps(source.get("path", ""), path / "path", out)


def persistent_csi(source: Obj, path: Path, out: ErrorList) -> None:
    csi_driver_name(source.get("driver", ""), path / "driver", out)
    requires("volumeHandle")(source, path, out)
    for field in (
        "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef",
    ):  # fmt: skip
        ref = source.get(field)
        if ref is None:
            continue
        for name, problems in (("name", names.is_dns1123_subdomain), ("namespace", names.is_dns1123_label)):
            if not ref.get(name):
                out.required(path / field / name, "")
            else:
                out.each(path / field / name, ref[name], problems(ref[name]))


#: sources that mean the same in a pod and in a PersistentVolume: field, the field its own errors name, check
SHARED: tuple[tuple[str, str, Check], ...] = (
    ("hostPath", "hostPath", host_path),
    ("gcePersistentDisk", "persistentDisk", _disk("pdName")),
    ("awsElasticBlockStore", "awsElasticBlockStore", _disk("volumeID")),
    ("flocker", "flocker", _flocker),
    ("nfs", "nfs", nfs),
    ("rbd", "rbd", requires("monitors", "image")),
    ("quobyte", "quobyte", _quobyte),
    ("cephfs", "cephfs", requires("monitors")),
    ("fc", "fc", _fibre_channel),
    ("flexVolume", "flexVolume", _flex),
    ("vsphereVolume", "vsphereVolume", requires("volumePath")),
    ("photonPersistentDisk", "photonPersistentDisk", requires("pdID")),
    ("portworxVolume", "portworxVolume", requires("volumeID")),
    ("azureDisk", "azureDisk", _azure_disk),
    ("scaleIO", "scaleIO", requires("gateway", "system", "volumeName")),
)
_BY_NAME = {field: (shown, check) for field, shown, check in SHARED}
#: sources of PersistentVolumes, in upstream's order
PERSISTENT: dict[str, tuple[str, Check]] = {
    "hostPath": _BY_NAME["hostPath"],
    "gcePersistentDisk": _BY_NAME["gcePersistentDisk"],
    "awsElasticBlockStore": _BY_NAME["awsElasticBlockStore"],
    "glusterfs": ("glusterfs", _glusterfs),
    "flocker": _BY_NAME["flocker"],
    "nfs": _BY_NAME["nfs"],
    "rbd": _BY_NAME["rbd"],
    "quobyte": _BY_NAME["quobyte"],
    "cephfs": _BY_NAME["cephfs"],
    "iscsi": ("iscsi", lambda source, path, out: iscsi(source, path, out, persistent=True)),
    "cinder": ("cinder", _secret_of("name", "namespace", then=requires("volumeID"))),
    "fc": _BY_NAME["fc"],
    "flexVolume": _BY_NAME["flexVolume"],
    "azureFile": ("azureFile", _azure_file),
    "vsphereVolume": _BY_NAME["vsphereVolume"],
    "photonPersistentDisk": _BY_NAME["photonPersistentDisk"],
    "portworxVolume": _BY_NAME["portworxVolume"],
    "azureDisk": _BY_NAME["azureDisk"],
    "scaleIO": _BY_NAME["scaleIO"],
    "local": ("local", local),
    "storageos": ("storageos", _secret_of("name", "namespace", then=_storage_os)),
    "csi": ("csi", persistent_csi),
}
#: sources of pods that need nothing but themselves
SIMPLE: dict[str, tuple[str, Check]] = {
    **_BY_NAME,
    "gitRepo": ("gitRepo", _git_repo),
    "iscsi": ("iscsi", iscsi),
    "glusterfs": ("glusterfs", requires("endpoints", "path")),
    "persistentVolumeClaim": ("persistentVolumeClaim", requires("claimName")),
    "cinder": ("cinder", _secret_of("name", then=requires("volumeID"))),
    "azureFile": ("azureFile", requires("secretName", "shareName")),
    "storageos": ("storageos", _secret_of("name", then=_storage_os)),
}
