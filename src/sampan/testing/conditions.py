"""What `wait_for` can wait for, in words as `kubectl wait` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Obj = dict[str, Any]
Condition = str | Callable[[Obj], Any]


def holds(condition: Condition, obj: Obj | None) -> bool:
    """`exists`, `deleted`; a condition's type with an optional status; a path with a value; a function."""
    if condition == "deleted":
        return obj is None
    if obj is None:
        return False
    if callable(condition):
        return bool(condition(obj))
    if condition == "exists":
        return True
    name, _, wanted = condition.partition("=")
    if "." in name:
        return _shown(_at(obj, name)) == wanted
    found = (obj.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == name and item.get("status") == (wanted or "True") for item in found)


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
