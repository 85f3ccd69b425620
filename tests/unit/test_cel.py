"""CEL itself: what does not compile and why, how schemas become types, budgets, and what no expression may do."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sampan.api import cel
from sampan.api.cel import types
from sampan.api.cel.library import jsonpatch
from sampan.api.schema.nodes import Field, ListOf, MapOf, Scalar, Struct

STRING, INT = {"type": "string"}, {"type": "integer"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["replicas"],
            "properties": {
                "replicas": INT,
                "name": STRING,
                "at": {"type": "string", "format": "date-time"},
                "ratios": {"type": "array", "items": {"type": "number"}},
                "map": {"type": "object", "additionalProperties": STRING},
                "port": {"x-kubernetes-int-or-string": True},
                "a-b.c/d__e": STRING,
                "namespace": STRING,
                "1st": STRING,
                "hidden": {"x-kubernetes-preserve-unknown-fields": True},
            },
        }
    },
}


def typed(schema: dict[str, Any], root: bool = True) -> cel.types.Type:
    found = cel.declare_schema(schema, root=root)
    assert found is not None
    return found


SELF = typed(SCHEMA)
ENVIRONMENT = cel.Environment({"self": SELF, "oldSelf": SELF, "x": types.Dyn})


def evaluate(source: str, **values: Any) -> Any:
    return ENVIRONMENT.compile(source).evaluate(values)


_OPERAND = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)
WRONG = {
    "nope": "1:1: undeclared reference to 'nope' (in container '')",
    "self.spec.nope": "1:10: undefined field 'nope'",
    "self.spec.hidden": "1:10: undefined field 'hidden'",
    "has(self.spec.nope)": "1:4: undefined field 'nope'",
    "self.spec.replicas == 'a'": "1:20: found no matching overload for '_==_' applied to '(int, string)'",
    "self.spec.replicas.contains('a')": "1:28: found no matching overload for 'contains' applied to 'int.(string)'",
    "self.spec.nope()": "1:15: undeclared reference to 'nope' (in container '')",
    "self.spec.name.x": "1:15: type 'string' does not support field selection",
    "self.spec.replicas.all(i, true)":
        "1:10: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
    "[1].all(i, i)": "1:12: expected type 'bool' but found 'int'",
    "self.spec.replicas && true": "1:10: expected type 'bool' but found 'int'",
    "[1, 'a']": "1:5: expected type 'int' but found 'string'",
    "[1].all(1, true)": "1:9: argument must be a simple name",
    "[1].map(a.b, 1)": "1:10: argument is not an identifier",
    "has(self)": "1:5: invalid argument to has() macro",
    "duration('1y') > duration('1s')": "1:10: invalid duration argument",
    "timestamp('x') > timestamp(0)": "1:11: invalid timestamp argument",
    "'a'.matches('(')": "1:13: invalid matches argument",
    "'%s'.format(['a', 'b'])": "1:12: too many arguments supplied to string.format (expected 1, got 2)",
    "9223372036854775808": "1:1: invalid int literal",
    "for": "1:1: reserved identifier: for",
    "Nope{a: 1}": "1:5: undeclared reference to 'Nope' (in container '')",
    "1 +": f"1:4: Syntax error: mismatched input '<EOF>' expecting {_OPERAND}",
    "(1": "1:3: Syntax error: missing ')' at '<EOF>'",
    "a b": "1:3: Syntax error: extraneous input 'b' expecting <EOF>",
    "1 2 3": "1:3: Syntax error: mismatched input '2' expecting <EOF>",
    "x ? 1": "1:6: Syntax error: mismatched input '<EOF>' expecting ':'",
    "x.": "1:3: Syntax error: no viable alternative at input '.'",
}  # fmt: skip


@pytest.mark.parametrize(("source", "message"), WRONG.items())
def test_says_what_is_wrong_and_where(source: str, message: str) -> None:
    with pytest.raises(cel.CompileError) as error:
        ENVIRONMENT.compile(source)
    assert f"ERROR: <input>:{message}\n | {source}" in str(error.value)


def test_message_is_upstreams_to_the_letter() -> None:
    with pytest.raises(cel.CompileError) as error:
        ENVIRONMENT.compile("self.spec.a ||\n\tnope == 1")
    assert str(error.value) == (
        "compilation failed: ERROR: <input>:1:10: undefined field 'a'\n | self.spec.a ||\n | .........^\n"
        "ERROR: <input>:2:2: undeclared reference to 'nope' (in container '')\n |  nope == 1\n | .^"
    )


def test_wrong_type_of_result_is_told_apart() -> None:
    with pytest.raises(cel.CompileError) as error:
        ENVIRONMENT.compile("1 + 1", expect=types.Bool)
    assert error.value.wrong_type and str(error.value) == "must evaluate to bool but got int"
    with pytest.raises(cel.CompileError) as error:
        ENVIRONMENT.compile("1 + 1", expect=[types.String, types.Null])
    assert str(error.value) == "must evaluate to one of [string null_type] but got int"


def test_values_are_what_the_schema_declares() -> None:
    spec = {
        "replicas": 3, "at": "2020-01-01T00:00:00+01:00", "ratios": [1, 2.5], "port": "http", "a-b.c/d__e": "x",
        "namespace": "n", "map": {"k": "v"}, "name": None,
    }  # fmt: skip
    for rule in (
        "self.spec.at < timestamp('2020-01-01T00:00:00Z')",
        "self.spec.ratios.all(r, type(r) == double) && self.spec.ratios.sum() == 3.5",
        "type(self.spec.port) == string && self.spec.port != 80",
        "self.spec.a__dash__b__dot__c__slash__d__underscores__e == 'x' && self.spec.__namespace__ == 'n'",
        "!has(self.spec.name) && has(self.spec.map) && 'k' in self.spec.map && !has(self.spec.map.z)",
        "!has(self.metadata) || self.metadata.name != ''",
        "dyn(self).spec.at == timestamp('2019-12-31T23:00:00Z') && dyn(self.spec).ratios == [1.0, 2.5]",
        "self.spec.?name.orValue('none') == 'none' && self.spec.?at.optMap(t, t.getFullYear()) == optional.of(2019)",
        "self == self && self.spec.ratios + [1.0] == [1.0, 2.5, 1.0]",
    ):
        assert evaluate(rule, self={"spec": spec}) is True, rule
    with pytest.raises(cel.EvaluationError, match="no such key: name"):
        evaluate("self.spec.name == ''", self={"spec": spec})


def test_schemas_that_no_rule_can_see() -> None:
    assert cel.declare_schema({"x-kubernetes-preserve-unknown-fields": True}) is None
    assert cel.declare_schema({"type": "array", "items": {}}) is None
    assert "1st" not in str((SELF.fields or {})["spec"].type.fields)


def test_a_leaf_may_be_self() -> None:
    at = typed({"type": "string", "format": "date-time"}, root=False)
    assert (
        cel.Environment({"self": at}).compile("self.getFullYear() == 2020").evaluate({"self": "2020-05-05T00:00:00Z"})
        is True
    )


def test_built_in_kinds_refer_to_themselves() -> None:
    node = Struct("v1", "Node")
    node.fields.update(
        name=Field("name", Scalar("s")),
        at=Field("at", Scalar("t")),
        cpu=Field("cpu", Scalar("q")),
        port=Field("port", Scalar("x")),
        children=Field("children", ListOf(node, "map", ("name",))),
        data=Field("data", MapOf(Scalar("B"))),
    )
    environment = cel.Environment({"object": cel.declare_struct(node)})
    a, b = {"name": "a", "at": "2020-01-01T00:00:00Z"}, {"name": "b", "data": {"k": "QQ=="}}
    for rule in (
        "object.children[0].at == timestamp('2020-01-01T00:00:00Z') && quantity(object.cpu).asInteger() == 2",
        "object.children.exists(c, has(c.data) && c.data['k'] == b'A') && object.port == 80",
        "object.children == [object.children[1], object.children[0]]",
    ):
        value = {"children": [a, b], "cpu": "2", "port": 80}
        assert environment.compile(rule, expect=types.Bool).evaluate({"object": value}) is True, rule


def test_uses_tells_transition_rules() -> None:
    program = ENVIRONMENT.compile("self.spec.replicas >= oldSelf.spec.replicas")
    assert program.uses("oldSelf") and program.uses("self") and not program.uses("x")
    # a loop's variable of the same name is another one
    assert not ENVIRONMENT.compile("[1].all(oldSelf, oldSelf == 1)").uses("oldSelf")


def test_variables_may_be_missing_and_lazy() -> None:
    asked: list[str] = []

    class Lazy(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            asked.append(name)
            return 1

    environment = ENVIRONMENT.extend({"variables": types.ObjectType("v", {"a": types.DeclField("a", types.Int)})})
    assert environment.compile("variables.a + 1").evaluate({"variables": Lazy()}) == 2
    assert environment.compile("false && variables.a == 1").evaluate({"variables": Lazy()}) is False
    assert asked == ["a"]
    with pytest.raises(cel.EvaluationError, match=r"no such attribute\(s\): oldSelf"):
        evaluate("oldSelf.spec.replicas == 1", self={})


def test_own_functions_and_mutations() -> None:
    functions = cel.Library()
    functions.member("shout", "string_shout", "string -> string", str.upper)
    environment = ENVIRONMENT.extend({}, functions=functions)
    assert environment.compile("'a'.shout()").evaluate({}) == "A"
    mutating = ENVIRONMENT.extend({}, functions=jsonpatch.jsonpatch, names=jsonpatch.NAMES)
    program = mutating.compile("Object{spec: Object.spec{replicas: 3, ?name: optional.none()}}")
    assert str(program.type) == "Object" and program.evaluate({}) == {"spec": {"replicas": 3}}
    program = mutating.compile("[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('k/v~'), value: {'x': [1]}}]")
    assert str(program.type) == "list(JSONPatch)"
    assert program.evaluate({}) == [{"op": "add", "path": "/a/k~1v~0", "value": {"x": [1]}}]
    with pytest.raises(cel.CompileError, match="expected type of field 'op' is 'string' but provided type is 'int'"):
        mutating.compile("JSONPatch{op: 1}")


MUTATING = ENVIRONMENT.extend({}, functions=jsonpatch.jsonpatch, names=jsonpatch.NAMES)


def test_objects_know_what_they_were_made_of() -> None:
    """A type is named by the place of its objects; that they stand there is seen when they are made."""
    wrong = "Object{spec: Object.specx{a: [Object.specx.a{}], b: {'k': Object.spec.b{}}}}"
    found = list(jsonpatch.mismatches(MUTATING.compile(wrong).evaluate({}), "Object"))
    assert found == [
        f'unexpected type name "{name}", expected "{place}", which matches field name path from root Object type'
        for name, place in (("Object.specx", "Object.spec"), ("Object.specx.a", "Object.spec.a"))
    ]
    right = MUTATING.compile("Object{spec: Object.spec{a: [Object.spec.a{n: 1.0}], b: {'k': Object.spec.b{}}}}")
    made = right.evaluate({})
    assert list(jsonpatch.mismatches(made, "Object")) == []
    plain = jsonpatch.plain(made)
    assert plain == {"spec": {"a": [{"n": 1}], "b": {"k": {}}}} and type(plain["spec"]) is dict
    assert type(plain["spec"]["a"][0]["n"]) is int
    for source, expected in {
        "Object{} == Object{}": True,
        "Object{a: 1} == Object{a: true}": False,
        "dyn(Object.a{}) == dyn(Object.b{})": False,
        "dyn(Object.a{}) == dyn({})": False,
        "has(Object{}.field) || has(JSONPatch{}.op)": False,
        "Object{field: 'x'}.field == 'x' && has(Object{field: 1}.field)": True,
        "type(Object.spec{}) == type(Object.spec{a: 1})": True,
        "JSONPatch{op: 'a', value: 1} == JSONPatch{op: 'a', value: '1'}": False,
        "string(JSONPatch{value: 'v'}.value) == 'v'": True,
    }.items():
        assert MUTATING.compile(source).evaluate({}) is expected, source


@pytest.mark.parametrize(
    ("source", "type"),
    [
        ("true ? [JSONPatch{}] : []", "list(JSONPatch)"),
        ("true ? [] : [JSONPatch{}]", "list(JSONPatch)"),
        ("['a'] + []", "list(string)"),
        ("true ? {'a': 1} : {}", "map(string, int)"),
        ("true ? optional.of(1) : optional.none()", "optional_type(int)"),
        ("true ? Object{} : null", "Object"),
        ("[]", "list(dyn)"),
        ("true ? ['a'] : dyn([])", "dyn"),
    ],
)
def test_what_is_empty_takes_the_type_of_what_it_stands_beside(source: str, type: str) -> None:
    assert str(MUTATING.compile(source).type) == type


def test_results_as_json() -> None:
    for source, expected in {
        "duration('90s')": "90s",
        "timestamp('2020-01-01T00:00:00Z')": "2020-01-01T00:00:00Z",
        "b'A'": "QQ==",
        "{1: 'a', 2: 'b'}": {"1": "a", "2": "b"},
        "{true: 1u}": {"true": 1},
        "optional.of(1)": 1,
        "1.0 / 0.0": "Infinity",
    }.items():
        assert cel.to_json(evaluate(source)) == expected, source
    with pytest.raises(cel.EvaluationError, match=r"unsupported conversion from 'kubernetes\.Quantity' to JSON"):
        cel.to_json(evaluate("quantity('1')"))


def test_budget_is_shared_and_runs_out() -> None:
    program = ENVIRONMENT.compile("[1, 2, 3].all(i, i > 0)")
    budget = cel.Budget(40)
    program.evaluate({}, budget)
    assert budget.remaining == 40 - (3 * (2 + 1 + 2) + 1)
    program.evaluate({}, budget)
    with pytest.raises(cel.BudgetExceeded) as error:
        program.evaluate({}, budget)
    assert error.value.whole_budget and str(error.value) == "operation cancelled: actual cost limit exceeded"


LIST = list(range(20_000))
BOMBS = (
    "l.all(a, l.all(b, l.all(c, true)))",
    "l.map(a, l.map(b, a * b)).size() > 0",
    "l.transformMap(i, v, l.transformMap(j, w, w)).size() > 0",
    "l.all(a, (l + l).size() > 0)",
    "l.all(a, a in l)",
    "l.all(a, l.sort().size() > 0)",
    "l.all(a, s.matches('(a*)*c') || true)",
    "s.replace('', s).size() > 0",
    "l.map(a, s).join(s).size() > 0",
    "[[1]]" + ".map(x, x + x)" * 60 + ".size() > 0",
    "[1]" + ".map(x, [x, x])" * 40 + " == [1]" + ".map(x, [x, x])" * 40,
    "lists.range(1000000000).size() > 0",
)


@pytest.mark.parametrize("source", BOMBS)
def test_bombs_are_stopped(source: str) -> None:
    environment = cel.Environment({"l": types.ListType(types.Int), "s": types.String})
    program = environment.compile(source)
    started = time.process_time()
    with pytest.raises(cel.BudgetExceeded):
        program.evaluate({"l": LIST, "s": "ab" * 20_000}, cel.Budget())
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "source",
    ["(" * 5000, "(" * 300 + "1" + ")" * 300, "[" * 300 + "]" * 300, "1" + "+1" * 300, "a" * 100_001, "x" + ".a" * 300,
     "true ? 1 : " * 300 + "1", "size(" * 300 + "[]" + ")" * 300, "1" * 50_000, "'" + "\\" * 50_000, "\x00" * 50_000],
    ids=["open", "parentheses", "lists", "plus", "long", "selections", "choices", "calls", "digits", "escapes", "zeros"],
)  # fmt: skip
def test_monstrous_sources_do_not_compile(source: str) -> None:
    with pytest.raises(cel.CompileError):
        ENVIRONMENT.compile(source)


def test_long_chains_compile() -> None:
    assert evaluate("true" + " && true" * 2000) is True
    assert evaluate("false" + " || 1 / 0 == 1" * 200 + " || true") is True
    assert evaluate("[" + "1," * 2000 + "]") == [1] * 2000
    assert evaluate("!" * 5000 + "true") is True and evaluate("-" * 4999 + "1") == -1
