"""Lives of simulated objects, as data: a file of stages, read once, its expressions compiled.

The first stage whose `when` holds is what happens next, `after` seconds from when that became so; one that is a `race` may
be overtaken by what follows it. It may set status, tell events, delete, or let the object rest. Text that begins with `$ `
is CEL.
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
KEYS = ("name", "when", "after", "race", "before", "status", "events", "delete", "rest")
TOP = ("defaults", "behaviours", "stages")


class StagesError(ValueError):
    """A file of stages that cannot be used: which, in which line, and why."""


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
    """`before`: events told when the wait for it begins; `events`: when it has happened."""

    name: str
    when: cel.Program
    after: Template
    race: bool
    before: Template
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
    """`defaults`: options where neither the object nor its node says otherwise. `behaviours`: what the option of that name
    may be; none: anything."""

    defaults: dict[str, str]
    stages: tuple[Stage, ...]
    behaviours: tuple[str, ...] = ()

    def next(self, variables: Mapping[str, Any]) -> Stage | None:
        """What happens next (None: nothing does). Raises cel.EvaluationError."""
        first: Stage | None = None
        for stage in self.stages:
            if not stage.holds(variables):
                continue
            if first is None or (not stage.rest and stage.delay(variables) < first.delay(variables)):
                first = stage
            if not stage.race:
                break
        return None if first is None or first.rest else first


class _Reader:
    """Of one file; whatever is wrong in it is told with its line."""

    def __init__(self, text: str, environment: cel.Environment, where: str) -> None:
        self.environment = environment
        self.where = where
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            self.value = None if node is None else loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            why = error.problem or error.context or ""
            hint = ": text with a colon in it must stand in quotes" if why.startswith("mapping values") else ""
            raise StagesError(f"{where}:{line}: not YAML: {why}{hint}") from None
        except yaml.YAMLError as error:
            raise StagesError(f"{where}: not YAML: {error}") from None
        finally:
            loader.dispose()
        self.node = node

    def wrong(self, node: yaml.Node | None, why: str) -> StagesError:
        return StagesError(f"{self.where}:{node.start_mark.line + 1 if node is not None else 1}: {why}")

    def life(self) -> Life:
        if not isinstance(self.value, dict) or not isinstance(self.value.get("stages"), list):
            raise self.wrong(self.node, "there is no list `stages`")
        keys, found = _children(self.node)
        for key in self.value:
            if key not in TOP:
                raise self.wrong(keys[key], f"`{key}` is not known here: {', '.join(TOP)}")
        defaults = self.value.get("defaults") or {}
        if not isinstance(defaults, dict):
            raise self.wrong(found["defaults"], "`defaults` must be options and what they are")
        behaviours = self.value.get("behaviours") or []
        if not isinstance(behaviours, list):
            raise self.wrong(found["behaviours"], "`behaviours` must be a list of words")
        stages: list[Stage] = []
        for item, node in zip(self.value["stages"], found["stages"].value, strict=True):
            stage = self.stage(item, node)
            if any(each.name == stage.name for each in stages):
                raise self.wrong(node, f"there is another stage {stage.name}")
            stages.append(stage)
        return Life({str(k): _text(v) for k, v in defaults.items()}, tuple(stages), tuple(map(str, behaviours)))

    def stage(self, item: Any, node: yaml.Node) -> Stage:
        if not isinstance(item, dict):
            raise self.wrong(node, f"a stage must be a mapping of {', '.join(KEYS)}")
        keys, values = _children(node)
        about = f"stage {item.get('name', '')}".strip()
        for key in item:
            if key not in KEYS:
                raise self.wrong(keys[key], f"{about}: `{key}` is not known; there are {', '.join(KEYS)}")
        for key in ("name", "when"):
            if not isinstance(item.get(key), str) or not item[key]:
                raise self.wrong(values.get(key, node), f"{about}: `{key}` must be text, and is not there or none")
        shapes: dict[str, tuple[type | tuple[type, ...], str]] = {
            "status": (dict, "a mapping"), "events": (list, "a list, or text that begins with `$ `"),
            "before": (list, "a list, or text that begins with `$ `"), "delete": (bool, "true or false"),
            "rest": (bool, "true or false"), "race": (bool, "true or false"),
            "after": ((int, float), "seconds, or text that begins with `$ `"),
        }  # fmt: skip
        for key, (kind, words) in shapes.items():
            given = item.get(key)
            may_be_text = key in ("events", "before", "after") and isinstance(given, str) and given.startswith(MARK)
            if given is not None and not may_be_text and not isinstance(given, kind):
                raise self.wrong(values[key], f"{about}: `{key}` must be {words}")
        for key in ("events", "before"):
            for event, child in zip(item.get(key) or (), getattr(values.get(key), "value", ()), strict=False):
                if isinstance(item[key], list) and (missing := {"type", "reason", "message"} - set(event)):
                    raise self.wrong(child, f"{about}: an event lacks {', '.join(sorted(missing))}")
        when = self.compile(item["when"], values["when"], about, cel.types.Bool)

        def template(key: str, otherwise: Any) -> Template:
            return Template(self.compiled(item[key], values[key], about) if item.get(key) is not None else otherwise)

        return Stage(
            item["name"], when, template("after", 0), bool(item.get("race")), template("before", []),
            template("status", {}) if "status" in item else None, template("events", []), bool(item.get("delete")),
            bool(item.get("rest")), when.needs,
        )  # fmt: skip

    def compiled(self, value: Any, node: yaml.Node, about: str) -> Any:
        if isinstance(value, str):
            return self.compile(value[len(MARK) :], node, about) if value.startswith(MARK) else value
        if isinstance(value, dict):
            _, values = _children(node)
            return {key: self.compiled(item, values[key], about) for key, item in value.items()}
        if isinstance(value, list):
            return [self.compiled(item, child, about) for item, child in zip(value, node.value, strict=True)]
        return value

    def compile(self, text: str, node: yaml.Node, about: str, expect: cel.types.Type | None = None) -> cel.Program:
        try:
            return self.environment.compile(text, expect=expect)
        except cel.CompileError as error:
            raise self.wrong(node, f"{about}: {error}") from None


def _children(node: yaml.Node | None) -> tuple[dict[Any, yaml.Node], dict[Any, yaml.Node]]:
    """The nodes of a mapping's keys and of its values; of a key that is there twice, the one that counts."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return {key.value: key for key, _ in pairs}, {key.value: value for key, value in pairs}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def read(text: str, environment: cel.Environment, where: str = "stages") -> Life:
    """Raises StagesError."""
    return _Reader(text, environment, where).life()


@functools.cache
def pods() -> Life:
    """The life of pods that comes with Sampan."""
    from sampan.hollow.pod import environment

    return read((importlib.resources.files(__package__) / "pod.yaml").read_text(), environment(), "pod.yaml")


def pods_from(path: str | Path) -> Life:
    """Another life of pods, from a user's file. Raises StagesError, OSError."""
    from sampan.hollow.pod import environment

    return read(Path(path).read_text(), environment(), str(path))
