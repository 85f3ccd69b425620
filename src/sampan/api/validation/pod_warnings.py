"""What is accepted in a pod, but hardly meant.

Source: kubernetes/pkg/api/pod/warnings.go
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api import names, quantity
from sampan.api.field import Path, go_quote
from sampan.api.kind import Obj
from sampan.api.validation import ips
from sampan.api.validation.node_labels import DEPRECATED, term_warnings
from sampan.api.validation.pods import APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD, has_profiles
from sampan.api.validation.scheduling import PREFERRED, REQUIRED
from sampan.api.validation.security import each_container

ROOT = Path()
_ANNOTATIONS = (
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        'non-functional in v1.16+; use the "priorityClassName" field instead',
    ),
    ("security.alpha.kubernetes.io/sysctls", 'non-functional in v1.11+; use the "sysctls" field instead'),
    ("security.alpha.kubernetes.io/unsafe-sysctls", 'non-functional in v1.11+; use the "sysctls" field instead'),
)
VOLUMES = {
    "photonPersistentDisk": ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    "gitRepo": ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    "scaleIO": ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    "flocker": ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    "storageos": ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    "quobyte": ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    "glusterfs": ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    "cephfs": ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    "rbd": ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
}
_NO_POD = "a null labelSelector results in matching no pod"


def name(obj: Obj, used: str = "Pod names and hostnames") -> list[str]:
    """Of the name of what is a pod or makes pods."""
    found = names.is_dns1123_label(obj["metadata"]["name"])
    why = f"this is used in {used}, which can result in surprising behavior; a DNS label is recommended"
    return [f"metadata.name: {why}: [{' '.join(found)}]"] if found else []


def due(obj: Obj, old: Obj | None) -> bool:
    """Is a template told of? With every change that counts, in it or not."""
    return old is None or obj["metadata"].get("generation") != old["metadata"].get("generation")


def owner(obj: Obj, old: Obj | None) -> list[str]:
    """Of what makes pods of `spec.template`."""
    if not due(obj, old):
        return []
    return [*(name(obj) if old is None else ()), *template(obj["spec"].get("template"), Path("spec", "template"))]


def pod(obj: Obj) -> list[str]:
    return _warnings(obj["spec"], obj["metadata"], ROOT, template=False)


def template(obj: Obj | None, path: Path) -> list[str]:
    """Of a pod template at `path`."""
    return _warnings((obj or {}).get("spec") or {}, (obj or {}).get("metadata") or {}, path, template=True)


def _warnings(spec: Obj, meta: Obj, path: Path, *, template: bool) -> list[str]:
    out: list[str] = []
    get = spec.get
    for key in sorted(get("nodeSelector") or ()):
        if key in DEPRECATED:
            out.append(f"{path / 'spec' / 'nodeSelector' @ key}: {DEPRECATED[key]}")
    affinity = get("affinity")
    if affinity:
        _node_affinity(affinity.get("nodeAffinity") or {}, path, out)
    for index, item in enumerate(get("topologySpreadConstraints") or ()):
        here, key = path / "spec" / "topologySpreadConstraints" @ index, item.get("topologyKey", "")
        if key in DEPRECATED:
            out.append(f"{here / 'topologyKey'}: {key} is {DEPRECATED[key]}")
        if item.get("labelSelector") is None:
            out.append(f"{here / 'labelSelector'}: {_NO_POD}")
    annotations = meta.get("annotations") or {}
    if annotations:
        for name, message in _ANNOTATIONS:
            if name in annotations:
                out.append(f"{path / 'metadata' / 'annotations' @ name}: {message}")
    if get("volumes"):
        _volumes(spec["volumes"], path, out)
    _lists(spec, path, out)
    for name in ("memory", "ephemeral-storage"):
        amount = (get("overhead") or {}).get(name)
        if amount is not None:
            fraction_warning(amount, path / "spec" / "overhead" @ name, out)
    if annotations and has_profiles(annotations):
        _profiles(spec, annotations, path, out, template)
    for container, kind, index in each_container(spec):
        _container(container, path, kind, index, out)
    _ports(spec, path, out)
    if (get("terminationGracePeriodSeconds") or 0) < 0:
        here = path / "spec" / "terminationGracePeriodSeconds"
        out.append(f"{here}: must be >= 0; negative values are invalid and will be treated as 1")
    for kind in ("podAffinity", "podAntiAffinity") if affinity else ():
        group = (affinity or {}).get(kind) or {}
        for rule in (REQUIRED, PREFERRED):
            for index, term in enumerate(group.get(rule) or ()):
                inner = term if rule == REQUIRED else term.get("podAffinityTerm") or {}
                if inner.get("labelSelector") is None:
                    here = path / "spec" / "affinity" / kind / rule @ index
                    here = here if rule == REQUIRED else here / "podAffinityTerm"
                    out.append(f"{here / 'labelSelector'}: {_NO_POD}")
    return out


def _node_affinity(affinity: Obj, path: Path, out: list[str]) -> None:
    here = path / "spec" / "affinity" / "nodeAffinity"
    terms = (affinity.get(REQUIRED) or {}).get("nodeSelectorTerms") or ()
    for index, term in enumerate(terms):
        out += term_warnings(term, here / REQUIRED / "nodeSelectorTerms" @ index, check_values=False)
    for index, term in enumerate(affinity.get(PREFERRED) or ()):
        out += term_warnings(term.get("preference") or {}, here / PREFERRED @ index / "preference", check_values=True)


def _volumes(volumes: list[Obj], path: Path, out: list[str]) -> None:
    for index, volume in enumerate(volumes):
        for kind in volume:
            if kind in VOLUMES:
                shown, message = VOLUMES[kind]
                out.append(f"{path / 'spec' / 'volumes' @ index / shown}: {message}")
            elif kind == "ephemeral" and (claim := (volume[kind] or {}).get("volumeClaimTemplate")) is not None:
                here = path / "spec" / "volumes" @ index / "ephemeral" / "volumeClaimTemplate" / "spec"
                out += claim_warnings(claim.get("spec") or {}, here)
    for volume in volumes:
        _overlaps(volume, out)


def claim_warnings(spec: Obj, path: Path) -> list[str]:
    """Of a claim's spec. Source: kubernetes/pkg/api/persistentvolumeclaim/util.go"""
    out: list[str] = []
    for side in ("requests", "limits"):
        storage = ((spec.get("resources") or {}).get(side) or {}).get("storage")
        if storage is not None:
            fraction_warning(storage, path / "resources" / side @ "storage", out)
    return out


