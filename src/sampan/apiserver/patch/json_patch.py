"""RFC 6902: a list of operations, applied in order to a copy.

Source: https://www.rfc-editor.org/rfc/rfc6902; k8s.io/apiserver handlers/patch.go for limits and status codes
"""

from __future__ import annotations

import copy
from typing import Any

from sampan.api import errors

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 1024 * 1024
_MISSING: Any = object()


def apply(doc: Any, operations: list[Any]) -> Any:
    """A new document. Raises 413 for too many operations, 422 for what cannot be done."""
    if len(operations) > MAX_OPERATIONS:
        count = len(operations)
        raise errors.too_large(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}")
    doc = copy.deepcopy(doc)
    copied = 0
    for operation in operations:
        if not isinstance(operation, dict):
            raise _invalid("operation is not an object")
        doc, size = _one(doc, operation)
        copied += size
        if copied > MAX_COPIED:
            raise errors.too_large("the copy operations of the JSON patch add up to too many bytes")
    return doc


def _invalid(why: str) -> errors.StatusError:
    """422 with upstream's generic words; `why` stands in the details."""
    message = "the server rejected our request due to an error in our request"
    return errors.StatusError(422, "Invalid", message, {"causes": [{"message": why}]})


def _one(doc: Any, operation: dict[str, Any]) -> tuple[Any, int]:
    kind, path = operation.get("op"), operation.get("path")
    if not isinstance(path, str):
        raise _invalid("operation has no path")
    match kind:
        case "add":
            return _add(doc, path, _value(operation)), 0
        case "replace":
            if path == "":
                return _value(operation), 0
            _find(doc, path)
            return _put(doc, path, _value(operation)), 0
        case "remove":
            return _remove(doc, path)[0], 0
        case "test":
            if _find(doc, path, missing=None) != operation.get("value"):
                raise _invalid(f"testing value {path} failed")
            return doc, 0
        case "move" | "copy":
            source = operation.get("from")
            if not isinstance(source, str):
                raise _invalid(f"{kind} operation has no from")
            if kind == "move":
                if path.startswith(source + "/"):
                    raise _invalid("cannot move a value into itself")
                doc, value = _remove(doc, source)
                return _add(doc, path, value), 0
            value = copy.deepcopy(_find(doc, source))
            return _add(doc, path, value), len(str(value))
    raise _invalid(f"Unexpected kind: {kind}")


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise _invalid(f"{operation['op']} operation has no value")
    return copy.deepcopy(operation["value"])


def _steps(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise _invalid(f"path {path} does not begin with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def _index(target: list[Any], step: str, path: str, limit: int) -> int:
    if not (step.isascii() and step.isdigit()) or (len(step) > 1 and step[0] == "0") or len(step) > 9:
        raise _invalid(f"{path}: {step} is no list index")
    index = int(step)
    if index >= limit:
        raise _invalid(f"{path}: index {index} is out of bounds")
    return index


def _child(here: Any, step: str, path: str) -> Any:
    if isinstance(here, dict):
        return here.get(step, _MISSING)
    if isinstance(here, list):
        return here[_index(here, step, path, len(here))]
    return _MISSING


def _find(doc: Any, path: str, missing: Any = _MISSING) -> Any:
    here = doc
    for step in _steps(path):
        here = _child(here, step, path)
        if here is _MISSING:
            if missing is not _MISSING:
                return missing
            raise _invalid(f"{path} does not exist")
    return here


def _parent(doc: Any, path: str) -> tuple[Any, str]:
    *above, last = _steps(path)
    here = doc
    for step in above:
        here = _child(here, step, path)
        if here is _MISSING or here is None:
            raise _invalid(f"{path}: its parent does not exist")
    if not isinstance(here, (dict, list)):
        raise _invalid(f"{path}: its parent is neither object nor list")
    return here, last


def _add(doc: Any, path: str, value: Any) -> Any:
    if path == "":
        return value
    parent, last = _parent(doc, path)
    if isinstance(parent, dict):
        parent[last] = value
    elif last == "-":
        parent.append(value)
    else:
        parent.insert(_index(parent, last, path, len(parent) + 1), value)
    return doc


def _put(doc: Any, path: str, value: Any) -> Any:
    parent, last = _parent(doc, path)
    if isinstance(parent, dict):
        parent[last] = value
    else:
        parent[_index(parent, last, path, len(parent))] = value
    return doc


def _remove(doc: Any, path: str) -> tuple[Any, Any]:
    if path == "":
        raise _invalid("cannot remove the whole object")
    parent, last = _parent(doc, path)
    if isinstance(parent, dict):
        if last not in parent:
            raise _invalid(f"Unable to remove nonexistent key: {last}: missing value")
        return doc, parent.pop(last)
    return doc, parent.pop(_index(parent, last, path, len(parent)))
