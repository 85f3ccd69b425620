"""Costs to the unit: what upstream's own tests of cost stability say (kubernetes celcoststability_test.go)."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api import cel

INT, NUMBER, STRING, BOOL = ({"type": kind} for kind in ("integer", "number", "string", "boolean"))
BYTES, DURATION, DATE, TIME = ({"type": "string", "format": form} for form in ("byte", "duration", "date", "date-time"))
INT_OR_STRING = {"x-kubernetes-int-or-string": True}
UNKNOWN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def array(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def vals(*schemas: Any) -> dict[str, Any]:
    return obj(**{f"val{place}": schema for place, schema in enumerate(schemas, 1)})


def values(*given: Any) -> dict[str, Any]:
    return {f"val{place}": value for place, value in enumerate(given, 1)}


def three_ways(a: str, b: str, literal: str) -> str:
    return f"{a} == {b} && {a} == {literal} && {b} == {literal}"


SET = {"x-kubernetes-list-type": "set"}
BY_K = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
KV = obj(k=STRING, v=STRING)
CASES: list[tuple[str, Any, Any, dict[str, int]]] = [
    ("integers", vals(INT, INT, INT), values(2**63 - 1, 2**63 - 1, 2**31 - 1), {
        three_ways("self.val1", "self.val2", str(2**63 - 1)): 11,
        "type(self.val1) == int": 4,
        "self.val3 + 1 == 2147483647 + 1": 5,
    }),
    ("numbers", vals(NUMBER, NUMBER, NUMBER, INT), values(1.5, 1.5, 1, 5), {
        three_ways("self.val1", "self.val2", "1.5"): 11,
        "type(self.val3) == double": 4,
        "self.val3 == 1.0": 3,
        "double(self.val4) > self.val1": 6,
        "double(5) < 10.0": 1,
        "double(self.val4) < 10.0": 4,
    }),
    ("strings", vals(STRING, STRING), values("Rook takes 👑", "Rook takes 👑"), {
        three_ways("self.val1", "self.val2", "'Rook takes 👑'"): 14,
        "self.val1.startsWith('Rook')": 4,
        "!self.val1.startsWith('knight')": 5,
        "self.val1.matches('^[^0-9]*$')": 8,
        "!self.val1.matches('^[0-9]*$')": 7,
        "size(self.val1) == 12": 4,
        "self.val1.charAt(3) == 'k'": 4,
        "self.val1.indexOf('o') == 1": 4,
        "self.val1.indexOf('o', 2) == 2": 4,
        "self.val1.replace(' ', 'x') == 'Rookxtakesx👑'": 7,
        "self.val1.replace(' ', 'x', 1) == 'Rookxtakes 👑'": 7,
        "self.val1.split(' ') == ['Rook', 'takes', '👑']": 6,
        "self.val1.split(' ', 2) == ['Rook', 'takes 👑']": 6,
        "self.val1.substring(5) == 'takes 👑'": 5,
        "self.val1.substring(4, 10).trim() == 'takes'": 6,
        "self.val1.upperAscii() == 'ROOK TAKES 👑'": 6,
    }),
    ("bytes", vals(BYTES, BYTES), values("QUI=", "QUI="), {
        "self.val1 == self.val2": 5, "self.val1 == b'AB'": 3, "size(self.val1) == 2": 4,
    }),
    ("durations", vals(DURATION, DURATION), values("1h2m3s4ms", "1h2m3s4ms"), {
        three_ways("self.val1", "self.val2", "duration('1h2m3s4ms')"): 11,
        "self.val1 == duration('1h2m') + duration('3s4ms')": 4,
        "self.val1.getHours() == 1": 4,
        "type(self.val1) == google.protobuf.Duration": 4,
    }),
    ("dates", vals(DATE), values("1997-07-16"), {
        "self.val1 == timestamp('1997-07-16T00:00:00.000Z')": 3, "self.val1.getDate() == 16": 4,
    }),
    ("times", vals(TIME), values("2011-08-18T19:03:37.010000000+01:00"), {
        "self.val1 == timestamp('2011-08-18T00:00:00.000+01:00') + duration('19h3m37s10ms')": 4,
        "self.val1.getDate('01:00') == 18": 4,
        "type(self.val1) == google.protobuf.Timestamp": 4,
        "string(self.val1) == '2011-08-18T19:03:37.01+01:00'": 6,
    }),
    ("enums", obj(e={**STRING, "enum": ["Pending", "Bound"]}), {"e": "Pending"}, {
        "self.e == 'Pending'": 3, "self.e in ['Pending', 'Available']": 2,
    }),
    ("lists", vals(array(INT), array(INT)), values([1, 2, 3], [1, 2, 3]), {
        three_ways("self.val1", "self.val2", "[1, 2, 3]"): 11,
        "1 in self.val1": 5,
        "self.val2[0] in self.val1": 8,
        "!(0 in self.val1)": 6,
        "self.val1 + self.val2 == [1, 2, 3, 1, 2, 3]": 6,
        "self.val1 + [4, 5] == [1, 2, 3, 4, 5]": 4,
    }),
    ("sets", vals(array(STRING, **SET), array(STRING, **SET)), values(["a", "b", "c"], ["a", "c", "b"]), {
        "self.val1 == ['c', 'b', 'a']": 3,
        "self.val1 == self.val2": 5,
        "self.val1 + self.val2 == ['a', 'b', 'c']": 6,
        "self.val1 + ['c', 'd'] == ['a', 'b', 'c', 'd']": 4,
    }),
    ("list maps", obj(objs=array(array(KV, **BY_K))), {"objs": [
        [{"k": "a", "v": "1"}, {"k": "b", "v": "2"}], [{"k": "b", "v": "2"}, {"k": "a", "v": "1"}],
        [{"k": "b", "v": "3"}, {"k": "a", "v": "1"}], [{"k": "c", "v": "4"}],
    ]}, {
        "self.objs[0] == self.objs[1]": 7,
        "self.objs[0] + self.objs[2] == self.objs[2]": 11,
        "self.objs[2] + self.objs[0] == self.objs[0]": 11,
        "self.objs[0] == [self.objs[0][0], self.objs[0][1]]": 22,
        "self.objs[0] == [self.objs[0][1], self.objs[0][0]]": 22,
        "self.objs[2] + [self.objs[0][0], self.objs[0][1]] == self.objs[0]": 26,
        "size(self.objs[0] + [self.objs[3][0]]) == 3": 20,
    }),
    ("maps", vals({"type": "object", "additionalProperties": INT}), values({"b": 1, "d": 2}), {
        "!('a' in self.val1)": 4,
        "'b' in self.val1": 3,
        "!has(self.val1.a)": 3,
        "has(self.val1.b)": 2,
        "self.val1.all(k, self.val1[k] > 0)": 17,
        "self.val1.exists_one(k, self.val1[k] == 2)": 14,
        "!self.val1.exists_one(k, self.val1[k] > 0)": 17,
        "size(self.val1) == 2": 4,
        "size(self.val1.filter(k, self.val1[k] > 1)) == 1": 26,
        "self.val1 == {'b': 1, 'd': 2}": 3,
    }),
    ("fields", obj(a=obj(b=INT, c=INT), a1=obj(b1=obj(c1=INT), d2=obj(e2=INT))), {"a": {"b": 1}, "a1": {"b1": {"c1": 4}}}, {
        "has(self.a.b)": 2,
        "has(self.a1.b1.c1)": 3,
        "!(has(self.a1.d2) && has(self.a1.d2.e2))": 3,
        "!has(self.a1.d2)": 3,
    }),
    ("list of objects", obj(l=array(obj(k=STRING, v=STRING, v2=STRING))), {"l": [
        {"k": "a1", "v": "b1"}, {"k": "a2", "v": "b2"}, {"k": "a3", "v": "b3", "v2": "z"},
    ]}, {
        "has(self.l[0].v)": 3,
        "self.l.all(m, m.k.startsWith('a'))": 21,
        "self.l.all(m, !has(m.v2) || m.v2 == 'z')": 21,
        "self.l.exists(m, m.k.endsWith('1'))": 13,
        "self.l.exists_one(m, m.k == 'a3')": 15,
        "!self.l.all(m, m.k.endsWith('1'))": 18,
        "!self.l.exists(m, m.v == 'x')": 25,
        "!self.l.exists_one(m, m.k.startsWith('a'))": 20,
        "size(self.l.filter(m, m.k == 'a1')) == 1": 27,
        "self.l.exists(m, m.k == 'a1' && m.v == 'b1')": 16,
        "self.l.map(m, m.v).exists(v, v == 'b1')": 55,
        "self.l.exists(m, has(m.v2) && m.v2 == 'z')": 21,
        "!self.l.all(m, has(m.v2) && m.v2 != 'z')": 10,
        "self.l.exists_one(m, has(m.v2) && m.v2 == 'z')": 12,
        "self.l.filter(m, has(m.v2) && m.v2 == 'z').size() == 1": 24,
        "self.l.map(m, has(m.v2) && m.v2 == 'z', m.v2).size() == 1": 25,
        "self.l.filter(m, has(m.v2) && m.v2 == 'z').map(m, m.v2).size() == 1": 39,
        "self.l.exists(m, m.v2 == 'z')": 24,
        "!self.l.all(m, m.v2 != 'z')": 22,
    }),
    ("list of ints", obj(a=array(INT)), {"a": [1, 1, 2, 2, 3, 3, 4, 5]}, {
        "2 in self.a": 10,
        "self.a.all(e, e > 0)": 43,
        "self.a.exists(e, e > 2)": 36,
        "self.a.exists_one(e, e > 4)": 22,
        "!self.a.all(e, e < 2)": 21,
        "!self.a.exists(e, e < 0)": 52,
        "!self.a.exists_one(e, e == 2)": 25,
        "size(self.a.filter(e, e%2 == 0)) == 3": 68,
        "self.a.map(e, e * 20).filter(e, e > 50).exists(e, e == 60)": 194,
    }),
    ("int or string", vals(INT_OR_STRING, INT_OR_STRING, INT, INT), values("50%", 1, 5, 10), {
        "type(self.val2) == int ? self.val2 == 1 : self.val2 == '25%'": 7,
        "type(self.val1) == string && self.val1 == '50%'": 7,
        "self.val1 == '50%'": 3,
        "self.val1 != 1": 3,
        "self.val1 == 1 || self.val1 == '50%'": 6,
        "self.val1 == '50%' || self.val1 == 1": 3,
        "self.val1 != ['anything']": 3,
        r"type(self.val1) == string && self.val1.matches(r'(\d+(\.\d+)?%)')": 10,
        "type(self.val1) == int ? self.val3 <= self.val1 : "
        "double(self.val3) / double(self.val4) >= double(self.val1.replace('%', '')) / 100.0": 17,
    }),
    ("unknown fields", obj(one=UNKNOWN, many=array(UNKNOWN)), {"one": {"x": 1}, "many": [{"f": "a"}, {"f": "x"}, {"f": "x"}, {}, {}]}, {
        "has(self.one)": 1,
        "self.many.size() == 5": 4,
        "self.many[0] != self.many[1]": 7,
        "self.many[1] == self.many[2]": 7,
        "self.many[3] == self.many[4]": 6,
    }),
    ("nulls", obj(a={**STRING, "nullable": True}, m={"type": "object", "additionalProperties": {**STRING, "nullable": True}}),
     {"a": None, "m": {"a": None, "b": "x"}}, {
        "!has(self.a)": 2,
        "'a' in self.m": 3,
        "type(self.m['a']) == null_type": 5,
    }),
    ("types are compared only", obj(m={"type": "object", "additionalProperties": obj(i=INT)}), {"m": {"k1": {"i": 1}, "k2": {}}}, {
        "type(self) == type(self)": 5,
        "type(self.m['k1']) == type(self.m['k2'])": 9,
    }),
    ("escaped names", obj(objs=array(array(obj(**{"k!": STRING, "k.": STRING}), **{
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k!", "k."]}))),
     {"objs": [[{"k!": "a", "k.": "1"}, {"k!": "b", "k.": "2"}], [{"k!": "b", "k.": "2"}, {"k!": "a", "k.": "1"}]]}, {
        "self.objs[0] == self.objs[1]": 7,
        "self.objs[0][0].k__dot__ == '1'": 6,
    }),
    ("resources", obj(spec=obj(f=STRING), embedded={"type": "object", "x-kubernetes-embedded-resource": True}), {
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "foo", "generateName": "pickItForMe"}, "spec": {"f": "a"},
        "embedded": {"kind": "Pod", "metadata": {"name": "foo"}},
    }, {
        "self.kind == 'Pod'": 3,
        "self.metadata.name == 'foo'": 4,
        "self.metadata.generateName == 'pickItForMe'": 5,
        "self.spec.f == 'a'": 4,
        "self.embedded.metadata.name == 'foo'": 5,
    }),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "costs"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_costs_what_upstream_says(schema: Any, value: Any, costs: dict[str, int]) -> None:
    environment = cel.Environment({"self": cel.declare_schema(schema, root=True) or cel.types.Dyn})
    for rule, cost in costs.items():
        program = environment.compile(rule, expect=cel.types.Bool)
        budget = cel.Budget(cel.RUNTIME_BUDGET)
        assert program.evaluate({"self": value}, budget) is True, rule
        assert cel.RUNTIME_BUDGET - budget.remaining == cost, rule
