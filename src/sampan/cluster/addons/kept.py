"""Leaving to others what they own: an object to apply, without the fields that a conflict names.

Paths are those of `details.causes` of a 409: `.spec.template.spec.containers[name="coredns"].image`.

Source: sigs.k8s.io/structured-merge-diff/v6/fieldpath/{path,element}.go (how paths are written)
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

Obj = dict[str, Any]
_STEP = re.compile(r'\.(?P<field>[^.\[]+)|\[(?P<keys>(?:[^\]"]|"(?:[^"\\]|\\.)*")*)\]')
_KEY = re.compile(r'(?P<name>\w+)=(?P<value>"(?:[^"\\]|\\.)*"|[^,]+)')


def without(obj: Obj, details: Any) -> Obj:
    """A copy; the same as `obj` where nothing of it is named."""
    out = copy.deepcopy(obj)
    for cause in (details or {}).get("causes") or ():
        if cause.get("reason") == "FieldManagerConflict":
            _remove(out, _steps(out, cause.get("field", "")))
    return out


def _steps(obj: Obj, path: str) -> list[str | dict[str, Any]]:
    """Names of fields, and the keys of list items. A name may hold dots, as annotations do: the longest that is there."""
    out: list[str | dict[str, Any]] = []
    here: Any = obj
    while path:
        known = [key for key in here if path.startswith(f".{key}")] if isinstance(here, dict) else []
        if known:
            name = max(known, key=len)
            path = path[len(name) + 1 :]
            out.append(name)
            here = here[name]
            continue
        step = _STEP.match(path)
        if step is None:
            return []
        path = path[step.end() :]
        if step["field"] is not None:
            return []  # not a field of ours
        keys = {found["name"]: json.loads(found["value"]) for found in _KEY.finditer(step["keys"])}
        out.append(keys)
        here = _item(here, keys)
    return out


def _item(items: Any, keys: dict[str, Any]) -> Any:
    found = items if isinstance(items, list) else []
    return next(
        (each for each in found if isinstance(each, dict) and all(each.get(k) == v for k, v in keys.items())), None
    )


def _remove(obj: Obj, steps: list[str | dict[str, Any]]) -> None:
    here: Any = obj
    for step in steps[:-1]:
        here = here.get(step) if isinstance(step, str) else _item(here, step)
    if steps and here is not None:
        last = steps[-1]
        if isinstance(last, str):
            here.pop(last, None)
        elif (item := _item(here, last)) is not None:
            here.remove(item)
