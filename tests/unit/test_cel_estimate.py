"""Estimates to the unit: what upstream's own tests say (kubernetes compilation_test.go, library/cost_test.go)."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api import cel

NUMBER, STRING, BOOL, DURATION, DATE, TIME, INT_OR_STRING = (
    {"type": "number"}, {"type": "string"}, {"type": "boolean"}, {"type": "string", "format": "duration"},
    {"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}, {"x-kubernetes-int-or-string": True},
)  # fmt: skip
OBJECT = {"type": "object", "required": ["required"], "properties": {"required": STRING, "optional": STRING}}
MORE_THAN_A_CRD_MAY = 10_000_000


def array(items: Any, most: int | None = None) -> Any:
    return {"type": "array", "items": items, **({} if most is None else {"maxItems": most})}


def mapping(values: Any, most: int | None = None) -> Any:
    return {"type": "object", "additionalProperties": values, **({} if most is None else {"maxProperties": most})}


def string(most: int | None = None, **more: Any) -> Any:
    return {"type": "string", **more, **({} if most is None else {"maxLength": most})}


def fields(**properties: Any) -> Any:
    return {"type": "object", "properties": properties}


ALL = "self.all(x, true)"
CASES: list[tuple[Any, str, int]] = [
    (array(NUMBER), ALL, 4718591), (array(NUMBER, 10), ALL, 32), (array(STRING), ALL, 3145727), (array(STRING, 20), ALL, 62),
    (array(BOOL), ALL, 1887437), (array(array(NUMBER)), ALL, 3145727), (array(OBJECT), ALL, 555128),
    (mapping(NUMBER), ALL, 1348169), (mapping(STRING), ALL, 1179647), (mapping(STRING, 3), ALL, 11), (mapping(BOOL), ALL, 943718),
    (array(INT_OR_STRING), ALL, 4718591), (array(DURATION), ALL, 2359295), (array(DATE), ALL, 725936), (array(TIME), ALL, 428963),
    (mapping(OBJECT), ALL, 428963), (mapping(mapping(NUMBER)), ALL, 1179647), (mapping(array(NUMBER)), ALL, 1179647),
    (mapping(DURATION), ALL, 1048577), (mapping(DATE), ALL, 524288), (mapping(TIME), ALL, 349526),
    (STRING, "self.contains('test')", 314574), (string(10), "self.contains('test')", 5), (STRING, "self.startsWith('test')", 2),
    (STRING, "size(self + 'hello') > size('hello')", 314578), (string(4), "size(self + 'hello') > size('hello')", 7),
    (array(NUMBER), "self[1] == 0.0", 2), (array(STRING), "self[1] == self[1]", 314577),
    (array(NUMBER, 10), "self.all(x, self.all(y, true))", 352),
    (array(NUMBER, 10), "self.all(x, self.all(y, self.all(z, true)))", 3552),
    (STRING, 'self.matches("x")', 314574), (string(50), 'self.matches("x")', 22), (STRING, 'self.matches("")', 1),
    (STRING, '"".matches("(((((((((())))))))))[0-9]")', 7), (string(0), "self == 'x'", 1), (STRING, "self == 'x'", 2),
    (mapping(STRING), "self.all(x, x.contains(self[x]))", 2752507), (mapping(string(10), 10), "self.all(x, x.contains(self[x]))", 72),
    (array(NUMBER), "self.all(x, x == 0.0)", 6291454), (array(NUMBER, 3 * 1024 * 2048), "self.all(x, x == 0.0)", 25165826),
    (array(mapping(OBJECT)), 'self.all(x, x["y"].required == "z")', 7340027),
    (array(mapping(OBJECT, 10), 10), 'self.all(x, x["y"].required == "z")', 72),
    (array(INT_OR_STRING), "self[0] == 5", 3), (array(BOOL), "self[0] == false", 2), (array(OBJECT), "self[0] == null", 2),
    (array(array(NUMBER)), "self[0][0] == -1.0", 3), (array(mapping(NUMBER)), "self.all(x, x.y == 25.2)", 6291452),
    (array(mapping(NUMBER)), "self[0].x > 2.0", 4), (array(DURATION), "self[0].getHours() == 2", 4),
    (STRING, "self.find('[0-9]+') == ''", 629147), (string(10), "self.find('[0-9]+') == ''", 11),
    (array(STRING), "self.join(' ') == 'aa bb'", 329853068905), (array(string(10), 10), "self.join(' ') == 'aa bb'", 43),
    (array(STRING), "self.isSorted() == true", 329854432052), (array(string(10), 10), "self.isSorted() == true", 52),
    (fields(str=STRING, before=string(2), after=string(4)), "self.str.replace(self.before, self.after) == 'does not matter'", 629154),
    (fields(str=string(4), before=string(2), after=string(4)), "self.str.replace(self.before, self.after) == 'does not matter'", 12),
    (fields(str=STRING, by=STRING), "self.str.split(self.by) == []", 629160), (string(10), "self.lowerAscii() == 'lower!'", 6),
    (mapping({"type": "integer"}), "oldSelf.size() == self.size()", 5), (mapping(TIME), 'self["a"] == self["b"]', 8),
    (string(enum=["A", "LongValue"]), "self.contains('A')", 2), (string(1000, enum=["A"]), "self.contains('A')", 401),
]  # fmt: skip

LITERALS: dict[str, tuple[int, int]] = {
    "[1, 2, 3, 4, 5].sum()": (15, 15),
    "[uint(1), uint(2), uint(3), uint(4), uint(5)].sum()": (20, 20),
    "['012345678901', '012345678901', '012345678901', '012345678901', '012345678901'].isSorted()": (5 + 10, 1 << 64),
    "'01234567890123456789012345678901234567890123456789'.indexOf('123')": (5, 5),
    "url('https:://kubernetes.io/').getHost()": (4, 4),
    "ip('192.168.0.1')": (2, 2),
    "ip('192.168.0.1').isLoopback()": (3, 3),
    "ip.isCanonical('2001:db8:3333:4444:5555:6666:7777:8888')": (8, 8),
    "cidr('192.168.0.0/16').containsCIDR(cidr('192.0.0.0/30'))": (7, 11),
    "cidr('192.168.0.0/16').containsCIDR('192.0.0.0/30')": (7, 11),
    "cidr('192.168.0.0/16').containsIP('192.169.0.1')": (5, 8),
    "cidr('2001:db8::/32').containsIP(ip('2001:db8:3333:4444:5555:6666:7777:8888'))": (7, 10),
    "'ABCDEFGHIJ abcdefghij'.lowerAscii() == 'abcdefghij ABCDEFGHIJ'.lowerAscii()": (7, 9),
    "strings.quote('ABCDEFGHIJ abcdefghij') == strings.quote('ABCDEFGHIJ abcdefghij')": (7, 11),
    "'abc 123 def 123'.replace('123', '456')": (3, 3),
    "'abc 123 def 123'.split(' ', 1)": (3, 3),
    "'abc 123 def 123'.findAll('123')": (2, 2),
    "authorizer.group('apps').resource('deployments').subresource('status').namespace('test').name('backend')"
    ".check('create').allowed()": (350007, 350007),
    "quantity('50k').add(20).sub(quantity('100k')).asInteger() > 0": (6, 6),
    "quantity('200M').compareTo(quantity('0.2G')) > 0": (4, 4),
    "sets.contains([1], [1, 1])": (23, 23),
    "!sets.equivalent([2, 1], [1])": (26, 26),
    "sets.intersects([[1], [2, 3]], [[1, 2], [2, 3]])": (65, 65),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "rule", "most"), CASES, ids=[f"{case[1]}-{case[2]}" for case in CASES])
def test_most_that_a_rule_can_cost(schema: Any, rule: str, most: int) -> None:
    type = cel.declare_schema(schema)
    assert type is not None
    program = cel.Environment({"self": type, "oldSelf": type}).compile(rule, expect=cel.types.Bool)
    assert program.estimate.max == most


@pytest.mark.parametrize("depth", [2, 3])
def test_nested_loops_over_unbounded_lists_are_too_much(depth: int) -> None:
    type = cel.declare_schema(array(NUMBER))
    assert type is not None
    rule = "".join(f"self.all(x{level}, " for level in range(depth)) + "true" + ")" * depth
    assert cel.Environment({"self": type}).compile(rule).estimate.max > MORE_THAN_A_CRD_MAY


@pytest.mark.parametrize(("source", "expected"), LITERALS.items())
def test_literals_have_their_sizes(source: str, expected: tuple[int, int]) -> None:
    authorizer = cel.types.Type("object", "kubernetes.authorization.Authorizer", fields={})
    estimate = cel.Environment({"authorizer": authorizer}).compile(source).estimate
    assert estimate.min == expected[0] and estimate.max <= expected[1]