def fraction_warning(amount: str, path: Path, out: list[str]) -> None:
    if quantity.parse(amount).denominator != 1:
        out.append(f"{path}: fractional byte value {go_quote(amount)} is invalid, must be an integer")


# -- paths in volumes --------------------------------------------------------------------------------------------------


def _overlaps(volume: Obj, out: list[str]) -> None:
    name = go_quote(volume.get("name", ""))
    for kind, shown, field in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
        source = volume.get(kind)
        if source and source.get("items"):
            where = f"{shown} {go_quote(source.get(field, ''))}"
            out += [f"volume {name} ({where}): overlapping paths: {text}" for text in _meeting(_items(source, ""))]
    source = volume.get("downwardAPI")
    if source and source.get("items"):
        out += [f"volume {name} (DownwardAPI): overlapping paths: {text}" for text in _meeting(_items(source, ""))]
    projected = volume.get("projected")
    if projected:
        found: list[tuple[str, str]] = []
        for item in projected.get("sources") or ():
            if not item:
                out.append(f"volume {name} (Projected) has no sources provided")
            found += _projected(item)
        out += [f"volume {name} (Projected): overlapping paths: {text}" for text in _meeting(found)]


def _items(source: Obj, where: str) -> list[tuple[str, str]]:
    return [(item.get("path", ""), where) for item in source.get("items") or ()]


def _projected(source: Obj) -> list[tuple[str, str]]:
    for kind, shown in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if source.get(kind) is not None:
            return _items(source[kind], f"{shown} {go_quote(source[kind].get('name', ''))}")
    if source.get("downwardAPI") is not None:
        return _items(source["downwardAPI"], "DownwardAPI")
    if source.get("serviceAccountToken") is not None:
        return [(source["serviceAccountToken"].get("path", ""), "ServiceAccountToken")]
    bundle = source.get("clusterTrustBundle")
    if bundle is not None:
        name = bundle.get("name") if bundle.get("name") is not None else bundle.get("signerName") or ""
        return [(bundle.get("path", ""), f"ClusterTrustBundle {go_quote(name)}")]
    return []


def _meeting(paths: list[tuple[str, str]]) -> list[str]:
    """Each path with each earlier one that it is, contains or is in."""
    out: list[str] = []
    seen: list[tuple[str, str]] = []
    for text, where in ((text.rstrip("/"), where) for text, where in paths):
        for other, there in seen:
            if text and other and (f"{other}/".startswith(f"{text}/") or f"{text}/".startswith(f"{other}/")):
                out.append(f"{_placed(text, where)} with {_placed(other, there)}")
        seen.append((text, where))
    return out


def _placed(text: str, where: str) -> str:
    return f"{go_quote(text)} ({where})" if where else go_quote(text)


