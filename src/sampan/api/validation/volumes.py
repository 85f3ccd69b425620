"""The volumes of a pod.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidateVolumes, validateVolumeSource,
validateProjectionSources)
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import names, quantity
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.claims import claim_template
from sampan.api.validation.env import VOLUME_FIELDS, object_field, resource_field
from sampan.api.validation.meta import validate_label_selector
from sampan.api.validation.paths import not_reserved
from sampan.api.validation.signers import (
    DAY,
    QUARTER,
    cluster_trust_bundle_name,
    is_kubernetes_signer,
    signer_name,
    user_annotations,
)
from sampan.api.validation.volume_sources import PORTALS, SIMPLE, csi_driver_name, key_to_path, mode

ORDER = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
    "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
    "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk",
    "storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
)  # fmt: skip
#: how upstream spells the second of two sources
_SPELT = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
#: what admission gives every pod, for its service account
_ACCESS = [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
    {
        "downwardAPI": {
            "items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]
        }
    },
]
KEYS = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")


def volumes(items: Sequence[Obj], path: Path, out: ErrorList, pod: str = "") -> dict[str, Obj]:
    """The good ones by name. `pod`: the name of the pod, where it is one and not a template."""
    good: dict[str, Obj] = {}
    created = {f"{pod}-{item.get('name', '')}" for item in items if pod and item.get("ephemeral") is not None}
    for index, volume in enumerate(items):
        before, name = len(out), volume.get("name", "")
        _source(volume, name, path @ index, out, pod)
        if not name:
            out.required(path @ index / "name", "")
        elif problems := names.is_dns1123_label(name):
            out.each(path @ index / "name", name, problems)
        if name in good:
            out.duplicate(path @ index / "name", name)
        if len(out) == before:
            good[name] = volume
        if created:
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim in created:
                here = path @ index / "persistentVolumeClaim" / "claimName"
                out.invalid(here, claim, "must not reference a PVC that gets created for an ephemeral volume")
    return good


def _source(volume: Obj, name: str, path: Path, out: ErrorList, pod: str) -> None:
    given = [kind for kind in volume if kind != "name" and volume[kind] is not None]
    if len(given) != 1:
        if not given:
            out.required(path, "must specify a volume type")
            return
        given.sort(key=ORDER.index)
        for extra in given[1:]:
            out.forbidden(path / _SPELT.get(extra, extra), "may not specify more than 1 volume type")
    kind = given[0]
    source: Obj = volume[kind]
    if kind == "projected":
        _projected(source, path / kind, out)
    elif kind in ("configMap", "secret"):
        _keys(source, "name" if kind == "configMap" else "secretName", kind, path, out)
    elif kind == "emptyDir":
        if source and source.get("sizeLimit") is not None and quantity.parse(source["sizeLimit"]) < 0:
            out.forbidden(path / kind / "sizeLimit", "SizeLimit field must be a valid resource quantity")
    elif kind == "downwardAPI":
        mode(source, "defaultMode", path / kind, out)
        for item in source.get("items") or ():
            _downward_file(item, path / kind, out)
    elif kind == "csi":
        _csi(source, path / kind, out)
    elif kind == "ephemeral":
        _ephemeral(source, name, path, out, pod)
    elif kind == "image":
        _image(source, path / kind, out, pod)
    else:
        shown, check = SIMPLE[kind]
        check(source, path / shown, out)
    portal = (volume.get("iscsi") or {}).get("targetPortal", "")
    if "iscsi" in volume and volume["iscsi"].get("initiatorName") is not None and len(f"{name}:{portal}".encode()) > 64:
        out.invalid(path / "name", name, PORTALS)


def _keys(source: Obj, field: str, kind: str, path: Path, out: ErrorList) -> None:
    if not source.get(field):
        out.required(path / kind / field, "")
    if source.get("defaultMode") != 420:
        mode(source, "defaultMode", path / kind, out)
    for index, item in enumerate(source.get("items") or ()):
        key_to_path(item, path / kind / "items" @ index, out)


def _csi(source: Obj, path: Path, out: ErrorList) -> None:
    csi_driver_name(source.get("driver", ""), path / "driver", out)
    ref = source.get("nodePublishSecretRef")
    if ref is not None:
        if not ref.get("name"):
            out.required(path / "nodePublishSecretRef" / "name", "")
        else:
            out.each(path / "name", ref["name"], names.is_dns1123_subdomain(ref["name"]))


def _ephemeral(source: Obj, name: str, path: Path, out: ErrorList, pod: str) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        out.required(path / "ephemeral" / "volumeClaimTemplate", "")
    else:
        claim_template(template, path / "ephemeral" / "volumeClaimTemplate", out)
    if pod and name:
        for problem in names.is_dns1123_subdomain(f"{pod}-{name}"):
            out.invalid(path / "name", name, f'PVC name "{pod}-{name}": {problem}')


def _image(source: Obj, path: Path, out: ErrorList, pod: str) -> None:
    if pod and not source.get("reference"):
        out.required(path / "reference", "")
    pull_policy(source.get("pullPolicy", ""), path / "pullPolicy", out)


def pull_policy(policy: str, path: Path, out: ErrorList) -> None:
    if policy not in ("Always", "IfNotPresent", "Never"):
        if policy:
            out.not_supported(path, policy, ("Always", "IfNotPresent", "Never"))
        else:
            out.required(path, "")


# -- projected ---------------------------------------------------------------------------------------------------------


def _downward_file(item: Obj, path: Path, out: ErrorList) -> None:
    """Its place is its list's: upstream does not count."""
    if not item.get("path"):
        out.required(path / "path", "")
    not_reserved(item.get("path", ""), path / "path", out)
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        object_field(field, VOLUME_FIELDS, path / "fieldRef", out)
        if resource is not None:
            out.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif resource is not None:
        resource_field(resource, path / "resourceFieldRef", out, volume=True)
    else:
        out.required(path, "one of fieldRef and resourceFieldRef is required")
    mode(item, "mode", path, out)


