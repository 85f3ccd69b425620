"""Which kinds there are: names from the facts, behaviour from one file per kind.

The class of a kind is found by convention (`apps_v1/replica_set.py` holds `ReplicaSet`) and imported when it is first
asked for, so that a server that starts imports nothing it does not use. A kind without a file behaves as upstream's
generic strategy.

Source of the order of groups: kubernetes/pkg/controlplane/instance.go; cmd/kube-apiserver/app/aggregator.go
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from typing import Any

from sampan.api.kind import Kind, Names, Subresource
from sampan.api.schema import facts
from sampan.api.schema.nodes import Struct

_SNAKE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
GROUPS = (
    "", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
    "autoscaling", "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io",
    "storage.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io",
    "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io",
    "storagemigration.k8s.io", "metrics.k8s.io",
)  # fmt: skip
_PACKAGES = {
    "": "core", "rbac.authorization.k8s.io": "rbac", "flowcontrol.apiserver.k8s.io": "flowcontrol",
    "internal.apiserver.k8s.io": "apiserverinternal",
}  # fmt: skip
#: the version that objects are stored as, where another version or group serves them too
_STORED = {
    ("events.k8s.io", "v1", "events"): ("", "v1"),
    ("autoscaling", "v1", "horizontalpodautoscalers"): ("autoscaling", "v2"),
}
#: types that live elsewhere than their group-version's own package says
_META_KINDS = {"DeleteOptions", "Status"}


def package_of(group: str, version: str) -> str:
    """The facts package (and Python package) of a group-version: `core_v1`, `rbac_v1`."""
    return f"{_PACKAGES.get(group, group.split('.')[0])}_{version}"


def module_of(kind: str) -> str:
    return _SNAKE.sub("_", kind).lower()


@functools.cache
def default_names() -> tuple[Names, ...]:
    """The resources that are on by default: those of GA versions."""
    return tuple(_names(raw) for raw in facts.read("_resources") if re.fullmatch(r"v\d+", raw["version"]))


def _names(raw: dict[str, Any]) -> Names:
    subs = tuple(
        Subresource(
            name,
            sub["kind"],
            sub.get("group", raw["group"]),
            sub.get("version", raw["version"]),
            tuple(sub["verbs"]),
        )
        for name, sub in sorted((raw.get("subs") or {}).items())
    )
    verbs = tuple(verb for verb in raw["verbs"] if not (raw["resource"] == "componentstatuses" and verb == "watch"))
    return Names(
        raw["group"],
        raw["version"],
        raw["resource"],
        raw["kind"].lower(),
        raw["kind"],
        raw["namespaced"],
        verbs,
        tuple(raw.get("short") or ()),
        tuple(raw.get("cats") or ()),
        subs,
        _STORED.get((raw["group"], raw["version"], raw["resource"])),
    )


class Registry:
    """All served kinds. `generation` counts changes, for caches of what is derived from it."""

    def __init__(self, names: tuple[Names, ...] | None = None) -> None:
        self.generation = 0
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self._names: dict[tuple[str, str], list[Names]] = {}
        self._by_kind: dict[tuple[str, str, str], Names] = {}
        self._by_resource: dict[tuple[str, str, str], Names] = {}
        for item in default_names() if names is None else names:
            self._note(item)

    def _note(self, names: Names) -> None:
        self._names.setdefault((names.group, names.version), []).append(names)
        self._by_kind[names.group, names.version, names.kind] = names
        self._by_resource[names.group, names.version, names.resource] = names

    def get(self, group: str, version: str, resource: str) -> Kind | None:
        """The kind behind a resource; imported on first use."""
        key = (group, version, resource)
        found = self._kinds.get(key)
        if found is None and key in self._by_resource:
            found = self._kinds[key] = self._build(self._by_resource[key])
        return found

    def serves(self, group: str, version: str, resource: str, subresource: str) -> bool:
        names = self._by_resource.get((group, version, resource))
        return names is not None and (not subresource or any(sub.name == subresource for sub in names.subresources))

    def by_kind(self, group: str, version: str, kind: str) -> Kind | None:
        names = self._by_kind.get((group, version, kind))
        return self.get(group, version, names.resource) if names else None

    def struct(self, group: str, version: str, kind: str) -> Struct | None:
        """The schema of any type that can stand in a body: kinds, and options, Scale, Eviction, ..."""
        if kind in _META_KINDS:
            return facts.struct("meta", kind)
        if (group, version, kind) == ("policy", "v1beta1", "Eviction"):
            version = "v1"
        found = self.by_kind(group, version, kind)
        if found is not None:
            return found.schema
        if (group, version) not in self._names:
            return None
        try:
            struct = facts.struct(package_of(group, version), kind)
        except (KeyError, FileNotFoundError):
            return None
        # two groups may share a package's name: `apps` and `apps.example.com`
        return struct if struct.gvk is not None and struct.gvk == (group, version, kind) else None

    def groups(self) -> list[tuple[str, list[str]]]:
        """Groups in upstream's order, each with its versions, the preferred one first."""
        present: dict[str, list[str]] = {}
        for group, version in self._names:
            present.setdefault(group, []).append(version)
        order = {group: index for index, group in enumerate(GROUPS)}
        out = sorted(present.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
        return [(group, sorted(versions, key=_version_key, reverse=True)) for group, versions in out]

    def names(self, group: str, version: str) -> list[Names]:
        return sorted(self._names.get((group, version), ()), key=lambda item: item.resource)

    def add(self, kind: Kind) -> None:
        """Serve one more kind."""
        names = kind.names
        self._kinds[names.group, names.version, names.resource] = kind
        self._note(names)
        self.generation += 1

    def remove(self, group: str, version: str, resource: str) -> None:
        """Serve a kind no longer. Raises KeyError when it is not served."""
        names = self._by_resource.pop((group, version, resource))
        del self._by_kind[group, version, names.kind]
        self._kinds.pop((group, version, resource), None)
        left = [item for item in self._names[group, version] if item is not names]
        if left:
            self._names[group, version] = left
        else:
            del self._names[group, version]
        self.generation += 1

    @staticmethod
    def _build(names: Names) -> Kind:
        package = package_of(names.group, names.version)
        schema = facts.struct(package, names.kind)
        module = f"sampan.api.{package}.{module_of(names.kind)}"
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return Kind(names, schema)
        kind: type[Kind] = getattr(importlib.import_module(module), names.kind)
        return kind(names, schema)


def _version_key(version: str) -> tuple[int, int, int]:
    """v2 before v1 before v1beta1, as kube-aware version ordering has it."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (0, 0, 0)
    stage = {None: 3, "beta": 2, "alpha": 1}[match[2]]
    return (stage, int(match[1]), int(match[3] or 0))
