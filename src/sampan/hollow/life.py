"""Lives of simulated objects, as data: a file of stages, read once, its expressions compiled.

The first stage whose `when` holds is what happens next, `after` seconds from when that became so. It may set status
(merged; conditions by type), tell events, delete, or let the object rest. Text that begins with `$ ` is CEL.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sampan.api import cel

Obj = dict[str, Any]
MARK = "$ "


@dataclass(frozen=True, slots=True)
class Template:
    """JSON with programs in it."""

    value: Any

    def render(self, variables: Mapping[str, Any]) -> Any:
        return _render(self.value, variables)


def _render(value: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, cel.Program):
        return cel.to_json(value.evaluate(variables))
    if isinstance(value, dict):
        return {key: _render(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_render(item, variables) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    when: cel.Program
    after: Template
    status: Template | None
    events: Template
    delete: bool
    rest: bool
    #: what must be true before the rest of `when` is worth a look
    needs: tuple[str, ...]

    def holds(self, variables: Mapping[str, Any]) -> bool:
        for name in self.needs:
            if not variables[name]:
                return False
        return bool(self.when.evaluate(variables))

    def delay(self, variables: Mapping[str, Any]) -> float:
        return max(0.0, float(self.after.render(variables)))


@dataclass(frozen=True, slots=True)
class Life:
    """`defaults`: options where neither the object nor its node says otherwise."""

    defaults: dict[str, str]
    stages: tuple[Stage, ...]

    def next(self, variables: Mapping[str, Any]) -> Stage | None:
        """What happens next (None: nothing does). Raises cel.EvaluationError."""
        for stage in self.stages:
            if stage.holds(variables):
                return None if stage.rest else stage
        return None


def read(text: str, environment: cel.Environment) -> Life:
    """Raises cel.CompileError, KeyError, yaml.YAMLError for a file that cannot be read."""
    raw = yaml.safe_load(text)

    def compiled(value: Any) -> Any:
        if isinstance(value, str):
            return environment.compile(value[len(MARK) :]) if value.startswith(MARK) else value
        if isinstance(value, dict):
            return {key: compiled(item) for key, item in value.items()}
        return [compiled(item) for item in value] if isinstance(value, list) else value

    def stage(item: Obj) -> Stage:
        when = environment.compile(item["when"], expect=cel.types.Bool)
        return Stage(
            item["name"],
            when,
            Template(compiled(item.get("after", 0))),
            Template(compiled(item["status"])) if "status" in item else None,
            Template(compiled(item.get("events") or [])),
            bool(item.get("delete")),
            bool(item.get("rest")),
            when.needs,
        )

    stages = tuple(stage(item) for item in raw["stages"])
    return Life({key: str(value) for key, value in raw.get("defaults", {}).items()}, stages)


@functools.cache
def pods() -> Life:
    """The life of pods that comes with Sampan."""
    from sampan.hollow.pod import environment

    return read((importlib.resources.files(__package__) / "pod.yaml").read_text(), environment())


def pods_from(path: Path) -> Life:
    """Another life of pods, from a user's file."""
    from sampan.hollow.pod import environment

    return read(path.read_text(), environment())
