"""Value validations, compiled: the OpenAPI subset of structural schemas, with upstream's messages.

A schema becomes a tree of `Node`s once; checking an object walks the object, not the schema. On an update, what is
equal to the old value is not looked at again (ratcheting), so that a schema may be tightened under living objects.

Source: k8s.io/kube-openapi/pkg/validation/{validate,errors}; apiextensions-apiserver/pkg/apiserver/validation/
{validation,ratcheting}.go
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import orjson

from sampan.api import pace
from sampan.api.customresource.formats import FORMATS
from sampan.api.customresource.values import add, go_number, json_type, same
from sampan.api.field import ErrorList, go_quote

Schema = dict[str, Any]
Check = Callable[[Any, str, "Findings"], None]
#: alternatives that are tried on one object, counted with the parts they look at
MAX_TRIES = 200_000
_STRETCH = 64
#: no value to compare with: everything is checked
NEW: Any = object()
_INT_RANGES = {"int32": (-(1 << 31), (1 << 31) - 1), "int64": (-(1 << 63), (1 << 63) - 1)}


TOO_COSTLY = "validation was given up: the object is too large for the alternatives of its schema"


class TooCostly(Exception):
    """An object has so many parts, and its schema so many alternatives, that checking it was given up."""


class Findings(ErrorList):
    """Errors, and what may still be spent on trying alternatives (`anyOf` and its like)."""

    __slots__ = ("_pace", "left")

    def __init__(self, left: list[int] | None = None) -> None:
        super().__init__()
        self.left = [MAX_TRIES] if left is None else left
        self._pace = pace.current.get()

    def fresh(self, value: Any) -> Findings:
        """For one alternative, tried on `value`. Raises TooCostly."""
        self.left[0] -= 1 + (len(value) if value.__class__ is list or value.__class__ is dict else 0)
        if self.left[0] < 0:
            raise TooCostly
        if self._pace is not None and self.left[0] % _STRETCH == 0:
            self._pace.pause()
        return Findings(self.left)


@functools.lru_cache(maxsize=512)
def pattern(text: str) -> Any:
    """A compiled RE2 pattern, which no input makes slow. Raises re2.error."""
    re2: Any = importlib.import_module("re2")

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 2 << 20
    return re2.compile(text, options)


@functools.lru_cache(maxsize=8192)
def _short_matches(regex: str, text: str) -> bool:
    return pattern(regex).search(text.encode(errors="surrogatepass")) is not None


def matches(regex: str, text: str) -> bool:
    """Whether the pattern is found in `text`. Bytes, since RE2 counts in them; most strings are checked often."""
    if len(text) <= 64:
        return _short_matches(regex, text)
    return pattern(regex).search(text.encode(errors="surrogatepass")) is not None


class Node:
    """One schema node. `checks`: what its own keywords say; children are followed by `check`. `quick`: says for most good
    scalars at once that there is nothing to check."""

    __slots__ = ("additional", "checks", "enum", "items", "keys", "nullable", "properties", "quick", "types")

    def __init__(self, schema: Schema) -> None:
        kind = schema.get("type", "")
        self.types: tuple[str, ...] = (kind,) if kind else ()
        if schema.get("x-kubernetes-int-or-string"):
            self.types = ("integer", "string")
        self.nullable = bool(schema.get("nullable"))
        self.properties = {name: Node(sub) for name, sub in (schema.get("properties") or {}).items()}
        additional = schema.get("additionalProperties")
        self.additional = Node(additional) if isinstance(additional, dict) else None
        self.items = Node(schema["items"]) if isinstance(schema.get("items"), dict) else None
        mapped = schema.get("x-kubernetes-list-type") == "map"
        self.keys: tuple[str, ...] = tuple(schema.get("x-kubernetes-list-map-keys") or ()) if mapped else ()
        self.enum = _enum(schema["enum"]) if schema.get("enum") else None
        self.checks = tuple(_checks(schema))
        self.quick = _quick(schema)

    def check(self, value: Any, path: str, out: Findings, old: Any = NEW) -> None:
        if old is not NEW and same(value, old):
            return
        if value is None:
            if self.types and not self.nullable:
                detail = f'{_at(path)} must be of type {",".join(self.types)}: "null"'
                add(out, "FieldValueTypeInvalid", path, "null", detail)
            if self.enum is not None:
                self.enum(value, path, out)
            return
        kind = value.__class__
        if self.types and not self._fits(value):
            found = json_type(value)
            add(
                out,
                "FieldValueTypeInvalid",
                path,
                found,
                f'{_at(path)} must be of type {",".join(self.types)}: "{found}"',
            )
            return
        for check in self.checks:
            check(value, path, out)
        if self.enum is not None:
            self.enum(value, path, out)
        if kind is dict:
            properties, additional = self.properties, self.additional
            before = old if old.__class__ is dict else {}
            for key, item in value.items():
                node = properties.get(key, additional)
                if node is not None and not (node.quick is not None and node.quick(item)):
                    node.check(item, f"{path}.{key}" if path else key, out, before.get(key, NEW))
        elif kind is list and self.items is not None:
            before_of = self._correlate(old)
            quick = self.items.quick
            for index, item in enumerate(value):
                if quick is not None and quick(item):
                    continue
                self.items.check(item, f"{path}[{index}]", out, before_of(item))

    def _fits(self, value: Any) -> bool:
        found = json_type(value)
        if found in self.types:
            return True
        if found == "number":
            return "integer" in self.types and bool(value.is_integer())
        return found == "integer" and "number" in self.types

    def _correlate(self, old: Any) -> Callable[[Any], Any]:
        """Which old item a new one came from: known for lists of type map alone."""
        if old.__class__ is not list or not self.keys:
            return lambda item: NEW
        key_of = self.key_of
        known = {key_of(item): item for item in old if item.__class__ is dict}
        return lambda item: known.get(key_of(item), NEW) if item.__class__ is dict else NEW

    def key_of(self, item: dict[str, Any]) -> bytes:
        return orjson.dumps([item.get(key) for key in self.keys])


_PLAIN = {"type", "description", "title", "default", "nullable", "example", "externalDocs", "x-kubernetes-validations"}


def _quick(schema: Schema) -> Callable[[Any], bool] | None:
    """A test that only what is right can pass; None: there is no cheap one."""
    kind = schema.get("type")
    more = {key for key, value in schema.items() if value is not None and value is not False and value != ""} - _PLAIN
    if kind == "boolean" and not more:
        return lambda value: value.__class__ is bool
    if kind == "integer" and more <= {"minimum", "maximum"}:
        low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
        if schema.get("exclusiveMinimum") or schema.get("exclusiveMaximum"):
            return None
        return lambda value: value.__class__ is int and low <= value <= high
    if kind != "string":
        return None
    if not more:
        return lambda value: value.__class__ is str
    if more <= {"maxLength", "minLength"}:
        least, most = schema.get("minLength", 0), schema.get("maxLength", float("inf"))
        return lambda value: value.__class__ is str and least <= len(value) <= most
    if more == {"enum"}:
        known = frozenset(value for value in schema["enum"] if isinstance(value, str))
        return lambda value: value.__class__ is str and value in known
    if more == {"pattern"}:
        regex = schema["pattern"]
        return lambda value: value.__class__ is str and matches(regex, value)
    return None


def _at(path: str) -> str:
    return f"{path} in body"


def _key(value: Any) -> bytes:
    """Equal for what is equal in JSON: `1.0` is `1`."""
    if value.__class__ is float and value.is_integer():
        value = int(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _enum(values: list[Any]) -> Check:
    plain = {value for value in values if isinstance(value, str)}
    others = {_key(value) for value in values if not isinstance(value, str)}
    shown: list[str] = []

    def check(value: Any, path: str, out: Findings) -> None:
        if value in plain if isinstance(value, str) else bool(others) and _key(value) in others:
            return
        if not shown:
            shown.extend(go_quote(v if isinstance(v, str) else orjson.dumps(v).decode()) for v in values)
        add(out, "FieldValueNotSupported", path, value, "supported values: " + ", ".join(shown))

    return check


def _invalid(out: Findings, path: str, value: Any, detail: str) -> None:
    add(out, "FieldValueInvalid", path, value, f"{_at(path)} {detail}")


def _whole(out: Findings, path: str, detail: str) -> None:
    """A mistake that upstream's library does not tie to a field."""
    add(out, "FieldValueInvalid", "<nil>", "", f'"{path}" {detail}')


