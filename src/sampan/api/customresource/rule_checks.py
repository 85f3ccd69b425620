"""Rules of a definition: do they compile, and what may they cost at most.

A rule's cost is what one evaluation costs at most, times how often the schema lets it be evaluated; what the schema does
not bound is bounded by what fits in a request.

Source: apiextensions-apiserver/pkg/apis/apiextensions/validation/{validation,cel_validation}.go
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sampan.api import cel
from sampan.api.customresource.rules import Rule
from sampan.api.field import ErrorList, Path

Schema = dict[str, Any]
RULE_LIMIT, SCHEMA_LIMIT = 10_000_000, 100_000_000
MAX_REQUEST = 3 * 1024 * 1024
MOST_EXPENSIVE = 4
_HINT = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"


@dataclass(slots=True)
class Costs:
    total: int = 0
    by_path: list[tuple[int, Path]] = field(default_factory=list)

    def add(self, path: Path, cost: int) -> None:
        self.total += cost
        self.by_path.append((cost, path))


def check_rules(schema: Schema, path: Path, out: ErrorList, *, limit_each: bool = True) -> None:
    """`limit_each` False: an unchanged schema, whose single rules were let in before."""
    costs = Costs()
    _node(schema, path, out, costs, 1, None, True, limit_each)
    if costs.total > SCHEMA_LIMIT:
        detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        for cost, where in sorted(costs.by_path, key=lambda item: -item[0])[:MOST_EXPENSIVE]:
            if cost:
                out.forbidden(where, detail)
        name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        out.forbidden(path, over(name, costs.total, SCHEMA_LIMIT))


def over(name: str, cost: int, limit: int) -> str:
    times = cost / limit
    shown = "more than 100x" if times > 100 else f"{times:f}x" if times < 1.5 else f"{times:.1f}x"
    return f"{name} exceeds budget by factor of {shown} {_HINT}"


def _node(
    schema: Schema,
    path: Path,
    out: ErrorList,
    costs: Costs,
    times: int | None,
    fixed: Path | None,
    root: bool,
    limit_each: bool,
) -> None:
    """`times`: how often this node can be there (None: not bounded); `fixed`: from where on old and new do not match."""
    for name, sub in (schema.get("properties") or {}).items():
        embedded = bool(sub.get("x-kubernetes-embedded-resource"))
        _node(sub, path / "properties" @ name, out, costs, times, fixed, embedded, limit_each)
    additional, items = schema.get("additionalProperties"), schema.get("items")
    if isinstance(additional, dict):
        here, many = path / "additionalProperties", _product(times, schema.get("maxProperties"))
        embedded = bool(additional.get("x-kubernetes-embedded-resource"))
        _node(additional, here, out, costs, many, fixed, embedded, limit_each)
    if isinstance(items, dict):
        below = fixed if schema.get("x-kubernetes-list-type") == "map" else fixed or path
        embedded = bool(items.get("x-kubernetes-embedded-resource"))
        many = _product(times, schema.get("maxItems"))
        _node(items, path / "items", out, costs, many, below, embedded, limit_each)
    declared = schema.get("x-kubernetes-validations") or ()
    if not declared:
        return
    self_type = cel.declare_schema(schema, root=root)
    if self_type is None:
        why = "internal error: failed to retrieve type information for x-kubernetes-validations"
        out.invalid(path / "x-kubernetes-validations", "", why)
        return
    if times is None:
        times = MAX_REQUEST // (self_type.min_size + 1)
    for index, rule in enumerate(declared):
        _rule(rule, self_type, path / "x-kubernetes-validations" @ index, out, costs, times, fixed, limit_each)


def _product(times: int | None, most: Any) -> int | None:
    return None if times is None or not isinstance(most, int) else times * most


def _rule(
    declared: Schema,
    self_type: cel.types.Type,
    path: Path,
    out: ErrorList,
    costs: Costs,
    times: int,
    fixed: Path | None,
    limit_each: bool,
) -> None:
    if not declared.get("rule", "").strip():
        return
    plain = {key: value for key, value in declared.items() if key != "messageExpression"}
    try:
        rule = Rule(plain, self_type)
    except cel.CompileError as error:
        out.invalid(path / "rule", declared, _said(error, "cel expression"))
        return
    cost = rule.program.estimate.max * times
    if limit_each and cost > RULE_LIMIT:
        out.forbidden(path / "rule", over("estimated rule cost", cost, RULE_LIMIT))
    costs.add(path / "rule", cost)
    if declared.get("messageExpression", "").strip():
        try:
            message = Rule(declared, self_type).message
        except cel.CompileError as error:
            out.invalid(path / "messageExpression", declared, _said(error, "messageExpression"))
        else:
            assert message is not None
            cost = message.estimate.max
            if limit_each and cost > RULE_LIMIT:
                detail = over("estimated messageExpression cost", cost, RULE_LIMIT)
                out.forbidden(path / "messageExpression", detail)
            costs.add(path / "messageExpression", cost)
    if rule.transition:
        if fixed is not None:
            detail = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {fixed}"
            out.invalid(path / "rule", declared["rule"], detail)
    elif "optionalOldSelf" in declared:
        detail = "may not be set if oldSelf is not used in rule"
        out.invalid(path / "optionalOldSelf", declared["optionalOldSelf"], detail)


def _said(error: cel.CompileError, what: str) -> str:
    if error.wrong_type:
        return (
            "messageExpression must evaluate to a string"
            if what == "messageExpression"
            else f"{what} must evaluate to a bool"
        )
    text = str(error)
    return f"messageExpression {text}" if what == "messageExpression" else text