class _Taken:
    """The paths of one volume, which may not meet."""

    def __init__(self, path: Path, out: ErrorList) -> None:
        self._seen: set[str] = set()
        self._path = path
        self._out = out

    def take(self, text: str, shown: str) -> None:
        if text in self._seen:
            self._out.invalid(self._path, shown, "conflicting duplicate paths")
        self._seen.add(text)


def _projected(projection: Obj, path: Path, out: ErrorList) -> None:
    if projection.get("defaultMode") != 420:
        mode(projection, "defaultMode", path, out)
    if projection.get("sources") == _ACCESS:
        return
    taken = _Taken(path, out)
    for index, source in enumerate(projection.get("sources") or ()):
        for kind, what in source.items():
            here = path / "sources" @ index / kind
            if kind in ("secret", "configMap"):
                _projected_keys(what, here, taken, out)
            elif kind == "downwardAPI":
                for item in what.get("items") or ():
                    _downward_file(item, here, out)
                    if item.get("path"):
                        taken.take(item["path"], item["path"])
            elif kind == "serviceAccountToken":
                _token(what, path, here, out)
            elif kind == "clusterTrustBundle":
                _trust_bundle(what, here, taken, out)
            elif kind == "podCertificate":
                _pod_certificate(what, here, taken, out)
        if len(source) > 1:
            out.forbidden(path / "sources" @ index, "may not specify more than 1 volume type per source")


def _projected_keys(source: Obj, path: Path, taken: _Taken, out: ErrorList) -> None:
    if not source.get("name"):
        out.required(path / "name", "")
    for index, item in enumerate(source.get("items") or ()):
        key_to_path(item, path / "items" @ index, out)
        if item.get("path"):
            taken.take(item["path"], source.get("name", ""))


def _token(source: Obj, volume: Path, path: Path, out: ErrorList) -> None:
    seconds = source.get("expirationSeconds", 3600)
    if seconds < 600:
        out.invalid(path / "expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > 1 << 32:
        out.invalid(path / "expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    if not source.get("path"):
        out.required(volume / "path", "")
    else:
        not_reserved(source["path"], volume / "path", out)


def _trust_bundle(source: Obj, path: Path, taken: _Taken, out: ErrorList) -> None:
    name, signer, selector = source.get("name"), source.get("signerName"), source.get("labelSelector")
    if name is not None and signer is not None:
        out.invalid(path, source, "only one of name and signerName may be used")
    elif name is not None:
        if not name:
            out.required(path / "name", "must be a valid object name")
        inside = name.rpartition(":")[0].replace(":", "/") if ":" in name else ""
        for problem in cluster_trust_bundle_name(name, inside):
            out.invalid(path / "name", name, f"not a valid clustertrustbundlename: {problem}")
        if selector is not None:
            out.invalid(path / "labelSelector", selector, "labelSelector must be unset if name is specified")
    elif signer is not None:
        if not signer:
            out.required(path / "signerName", "must be a valid signer name")
        signer_name(signer, path / "signerName", out)
        out.extend(validate_label_selector(selector, path / "labelSelector"))
    else:
        out.required(path, "either name or signerName must be specified")
    if not source.get("path"):
        out.required(path / "path", "")
    not_reserved(source.get("path", ""), path / "path", out)
    taken.take(source.get("path", ""), source.get("path", ""))


def _pod_certificate(source: Obj, path: Path, taken: _Taken, out: ErrorList) -> None:
    signer = source.get("signerName", "")
    signer_name(signer, path / "signerName", out)
    if source.get("userAnnotations") is not None:
        user_annotations(source["userAnnotations"], path / "userAnnotations", out)
    if source.get("keyType", "") not in KEYS:
        out.not_supported(path / "keyType", source.get("keyType", ""), KEYS)
    seconds = source.get("maxExpirationSeconds")
    if seconds is not None:
        most = DAY if is_kubernetes_signer(signer) else QUARTER
        if seconds < 3600:
            detail = "if provided, maxExpirationSeconds must be >= 3600"
            out.invalid(path / "maxExpirationSeconds", seconds, detail)
        if seconds > most:
            detail = f"if provided, maxExpirationSeconds must be <= {most}"
            out.invalid(path / "maxExpirationSeconds", seconds, detail)
    given = [name for name in ("credentialBundlePath", "keyPath", "certificateChainPath") if source.get(name)]
    for name in given:
        not_reserved(source[name], path / name, out)
        taken.take(source[name], source[name])
    if not given:
        out.required(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath")