def _checks(schema: Schema) -> list[Check]:
    out: list[Check] = []
    for make in (_composed, _strings, _format, _numbers, _arrays, _objects):
        out.extend(make(schema))
    return out


# -- by type -----------------------------------------------------------------------------------------------------------


def _strings(schema: Schema) -> list[Check]:
    longest, shortest, regex = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    if longest is None and shortest is None and not regex:
        return []

    def check(value: Any, path: str, out: Findings) -> None:
        if value.__class__ is not str:
            return
        if longest is not None and len(value) > longest:
            add(out, "FieldValueTooLong", path, value, f"may not be more than {longest} bytes")
        if shortest is not None and len(value) < shortest:
            _invalid(out, path, value, f"should be at least {shortest} chars long")
        if regex and not matches(regex, value):
            _invalid(out, path, value, f"should match '{regex}'")

    return [check]


def _format(schema: Schema) -> list[Check]:
    name = schema.get("format", "")
    test = FORMATS.get(name)
    if test is None or schema.get("type") not in ("string", None, ""):
        return []

    def check(value: Any, path: str, out: Findings) -> None:
        if value.__class__ is str and not test(value):
            detail = f"{_at(path)} must be of type {name}: {go_quote(value)}"
            add(out, "FieldValueTypeInvalid", path, value, detail)

    return [check]


