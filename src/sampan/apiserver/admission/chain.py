"""The admission chain: `mutate` may change the object, `validate` sees it as it will be stored.

A plugin says which resources and operations concern it; for each combination the chain knows once and for all whom to
ask, so that a plugin costs nothing where it has nothing to say.

Source: k8s.io/apiserver/pkg/admission/{interfaces,chain}.go
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.api.user import User
from sampan.apiserver.metrics import ADMISSION
from sampan.http.prometheus import Histogram

if TYPE_CHECKING:
    from sampan.apiserver.api import Api
    from sampan.apiserver.call import Call

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
#: the first bound of the histograms, in seconds
QUICK = ADMISSION[0]
WRITES: frozenset[Operation] = frozenset({"CREATE", "UPDATE"})


@dataclass(slots=True, repr=False)
class Attributes:
    """One operation on its way to the store.

    `group`, `version`, `resource` are those of the request; `kind` is the object's (group, version, kind), which for a
    subresource differs from the resource's own. `name` is empty for a create with generateName. A mutating plugin
    changes `obj` in place, or puts another one in its stead. `options`: the wire form of CreateOptions, UpdateOptions,
    PatchOptions or DeleteOptions. A mutating plugin sets `again` where the others should see what it has changed: they
    all run once more, with `round` 1; what it wants to know then it puts into `remembered`.
    """

    call: Call
    operation: Operation
    kind: tuple[str, str, str]
    subresource: str
    namespace: str
    name: str
    obj: Obj | None
    old: Obj | None
    options: Obj
    dry_run: bool
    round: int = 0
    again: bool = False
    remembered: dict[str, Any] = field(default_factory=dict)
    #: for the audit log
    annotations: dict[str, str] = field(default_factory=dict)
    #: (group, version, resource) that is asked of, where it is not the call's own (`bindings`)
    at: tuple[str, str, str] | None = None
    #: what a plugin did outside of the object, to be taken back when the write is not made after all
    undo: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    @property
    def api(self) -> Api:
        return self.call.api

    @property
    def user(self) -> User:
        return self.call.user

    @property
    def group(self) -> str:
        return self.at[0] if self.at else self.call.kind.names.group

    @property
    def version(self) -> str:
        return self.at[1] if self.at else self.call.kind.names.version

    @property
    def resource(self) -> str:
        return self.at[2] if self.at else self.call.kind.names.resource

    def forbidden(self, why: str) -> errors.StatusError:
        """403 in the name of the object, as far as it has one."""
        name = self.name
        if not name:
            meta = (self.obj or {}).get("metadata") or {}
            name = meta.get("name") or meta.get("generateName") or "Unknown"
        return errors.forbidden(self.group, self.resource, name, why)

    async def take_back(self) -> None:
        """The write was not made: whatever plugins did for it is undone."""
        while self.undo:
            await self.undo.pop()()

    def warn(self, text: str) -> None:
        """Add a `Warning` header to the reply, once."""
        if text not in self.call.warnings:
            self.call.warnings.append(text)

    def annotate(self, key: str, value: str) -> None:
        """Once: the first value of a key stays."""
        self.annotations.setdefault(key, value)


class Plugin:
    """One admission plugin: override `mutate`, `validate` or both. Raises StatusError to refuse.

    `resources`: (group, resource) pairs it cares for (None: all); `operations` likewise; `subresources`: which besides
    the object itself (empty), None: all.
    """

    resources: ClassVar[frozenset[tuple[str, str]] | None] = None
    operations: ClassVar[frozenset[Operation] | None] = None
    subresources: ClassVar[frozenset[str] | None] = frozenset({""})

    async def mutate(self, attributes: Attributes) -> None: ...

    async def validate(self, attributes: Attributes) -> None: ...

    def concerns(self, attributes: Attributes) -> bool:
        """By resource, subresource and operation alone: the chain asks once for each combination."""
        return (
            (self.resources is None or (attributes.group, attributes.resource) in self.resources)
            and (self.operations is None or attributes.operation in self.operations)
            and (self.subresources is None or attributes.subresource in self.subresources)
        )


Ask = Callable[[Attributes], Awaitable[None]]
#: a plugin's name, what of it is asked, and the times it took when it let something pass
Step = tuple[str, Ask, Histogram]
#: all of them, and the times they took together when they let something pass
Steps = tuple[tuple[Step, ...], Histogram]


class Chain:
    def __init__(self, plugins: Iterable[Plugin]) -> None:
        """`plugins` are gone through when the first write comes: they may be made then."""
        self._given = plugins
        self._concerned: dict[tuple[str, str, str, str], tuple[Steps, Steps]] = {}

    @functools.cached_property
    def plugins(self) -> tuple[Plugin, ...]:
        return tuple(self._given)

    async def mutate(self, attributes: Attributes) -> None:
        steps = self._for(attributes)[0]
        await _run(attributes, steps, "admit")
        if attributes.again:
            attributes.round = 1
            await _run(attributes, steps, "admit")

    async def validate(self, attributes: Attributes) -> None:
        await _run(attributes, self._for(attributes)[1], "validate")

    def _for(self, attributes: Attributes) -> tuple[Steps, Steps]:
        key = (attributes.group, attributes.resource, attributes.subresource, attributes.operation)
        found = self._concerned.get(key)
        if found is None:
            concerned = [plugin for plugin in self.plugins if plugin.concerns(attributes)]
            mutating = [(plugin, plugin.mutate) for plugin in concerned if type(plugin).mutate is not Plugin.mutate]
            validating = [
                (plugin, plugin.validate) for plugin in concerned if type(plugin).validate is not Plugin.validate
            ]
            found = self._concerned[key] = (
                _steps(attributes, mutating, "admit"),
                _steps(attributes, validating, "validate"),
            )
        return found


def _steps(attributes: Attributes, asked: Iterable[tuple[Plugin, Ask]], kind: str) -> Steps:
    metrics, operation = attributes.api.metrics.admission, attributes.operation
    named = [(type(plugin).__name__, ask) for plugin, ask in asked]
    steps = tuple((name, ask, metrics.controllers.of(name, operation, "false", kind)) for name, ask in named)
    return steps, metrics.steps.of(operation, "false", kind)


async def _run(attributes: Attributes, concerned: Steps, kind: str) -> None:
    """One after the other, the time of each noted."""
    steps, together = concerned
    if not steps:
        together.observe(0.0)
        return
    began = at = time.perf_counter()
    name, rejected = "", True
    try:
        for step in steps:
            name, ask, times = step
            await ask(attributes)
            now = time.perf_counter()
            took = now - at
            if took <= QUICK:
                # what `observe` does with nearly all of them, and there are many
                times.counts[0] += 1
                times.sum += took
            else:
                times.observe(took)
            at = now
        rejected = False
    finally:
        if rejected:
            metrics, operation, now = attributes.api.metrics.admission, attributes.operation, time.perf_counter()
            metrics.controllers.of(name, operation, "true", kind).observe(now - at)
            metrics.steps.of(operation, "true", kind).observe(now - began)
        else:
            together.observe(at - began)
