"""What `wait_for` can wait for, in words as `kubectl wait` has them.

Source: k8s.io/kubectl/pkg/cmd/wait/{wait,condition,json}.go
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from sampan.api.customresource import jsonpath

Obj = dict[str, Any]
Condition = str | Callable[[Obj], Any]
WARNINGS = 5
#: braces as kubectl has them, or none
_JSONPATH = re.compile(r"(\{.*\}|(?:[^{=]|==)+)(?:=(.+))?", re.DOTALL)


def holds(condition: Condition, obj: Obj | None) -> bool:
    """`exists`, `deleted`; a condition's type with an optional status; a path with a value; what `kubectl wait --for` takes;
    a function. Raises ValueError for a bad path."""
    if condition in ("deleted", "delete"):
        return obj is None
    if obj is None:
        return False
    if callable(condition):
        return bool(condition(obj))
    if condition in ("exists", "create"):
        return True
    if condition.startswith("condition="):
        return _is(obj, condition.removeprefix("condition="))
    if condition.startswith("jsonpath="):
        return _matches(obj, condition.removeprefix("jsonpath="))
    name, _, wanted = condition.partition("=")
    return _shown(_at(obj, name)) == wanted if "." in name else _is(obj, condition)


def late(
    what: str | Callable[[], Any], condition: Condition, timeout: float, last: Any, events: Iterable[Obj] = ()
) -> TimeoutError:
    """That it took too long: `last` is how it stands, or what the function said last; of `events` the warnings are told."""
    said = f"{_named(what)} was not {'true' if callable(what) else _named(condition)} within {timeout:g} s: "
    if callable(what):
        said += f"it said {last!r}"
    elif last is None:
        said += "it is not there"
    else:
        plain = {key: value for key, value in last.items() if key not in ("kind", "apiVersion")}
        plain["metadata"] = {key: value for key, value in last["metadata"].items() if key != "managedFields"}
        shown = {"status": last["status"]} if last.get("status") else plain
        deleted = "it is being deleted, " if "deletionTimestamp" in last["metadata"] else ""
        said += f"{deleted}it is\n{textwrap.indent(yaml.safe_dump(shown, sort_keys=False, width=120), '  ')}"
    if warnings := [_line(event) for event in events if event.get("type") == "Warning"]:
        said = f"{said.rstrip()}\nthe latest warnings:\n" + "\n".join(warnings[-WARNINGS:])
    return TimeoutError(said.rstrip())


def _named(what: object) -> str:
    """Functions by where they stand."""
    code = getattr(what, "__code__", None)
    if code is None:
        return str(what)
    return f"{getattr(what, '__name__', what)} ({Path(code.co_filename).name}:{code.co_firstlineno})"


def _line(event: Obj) -> str:
    about = event.get("involvedObject") or {}
    return f"  {about.get('kind', '')}/{about.get('name', '')}: {event.get('reason', '')}: {event.get('message', '')}"


def _is(obj: Obj, condition: str) -> bool:
    """A condition, of the object as it is now: one of an earlier generation says nothing."""
    name, _, wanted = condition.partition("=")
    status = obj.get("status") or {}
    for item in status.get("conditions") or ():
        if item.get("type", "").casefold() == name.casefold():
            generation = obj["metadata"].get("generation", 0)
            if item.get("observedGeneration", status.get("observedGeneration", generation)) < generation:
                return False
            return bool(item.get("status", "").casefold() == (wanted or "True").casefold())
    return False


def _matches(obj: Obj, wanted: str) -> bool:
    """`{.status.phase}=Running`; without a value: there is something."""
    match = _JSONPATH.fullmatch(wanted)
    if match is None:
        raise ValueError(
            "jsonpath wait format must be jsonpath={.status.readyReplicas}=3 or jsonpath={.status.readyReplicas}"
        )
    path, value = match[1].strip("{}"), match[2]
    found = jsonpath.find(jsonpath.parse(path), obj)
    return any(value is None or _shown(item) == value.strip("'\"") for item in found)


def _at(obj: Any, path: str) -> Any:
    for step in path.strip(".").split("."):
        if isinstance(obj, list) and step.isdigit() and int(step) < len(obj):
            obj = obj[int(step)]
        elif isinstance(obj, dict):
            obj = obj.get(step)
        else:
            return None
    return obj


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