# -- lists, containers -------------------------------------------------------------------------------------------------


def _lists(spec: Obj, path: Path, out: list[str]) -> None:
    for field, key in (("hostAliases", "ip"), ("imagePullSecrets", "name")):
        seen: set[str] = set()
        for index, item in enumerate(spec.get(field) or ()):
            value, here = item.get(key, ""), path / "spec" / field @ index / key
            if value in seen:
                out.append(f"{here}: duplicate {key} {go_quote(value)}")
            seen.add(value)
            if field == "hostAliases":
                out += ips.ip_warnings(here, value)
    for index, item in enumerate(spec.get("imagePullSecrets") or ()):
        if not item.get("name"):
            out.append(f'{path / "spec" / "imagePullSecrets" @ index / "name"}: invalid empty name ""')
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        out += ips.ip_warnings(path / "spec" / "dnsConfig" / "nameservers" @ index, server)


def _profiles(spec: Obj, annotations: dict[str, str], path: Path, out: list[str], template: bool) -> None:
    context, here = spec.get("securityContext") or {}, path / "metadata" / "annotations"
    seccomp = 'non-functional in v1.27+; use the "seccompProfile" field instead'
    if context.get("seccompProfile") is None and SECCOMP_POD in annotations:
        out.append(f"{here @ SECCOMP_POD}: {seccomp}")
    for container, _, _ in each_container(spec):
        name, own = container.get("name", ""), container.get("securityContext") or {}
        if own.get("seccompProfile") is None and SECCOMP_CONTAINER + name in annotations:
            out.append(f"{here @ (SECCOMP_CONTAINER + name)}: {seccomp}")
        profile = own.get("appArmorProfile") or context.get("appArmorProfile")
        if template and profile is None and APP_ARMOR + name in annotations:
            detail = 'deprecated since v1.30; use the "appArmorProfile" field instead'
            out.append(f"{here @ (APP_ARMOR + name)}: {detail}")


def _container(container: Obj, path: Path, kind: str, index: int, out: list[str]) -> None:
    resources = container.get("resources")
    if resources:
        for name in ("memory", "ephemeral-storage"):
            for side in ("limits", "requests"):
                amount = (resources.get(side) or {}).get(name)
                if amount is not None and quantity.parse(amount).denominator != 1:
                    fraction_warning(amount, path / "spec" / kind @ index / "resources" / side @ name, out)
    env = container.get("env")
    if env and len(env) > 1:
        seen: set[str] = set()
        for at, item in enumerate(env):
            name, value = item.get("name", ""), item.get("value", "")
            # X=abc, then X=$(X)def, is meant so
            itself = f"$({name})"
            if name in seen and (item.get("valueFrom") is not None or value == itself or itself not in value):
                here = path / "spec" / kind @ index / "env" @ at
                hides = f"hides previous definition of {go_quote(name)}, which may be dropped when using apply"
                out.append(f"{here}: {hides}")
            seen.add(name)


def _each_port(spec: Obj) -> Iterator[tuple[Obj, str, int, int]]:
    for container, kind, index in each_container(spec):
        for at, port in enumerate(container.get("ports") or ()):
            yield port, kind, index, at


def _ports(spec: Obj, path: Path, out: list[str]) -> None:
    seen: dict[tuple[int, str], list[tuple[Obj, str, int, int]]] = {}
    for port, kind, index, at in _each_port(spec):
        number, protocol = port.get("containerPort", 0), port.get("protocol", "")
        address, host = port.get("hostIP", ""), port.get("hostPort", 0)
        if address:
            here = path / "spec" / kind @ index / "ports" @ at
            if not host:
                name = port.get("name", "")
                shown = f"{{Name:{name} HostPort:0 ContainerPort:{number} Protocol:{protocol} HostIP:{address}}}"
                out.append(f"{here}: hostIP set without hostPort: {shown}")
            out += ips.ip_warnings(here / "hostIP", address)
        others = seen.setdefault((number, protocol), [])
        for other, there, which, other_at in others:
            how = _conflict(address, host, other.get("hostIP", ""), other.get("hostPort", 0))
            if how:
                here, first = (
                    path / "spec" / kind @ index / "ports" @ at,
                    path / "spec" / there @ which / "ports" @ other_at,
                )
                out.append(f"{here}: {how} port definition with {first}")
        others.append((port, kind, index, at))


def _conflict(address: str, host: int, other_address: str, other_host: int) -> str:
    if (address, host) == (other_address, other_host):
        return "duplicate"
    if not host or not other_host:
        return "overlapping"
    if host == other_host and bool(address) != bool(other_address):
        return "dangerously ambiguous"
    return ""
