"""What webhooks and policies have in common that change objects.

A change makes the chain run its mutating plugins once more; in that second round only those are asked again that were
asked before the last change and have `reinvocationPolicy: IfNeeded`.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/reinvocationcontext.go,
k8s.io/apiserver/pkg/admission/plugin/policy/mutating/reinvocationcontext.go;
k8s.io/apiserver/pkg/endpoints/handlers/fieldmanager/admission.go
"""

from __future__ import annotations

import copy
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.patch import managed

MANAGED_WARNING = (
    ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating "
    "admission controller; please fix your requests: {}"
)


@dataclass(slots=True)
class Rounds:
    """Whom the second round asks (`again`), of those that were asked and could be (`asked`). `output`: the object as they
    left it in the first."""

    asked: set[Hashable] = field(default_factory=set)
    again: set[Hashable] = field(default_factory=set)
    output: Obj | None = None

    def changed(self) -> None:
        self.again |= self.asked
        self.asked = set()

    def keep(self, attributes: Attributes) -> None:
        """The round is over."""
        self.output = copy.deepcopy(attributes.obj) if not attributes.round else None


def rounds(attributes: Attributes, plugin: str) -> Rounds:
    """Those of a plugin, at the beginning of one."""
    found: Rounds = attributes.remembered.setdefault(plugin, Rounds())
    if attributes.round and found.output != attributes.obj:
        found.changed()
    return found


def owners(attributes: Attributes) -> Any:
    return (attributes.obj or {}).get("metadata", {}).get("managedFields")


def keep_owners(attributes: Attributes, before: Any) -> None:
    """managedFields that were broken are put back as they were."""
    meta = (attributes.obj or {}).get("metadata")
    if meta is None or meta.get("managedFields") == before:
        return
    if managed.read(meta.get("managedFields")) is None:
        attributes.warn(MANAGED_WARNING.format("an entry cannot be read"))
        if before is None:
            del meta["managedFields"]
        else:
            meta["managedFields"] = before
