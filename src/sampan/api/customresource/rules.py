"""CEL rules in schemas (`x-kubernetes-validations`): compiled once, evaluated within a budget.

A rule about `oldSelf` runs only where there is an old value to compare with. What a rule finds in an unchanged part of an
object is a warning, not an error.

Source: apiextensions-apiserver/pkg/apiserver/schema/cel/{compilation,validation}.go
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import orjson

from sampan.api import cel
from sampan.api.customresource.validate import NEW
from sampan.api.customresource.values import add, same
from sampan.api.field import ErrorList

Schema = dict[str, Any]
MAX_MESSAGE = 5 * 1024
META = ("apiVersion", "kind", "metadata")
NO_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_REASONS = {
    "FieldValueForbidden": "FieldValueForbidden",
    "FieldValueRequired": "FieldValueRequired",
    "FieldValueDuplicate": "FieldValueDuplicate",
}


class Exhausted(Exception):
    """No further rule is run."""


class Rule:
    """One rule with its programs. Raises cel.CompileError when it does not compile."""

    __slots__ = ("declared", "message", "optional", "program", "reason", "suffix", "transition")

    def __init__(self, declared: Schema, self_type: cel.types.Type) -> None:
        self.declared = declared
        self.optional = bool(declared.get("optionalOldSelf"))
        old_type = cel.types.OptionalType(self_type) if self.optional else self_type
        environment = cel.Environment({"self": self_type, "oldSelf": old_type})
        self.program = environment.compile(declared["rule"], expect=cel.types.Bool)
        self.transition = self.program.uses("oldSelf")
        self.message: cel.Program | None = None
        if declared.get("messageExpression", "").strip():
            self.message = environment.compile(declared["messageExpression"], expect=cel.types.String)
        self.reason = _REASONS.get(declared.get("reason", ""), "FieldValueInvalid")
        self.suffix = normalized(declared.get("fieldPath", "").strip())

    @property
    def shown(self) -> str:
        return str(self.declared.get("message", "").strip() or self.declared["rule"].strip())

    def values(self, value: Any, old: Any) -> dict[str, Any]:
        out = {"self": value}
        if self.optional:
            out["oldSelf"] = cel_optional(old)
        elif old is not NEW:
            out["oldSelf"] = old
        return out


def cel_optional(old: Any) -> Any:
    from sampan.api.cel.values import NONE, Optional

    return NONE if old is NEW or old is None else Optional(old)


def normalized(path: str) -> str:
    """`.a['b'].c` as field errors print it: `a.b.c`."""
    out = path.removeprefix(".")
    while "['" in out:
        head, _, rest = out.partition("['")
        name, _, tail = rest.partition("']")
        out = f"{head}.{name}{tail}" if head else f"{name}{tail}"
    return out


class RuleNode:
    """The rules of one schema node, and of those below it that have any."""

    __slots__ = ("additional", "broken", "items", "keys", "properties", "rules", "type")

    def __init__(self, schema: Schema, root: bool) -> None:
        self.type = schema.get("type", "")
        mapped = schema.get("x-kubernetes-list-type") == "map"
        self.keys = tuple(schema.get("x-kubernetes-list-map-keys") or ()) if mapped else ()
        self.rules: list[Rule] = []
        self.broken: list[str] = []
        declared = schema.get("x-kubernetes-validations") or ()
        self_type = cel.declare_schema(schema, root=root) if declared else None
        for rule in declared:
            try:
                if self_type is None:
                    raise cel.CompileError("the schema has no type that rules can see")
                self.rules.append(Rule(rule, self_type))
            except cel.CompileError as error:
                self.broken.append(f"rule compile error: {error}")
        self.properties = {
            name: node for name, sub in (schema.get("properties") or {}).items() if (node := _below(sub)) is not None
        }
        self.items = _below(schema.get("items"))
        self.additional = _below(schema.get("additionalProperties"))

    @property
    def empty(self) -> bool:
        return not (self.rules or self.broken or self.properties or self.items or self.additional)


def _below(schema: Any) -> RuleNode | None:
    if not isinstance(schema, dict):
        return None
    node = RuleNode(schema, bool(schema.get("x-kubernetes-embedded-resource")))
    return None if node.empty else node


class Rules:
    """All rules of one version."""

    def __init__(self, schema: Schema, root: bool = True) -> None:
        self.node = RuleNode(schema, root)

    def check(self, obj: Any, old: Any = None) -> ErrorList:
        """What is found in unchanged parts is a warning."""
        run = _Run()
        with contextlib.suppress(Exhausted):
            run.check(self.node, obj, NEW if old is None else old, "", False)
        run.out.warnings = run.tolerated
        return run.out


class _Run:
    def __init__(self) -> None:
        self.out = ErrorList()
        self.budget = cel.Budget()
        self.tolerated: list[str] = []

    def check(self, node: RuleNode, value: Any, old: Any, path: str, unchanged: bool) -> None:
        """`unchanged`: the nearest part that has an old value equals it."""
        if value is None:
            return
        if old is not NEW and (node.rules or node.items or node.additional or node.properties):
            unchanged = same(value, old)
        for text in node.broken:
            add(self.out, "FieldValueInvalid", path or "<nil>", node.type, text)
        for rule in node.rules:
            self.run(node, rule, value, old, path, unchanged)
        if value.__class__ is dict:
            before = old if old.__class__ is dict else {}
            for key, item in value.items():
                below = node.properties.get(key)
                if below is not None:
                    self.check(below, item, before.get(key, NEW), f"{path}.{key}" if path else key, unchanged)
                elif node.additional is not None:
                    self.check(node.additional, item, before.get(key, NEW), f"{path}[{key}]", unchanged)
        elif value.__class__ is list and node.items is not None:
            for index, (item, was) in enumerate(_correlated(node.keys, value, old)):
                self.check(node.items, item, was, f"{path}[{index}]", unchanged)

    def run(self, node: RuleNode, rule: Rule, value: Any, old: Any, path: str, unchanged: bool) -> None:
        if rule.transition and not rule.optional and (old is NEW or old is None):
            return
        where = path or "<nil>"
        if self.budget.remaining <= 0:
            add(self.out, "FieldValueInvalid", where, node.type, NO_BUDGET)
            raise Exhausted
        values = rule.values(value, old)
        try:
            if rule.program.evaluate(values, self.budget) is True:
                return
        except cel.BudgetExceeded as error:
            text = NO_BUDGET
            if not error.whole_budget:
                text = f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {rule.shown}"
            add(self.out, "FieldValueInvalid", where, node.type, text)
            raise Exhausted from None
        except cel.EvaluationError as error:
            text = f"{error} evaluating rule: {rule.shown}"
            if str(error).startswith("no such overload"):
                text = f"'{error}': call arguments did not match a supported operator, function or macro signature for rule: {rule.shown}"
            add(self.out, "FieldValueInvalid", where, node.type, text)
            return
        if rule.suffix:
            where = f"{path}.{rule.suffix}" if path else rule.suffix
        found = ErrorList()
        message = self.message(rule, values, where, node.type)
        shown = "" if rule.reason == "FieldValueDuplicate" else message
        value_shown = "" if rule.reason in ("FieldValueForbidden", "FieldValueRequired") else node.type
        add(found, rule.reason, where, value_shown, shown)
        if unchanged and not rule.transition:
            self.tolerated.extend(map(str, found))
        else:
            self.out.extend(found)

    def message(self, rule: Rule, values: dict[str, Any], where: str, kind: str) -> str:
        if rule.message is not None:
            try:
                text = rule.message.evaluate(values, self.budget)
                if isinstance(text, str):
                    text = text.strip()
                    if text and "\n" not in text and len(text.encode()) <= MAX_MESSAGE:
                        return text
            except cel.BudgetExceeded as error:
                shown = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run"
                if not error.whole_budget:
                    quoted = orjson.dumps(rule.declared["messageExpression"]).decode()
                    shown = f"no further validation rules will be run due to call cost exceeds limit for messageExpression: {quoted}"
                add(self.out, "FieldValueInvalid", where, kind, shown)
                raise Exhausted from None
            except cel.EvaluationError:
                # as upstream: a message that cannot be made is replaced by the plain one
                return _plain(rule)
        return _plain(rule)


def _plain(rule: Rule) -> str:
    return rule.declared.get("message", "").strip() or f"failed rule: {rule.shown}"


def _correlated(keys: tuple[str, ...], value: list[Any], old: Any) -> Iterator[tuple[Any, Any]]:
    """Items with what they were: known for lists of type map alone."""
    if not keys or old.__class__ is not list:
        return ((item, NEW) for item in value)

    def key_of(item: Any) -> bytes:
        return orjson.dumps([item.get(key) for key in keys]) if isinstance(item, dict) else b""

    known = {key_of(item): item for item in old}
    return ((item, known.get(key_of(item), NEW)) for item in value)
