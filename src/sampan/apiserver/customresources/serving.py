"""Definitions become resources: whatever the watch cache says of CustomResourceDefinitions is what is served.

An established definition is served from the very step in which the cache learns of it, so that whoever reads
`Established` can use it. Each API server follows its own cache; none tells another.

Source: apiextensions-apiserver/pkg/apiserver/customresource_handler.go
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from sampan.api import errors
from sampan.api.customresource.kind import CustomKind, versions_of
from sampan.api.kind import Names, Obj
from sampan.api.registry import GROUPS, default_names
from sampan.apiserver.cache import Record
from sampan.apiserver.customresources.conditions import is_true
from sampan.store.contract import KeyValue

if TYPE_CHECKING:
    from sampan.apiserver.api import Api


@dataclass(slots=True)
class Served:
    """`made_from`: what of the definition the kinds were made from."""

    kinds: list[CustomKind]
    made_from: bytes

    def terminating(self, now: bool) -> None:
        for kind in self.kinds:
            kind.terminating = now


class CustomResources:
    """What is served because of which definition."""

    def __init__(self, api: Api) -> None:
        from sampan.apiserver.customresources.controller import Controller

        self.api = api
        #: by name of the definition
        self.served: dict[str, Served] = {}
        self.controller = Controller(api, self)
        self.tasks: list[asyncio.Task[None]] = []

    def load(self, prefix: str, found: Sequence[KeyValue]) -> None:
        """All definitions there are, before any object of theirs is read."""
        names = {kv.key.decode()[len(prefix) :] for kv in found}
        for name in set(self.served) - names:
            self._withdraw(name)
        for kv in found:
            name = kv.key.decode()[len(prefix) :]
            self._sync(name, orjson.loads(kv.value), kv.mod_revision)
            self._ask(name)

    def changed(self, name: str, record: Record | None) -> None:
        """A definition came, changed or went (None)."""
        if record is None:
            if name in self.served:
                self._withdraw(name)
        else:
            self._sync(name, record.obj(), record.revision)
        self._ask(name)

    def _ask(self, name: str) -> None:
        if not self.tasks:
            self.tasks.append(asyncio.get_running_loop().create_task(self.controller.run()))
        self.controller.add(name)

    def _sync(self, name: str, crd: Obj, revision: int) -> None:
        if not is_true(crd, "Established"):
            return
        made_from = hashlib.sha256(orjson.dumps([crd["spec"], crd["status"]["acceptedNames"]])).digest()
        present = self.served.get(name)
        if present is None or present.made_from != made_from:
            kinds = self._kinds(name, crd, revision)
            stored = next(kind for kind in kinds if kind.names.version == kind.version.storage)
            if self._built_in(stored.names.group, stored.names.resource):
                return
            present = self.served[name] = Served(kinds, made_from)
            self.api.serve(stored, [kind for kind in kinds if kind.version.served and _free(kind.names)])
        present.terminating(bool(crd["metadata"].get("deletionTimestamp")))

    def _built_in(self, group: str, resource: str) -> bool:
        """What the server brings with it cannot be defined over."""
        return group in GROUPS and any(names.resource == resource for names in default_names() if names.group == group)

    def _kinds(self, name: str, crd: Obj, revision: int) -> list[CustomKind]:
        # what another API server writes may follow an older schema: then nothing is taken as it is
        stale_before = revision if self.api.local else float("inf")
        versions = versions_of(crd, self._loader(name))
        if (crd["spec"].get("conversion") or {}).get("strategy") != "Webhook" or len(versions) == 1:
            return [CustomKind(version, stale_before) for version in versions]
        from sampan.apiserver.customresources.conversion import ConvertedKind, give_converter

        kinds = [ConvertedKind(version, stale_before) for version in versions]
        give_converter(self.api, crd, kinds)
        return [*kinds]

    def _loader(self, name: str) -> Callable[[str], Obj]:
        """Reads a version's entry out of the cached bytes, so that no schema is in memory a second time."""

        def load(version: str) -> Obj:
            record = self.api.definitions.get(name)
            versions: list[Obj] = record.obj()["spec"]["versions"] if record is not None else []
            for entry in versions:
                if entry["name"] == version:
                    return entry
            raise errors.unavailable(f"the definition of this resource has just changed: {name}")

        return load

    def _withdraw(self, name: str) -> None:
        names = self.served.pop(name).kinds[0].names
        self.api.withdraw(names.group, names.resource)


def _free(names: Names) -> bool:
    """As upstream: a group-version of the server's own has no room for definitions."""
    return all((names.group, names.version) != (other.group, other.version) for other in default_names())
