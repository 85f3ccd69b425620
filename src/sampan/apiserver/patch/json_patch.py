"""RFC 6902 as upstream's library understands it: a list of operations, applied in order to a copy.

It is laxer than the RFC: a field that is not there can be replaced and copied (as null), negative indexes count from the
end, and a value left out is null.

Source: https://www.rfc-editor.org/rfc/rfc6902; gopkg.in/evanphx/json-patch.v4 patch.go; k8s.io/apiserver
handlers/patch.go for limits and status codes
"""

from __future__ import annotations

import copy
import re
from typing import Any

import orjson

from sampan.api import errors

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 1024 * 1024
_INDEX = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)


class Refused(Exception):
    """Why an operation cannot be done."""


class TestFailed(Refused):
    """An operation `test` found another value."""


def apply(doc: Any, operations: list[Any]) -> Any:
    """A new document. Raises 413 for too many operations, 422 for what cannot be done."""
    if len(operations) > MAX_OPERATIONS:
        count = len(operations)
        raise errors.too_large(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}")
    try:
        return patched(doc, operations)
    except Refused as refused:
        raise errors.unprocessable(str(refused)) from None


def patched(doc: Any, operations: list[Any]) -> Any:
    """A new document. Raises Refused."""
    doc = copy.deepcopy(doc)
    copied = 0
    for operation in operations:
        doc, size = _one(doc, operation)
        copied += size
        if copied > MAX_COPIED:
            why = f"Unable to complete the copy, the accumulated size increase of copy is {copied}"
            raise Refused(f"{why}, exceeding the limit {MAX_COPIED}")
    return doc


def _one(doc: Any, operation: dict[str, Any]) -> tuple[Any, int]:
    """The document, and how many bytes were copied."""
    kind = operation.get("op")
    if not isinstance(kind, str) or kind not in ("add", "replace", "remove", "test", "move", "copy"):
        raise Refused(f"Unexpected kind: {kind if isinstance(kind, str) else 'unknown'}")
    if kind in ("move", "copy"):
        return _transfer(doc, kind, _pointer(operation, kind, "from"), operation)
    path = _pointer(operation, kind, "path")
    value = copy.deepcopy(operation.get("value"))
    if path == "" and kind == "replace":
        if not isinstance(value, (dict, list)):
            raise Refused("replace operation value must be object or array: %!w(<nil>)")
        return value, 0
    if path == "" and kind == "test":
        return _tested(doc, doc, value, path), 0
    shown = path if kind in ("replace", "test") else f'"{path}"'
    missing = "is" if kind == "test" else "doc is"
    parent, key = _parent(doc, path, f"{kind} operation does not apply: {missing} missing path: {shown}")
    try:
        if kind == "add":
            _add(parent, key, value)
        elif kind == "remove":
            _remove(parent, key)
        elif kind == "test":
            _tested(doc, _get(parent, key), value, path)
        else:
            _replace(parent, key, value, path)
    except IndexError as error:
        raise Refused(f"error in {kind} for path: '{path}': {error}") from None
    return doc, 0


def _transfer(doc: Any, kind: str, source: str, operation: dict[str, Any]) -> tuple[Any, int]:
    parent, key = _parent(doc, source, f"{kind} operation does not apply: doc is missing from path: {source}")
    size = 0
    where = f"error in move for path: '{key}'" if kind == "move" else f"error in copy for from: '{source}'"
    try:
        value = _get(parent, key)
        if kind == "move":
            _remove(parent, key)
        elif value is not None:
            size = len(orjson.dumps(value))
            value = copy.deepcopy(value)
        path = _pointer(operation, kind, "path")
        parent, key = _parent(doc, path, f"{kind} operation does not apply: doc is missing destination path: {path}")
        where = f"error in move for path: '{path}'" if kind == "move" else "error while adding value during copy"
        _add(parent, key, value)
    except IndexError as error:
        raise Refused(f"{where}: {error}") from None
    return doc, size


def _pointer(operation: dict[str, Any], kind: str, name: str) -> str:
    found = operation.get(name)
    if not isinstance(found, str):
        what = "operation, missing from field: " if name == "from" else ""
        raise Refused(f"{kind} operation failed to decode {name}: {what}missing value")
    return found


def _tested(doc: Any, found: Any, value: Any, path: str) -> Any:
    if not _same(found, value):
        raise TestFailed(f"testing value {path} failed: test failed")
    return doc


def _same(a: Any, b: Any) -> bool:
    if a.__class__ is not b.__class__:
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(value, b[key]) for key, value in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


# -- places ------------------------------------------------------------------------------------------------------------


def _parent(doc: Any, path: str, missing: str) -> tuple[Any, str]:
    """The object or list that holds what `path` names, and under which key. What stands before the first slash does not
    count."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")]
    here = doc
    try:
        for step in steps[1:-1]:
            here = _get(here, step)
    except IndexError:
        here = None
    if len(steps) < 2 or not isinstance(here, (dict, list)):
        raise Refused(f"{missing}: missing value")
    return here, steps[-1]


def _index(key: str, size: int) -> int:
    """Raises IndexError."""
    if _INDEX.fullmatch(key) is None:
        raise IndexError(f'strconv.Atoi: parsing "{key}": invalid syntax')
    index = int(key)
    if not -size <= index < size:
        raise IndexError(f"Unable to access invalid index: {index}: invalid index referenced")
    return index + size if index < 0 else index


def _get(parent: Any, key: str) -> Any:
    """None where an object has no such key. Raises IndexError."""
    if isinstance(parent, dict):
        return parent.get(key)
    if isinstance(parent, list):
        return parent[_index(key, len(parent))]
    raise IndexError(key)


def _add(parent: Any, key: str, value: Any) -> None:
    if isinstance(parent, dict):
        parent[key] = value
    elif key == "-":
        parent.append(value)
    elif _INDEX.fullmatch(key) is None:
        raise IndexError(
            f"value was not a proper array index: '{key}': strconv.Atoi: parsing \"{key}\": invalid syntax"
        )
    else:
        parent.insert(_index(key, len(parent) + 1), value)


def _replace(parent: Any, key: str, value: Any, path: str) -> None:
    if isinstance(parent, dict):
        parent[key] = value
        return
    try:
        parent[_index(key, len(parent))] = value
    except IndexError:
        raise Refused(f"replace operation does not apply: doc is missing key: {path}: missing value") from None


def _remove(parent: Any, key: str) -> None:
    if isinstance(parent, list):
        del parent[_index(key, len(parent))]
    elif key in parent:
        del parent[key]
    else:
        raise IndexError(f"Unable to remove nonexistent key: {key}: missing value")