def _numbers(schema: Schema) -> list[Check]:
    top, bottom, step = schema.get("maximum"), schema.get("minimum"), schema.get("multipleOf")
    no_top, no_bottom = bool(schema.get("exclusiveMaximum")), bool(schema.get("exclusiveMinimum"))
    kind, name = schema.get("type", ""), schema.get("format", "")
    span = _INT_RANGES.get(name) if kind in ("integer", "number") else None
    if top is None and bottom is None and step is None and span is None:
        return []

    def check(value: Any, path: str, out: Findings) -> None:
        if value.__class__ is not int and value.__class__ is not float:
            return
        if span is not None and not span[0] <= value <= span[1]:
            detail = f"Checked value must be of type {kind} with format {name} in {path}"
            add(out, "FieldValueInvalid", "<nil>", "", detail)
        if step is not None and not _multiple(value, step):
            _invalid(out, path, value, f"should be a multiple of {go_number(step)}")
        if top is not None and (value >= top if no_top else value > top):
            _invalid(out, path, value, f"should be less than {'' if no_top else 'or equal to '}{go_number(top)}")
        if bottom is not None and (value <= bottom if no_bottom else value < bottom):
            _invalid(
                out, path, value, f"should be greater than {'' if no_bottom else 'or equal to '}{go_number(bottom)}"
            )

    return [check]


def _multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int) and step:
        return value % step == 0
    return bool(step) and float(value / step).is_integer()


def _arrays(schema: Schema) -> list[Check]:
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is None and least is None:
        return []

    def check(value: Any, path: str, out: Findings) -> None:
        if value.__class__ is not list:
            return
        if least is not None and len(value) < least:
            _invalid(out, path, len(value), f"should have at least {least} items")
        if most is not None and len(value) > most:
            add(out, "FieldValueTooMany", path, len(value), _at_most(most))

    return [check]


def _at_most(maximum: int) -> str:
    return f"must have at most {maximum} {'item' if maximum == 1 else 'items'}"


def _objects(schema: Schema) -> list[Check]:
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    required: list[str] = schema.get("required") or []
    if most is None and least is None and not required:
        return []

    def check(value: Any, path: str, out: Findings) -> None:
        if value.__class__ is not dict:
            return
        if least is not None and len(value) < least:
            _invalid(out, path, len(value), f"should have at least {least} properties")
        if most is not None and len(value) > most:
            add(out, "FieldValueTooMany", path, len(value), _at_most(most))
        for name in required:
            if name not in value:
                add(out, "FieldValueRequired", f"{path}.{name}" if path else name, "", "")

    return [check]


# -- logic -------------------------------------------------------------------------------------------------------------


def _composed(schema: Schema) -> list[Check]:
    out: list[Check] = []
    if schema.get("anyOf"):
        out.append(_any_of([Node(item) for item in schema["anyOf"]]))
    if schema.get("oneOf"):
        out.append(_one_of([Node(item) for item in schema["oneOf"]]))
    if schema.get("allOf"):
        out.append(_all_of([Node(item) for item in schema["allOf"]]))
    if isinstance(schema.get("not"), dict):
        out.append(_not(Node(schema["not"])))
    return out


def _each(nodes: list[Node], value: Any, path: str, out: Findings) -> list[Findings]:
    results = []
    for node in nodes:
        found = out.fresh(value)
        node.check(value, path, found)
        results.append(found)
    return results


def _any_of(nodes: list[Node]) -> Check:
    def check(value: Any, path: str, out: Findings) -> None:
        best: Findings | None = None
        for node in nodes:
            found = out.fresh(value)
            node.check(value, path, found)
            if not found:
                return
            if best is None or len(found) < len(best):
                best = found
        _whole(out, path, "must validate at least one schema (anyOf)")
        out.extend(best or ())

    return check


def _one_of(nodes: list[Node]) -> Check:
    def check(value: Any, path: str, out: Findings) -> None:
        results = _each(nodes, value, path, out)
        valid = sum(not found for found in results)
        if valid == 1:
            return
        shown = "Found none valid" if not valid else f"Found {valid} valid alternatives"
        _whole(out, path, f"must validate one and only one schema (oneOf). {shown}")
        if not valid:
            out.extend(sorted(results, key=len)[0])

    return check


def _all_of(nodes: list[Node]) -> Check:
    def check(value: Any, path: str, out: Findings) -> None:
        results = _each(nodes, value, path, out)
        for found in results:
            out.extend(found)
        valid = sum(not found for found in results)
        if valid < len(nodes):
            _whole(out, path, "must validate all the schemas (allOf)" + ("" if valid else ". None validated"))

    return check


def _not(node: Node) -> Check:
    def check(value: Any, path: str, out: Findings) -> None:
        found = out.fresh(value)
        node.check(value, path, found)
        if not found:
            _whole(out, path, "must not validate the schema (not)")

    return check
