"""Server-side apply and field ownership, on small types: the cases that structured-merge-diff tests, told as tables.

A step is `(manager, object)` for an apply, `(manager, object, "force")`, `(manager, object, "update")`, or an apply that
conflicts with `{manager: paths}`. Owned fields are written as paths.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.errors import StatusError
from sampan.api.schema import facts
from sampan.api.schema.nodes import DEDUCED, Field, ListOf, MapOf, Node, Scalar, Struct
from sampan.apiserver.patch import apply as server_side
from sampan.apiserver.patch import managed, typed
from sampan.apiserver.patch.fieldset import Changes, FieldSet, everything, of, paths, reconcile

Json = dict[str, Any]
TIME, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z"


def struct(name: str, /, **fields: Node | Field) -> Struct:
    made = {key: node if isinstance(node, Field) else Field(key, node) for key, node in fields.items()}
    return Struct("test", name, made)


TEXT, NUMBER, FLAG = Scalar("s"), Scalar("l"), Scalar("b")
SET = ListOf(TEXT, "set")
MAP = MapOf(TEXT)
RECURSIVE = DEDUCED


def listed(value: Node) -> ListOf:
    return ListOf(struct("Item", name=TEXT, value=value, other=NUMBER), "map", ("name",))


PORT = struct("Port", port=NUMBER, protocol=Field("protocol", TEXT, default="TCP"), name=TEXT)
ROOT = struct(
    "Root", apiVersion=TEXT, kind=TEXT, metadata=facts.struct("meta", "ObjectMeta"), string=TEXT, number=NUMBER, bool=FLAG,
    set=SET, numbers=ListOf(NUMBER, "set"), list=listed(NUMBER), listOfLists=listed(SET), listOfMaps=listed(MAP),
    mapOfLists=MapOf(SET), mapOfMaps=MapOf(MAP), map=MAP, struct=struct("Inner", name=TEXT, value=NUMBER),
    atomicStruct=Field("atomicStruct", struct("Atomic", name=TEXT, value=NUMBER), atomic=True),
    atomicList=ListOf(TEXT), atomicMap=MapOf(TEXT, atomic=True), ports=ListOf(PORT, "map", ("port", "protocol")),
    any=DEDUCED,
)  # fmt: skip


# as a custom resource's
ROOT.reader = lambda value, path, strict: value


class World:
    """One object, and everybody who writes it."""

    def __init__(self, node: Struct = ROOT) -> None:
        self.node = node
        self.live: Json | None = None
        self.time = TIME

    def whole(self, obj: Json, version: str = "v1") -> Json:
        return {"apiVersion": version, "kind": "Root", **obj, "metadata": {"name": "x", **(obj.get("metadata") or {})}}

    def apply(self, manager: str, obj: Json, force: bool = False) -> None:
        made, entries = server_side.apply(
            self.node, self.live, self.whole(obj), manager=manager, api_version="v1", subresource="", time=self.time,
            force=force, reset_fields=(),
        )  # fmt: skip
        self.live = {**made, "metadata": {**made["metadata"], "managedFields": entries}}

    def update(self, manager: str, obj: Json) -> None:
        new = self.whole(obj)
        entries = managed.update_managed_fields(
            self.node,
            self.live,
            new,
            manager=manager,
            api_version="v1",
            subresource="",
            time=self.time,
            reset_fields=(),
        )
        self.live = {**new, "metadata": {**new["metadata"], "managedFields": entries}}

    def step(self, manager: str, text: str, how: Any = "apply") -> None:
        obj = yaml.safe_load(text) or {}
        if how == "update":
            self.update(manager, obj)
        elif isinstance(how, dict):
            with pytest.raises(StatusError) as caught:
                self.apply(manager, obj)
            assert caught.value.code == 409
            found: dict[str, list[str]] = {}
            for cause in caught.value.status["details"]["causes"]:
                found.setdefault(cause["message"].split('"')[1], []).append(cause["field"])
            assert found == how
        else:
            self.apply(manager, obj, how == "force")

    @property
    def owners(self) -> dict[str, list[str]]:
        assert self.live is not None
        return {entry["manager"]: sorted(paths(entry["fieldsV1"])) for entry in self.live["metadata"]["managedFields"]}

    @property
    def content(self) -> Json:
        assert self.live is not None
        return {key: value for key, value in self.live.items() if key not in ("apiVersion", "kind", "metadata")}


U, F = "update", "force"
CASES: dict[str, tuple[list[tuple[Any, ...]], str, dict[str, list[str]]]] = {
    # several appliers
    "one of two items is no longer applied": (
        [("one", "list: [{name: a}, {name: b}]"), ("two", "list: [{name: c}]"), ("one", "list: [{name: a}]")],
        "list: [{name: a}, {name: c}]",
        {"one": ['.list[name="a"]', '.list[name="a"].name'], "two": ['.list[name="c"]', '.list[name="c"].name']},
    ),
    "the same value is no conflict": (
        [("one", "list: [{name: a, value: 0}]"), ("two", "list: [{name: a, value: 0}]")],
        "list: [{name: a, value: 0}]",
        {
            who: ['.list[name="a"]', '.list[name="a"].name', '.list[name="a"].value'] for who in ("one", "two")
        },
    ),
    "another value is": (
        [("one", "list: [{name: a, value: 0}]"), ("two", "list: [{name: a, value: 1}]", {"one": ['.list[name="a"].value']})],
        "list: [{name: a, value: 0}]",
        {"one": ['.list[name="a"]', '.list[name="a"].name', '.list[name="a"].value']},
    ),
    "what both apply stays when one ceases": (
        [
            ("one", "list: [{name: a}, {name: b}, {name: c}]"), ("two", "list: [{name: c}, {name: d}]"),
            ("one", "list: [{name: a}]"),
        ],
        "list: [{name: a}, {name: c}, {name: d}]",
        {
            "one": ['.list[name="a"]', '.list[name="a"].name'],
            "two": ['.list[name="c"]', '.list[name="c"].name', '.list[name="d"]', '.list[name="d"].name'],
        },
    ),
    "a scalar of its only owner is unset": (
        [("one", "struct: {name: a, value: 1}"), ("one", "struct: {name: a}")],
        "struct: {name: a}",
        {"one": [".struct.name"]},
    ),
    "a scalar that an updater owns too stays": (
        [("up", "struct: {name: a, value: 1}", U), ("one", "struct: {name: a, value: 1}"), ("one", "struct: {name: a}")],
        "struct: {name: a, value: 1}",
        {"up": [".struct", ".struct.name", ".struct.value"], "one": [".struct.name"]},
    ),
    "an updater takes a field": (
        [("one", "struct: {name: a, value: 1}"), ("up", "struct: {name: a, value: 2}", U)],
        "struct: {name: a, value: 2}",
        {"one": [".struct.name"], "up": [".struct.value"]},
    ),
    "an item with items of two owners": (
        [
            ("one", "listOfLists: [{name: a}, {name: b, value: [c]}]"), ("two", "listOfLists: [{name: b, value: [d]}]"),
            ("one", "listOfLists: [{name: a}]"),
        ],
        "listOfLists: [{name: a}, {name: b, value: [d]}]",
        {
            "one": ['.listOfLists[name="a"]', '.listOfLists[name="a"].name'],
            "two": ['.listOfLists[name="b"]', '.listOfLists[name="b"].name', '.listOfLists[name="b"].value[="d"]'],
        },
    ),
    "a dangling item within an item that goes": (
        [
            ("one", "listOfLists: [{name: a}, {name: b, value: [c]}]"), ("two", "listOfLists: [{name: a, value: [b]}]"),
            ("up", "listOfLists: [{name: a, value: [b]}, {name: b, value: [c, d]}]", U), ("one", "listOfLists: [{name: a}]"),
        ],
        "listOfLists: [{name: a, value: [b]}]",
        {
            "one": ['.listOfLists[name="a"]', '.listOfLists[name="a"].name'],
            "two": ['.listOfLists[name="a"]', '.listOfLists[name="a"].name', '.listOfLists[name="a"].value[="b"]'],
        },
    ),
    # nested types
    "a set in an item changes": (
        [("one", "listOfLists: [{name: a, value: [b, c]}]"), ("one", "listOfLists: [{name: a, value: [a, c]}]")],
        "listOfLists: [{name: a, value: [a, c]}]",
        {"one": [
            '.listOfLists[name="a"]', '.listOfLists[name="a"].name', '.listOfLists[name="a"].value[="a"]',
            '.listOfLists[name="a"].value[="c"]',
        ]},
    ),
    "the key of an item changes": (
        [("one", "listOfMaps: [{name: a, value: {b: x}}]"), ("one", "listOfMaps: [{name: b, value: {a: x}}]")],
        "listOfMaps: [{name: b, value: {a: x}}]",
        {"one": ['.listOfMaps[name="b"]', '.listOfMaps[name="b"].name', '.listOfMaps[name="b"].value.a']},
    ),
    "keys of maps are owned": (
        [("one", "mapOfLists: {a: [b, c]}"), ("one", "mapOfLists: {a: [a, c]}")],
        "mapOfLists: {a: [a, c]}",
        {"one": [".mapOfLists.a", '.mapOfLists.a[="a"]', '.mapOfLists.a[="c"]']},
    ),
    "another key of a map": (
        [("one", "mapOfMaps: {a: {b: x}}"), ("one", "mapOfMaps: {b: {a: x}}")],
        "mapOfMaps: {b: {a: x}}",
        {"one": [".mapOfMaps.b", ".mapOfMaps.b.a"]},
    ),
    "everything goes": ([("one", "struct: {name: a, value: 1}"), ("one", "")], "", {}),
    "what a controller set in a struct stays": (
        [("one", "struct: {name: a}"), ("up", "struct: {name: a, value: 1}", U), ("one", "")],
        "struct: {value: 1}",
        {"up": [".struct.value"]},
    ),
    "an empty struct does not empty it": (
        [("one", "struct: {name: a}"), ("up", "struct: {name: a, value: 1}", U), ("one", "struct: {}")],
        "struct: {value: 1}",
        {"one": [".struct"], "up": [".struct.value"]},
    ),
    "neither does null": (
        [("one", "struct: {name: a}"), ("up", "struct: {name: a, value: 1}", U), ("one", "struct: null")],
        "struct: {value: 1}",
        {"one": [".struct"], "up": [".struct.value"]},
    ),
    "what a controller took over stays": (
        [("one", "struct: {name: a}"), ("up", "struct: {name: b, value: 1}", U), ("one", "struct: null")],
        "struct: {name: b, value: 1}",
        {"one": [".struct"], "up": [".struct.name", ".struct.value"]},
    ),
    # leaves
    "a leaf is taken by force, and given up": (
        [("one", "string: a"), ("two", "string: b", {"one": [".string"]}), ("two", "string: b", F), ("two", "number: 1")],
        "number: 1",
        {"two": [".number"]},
    ),
    "a removed leaf is nobody's": (
        [("one", "{string: a, number: 1}"), ("up", "number: 1", U)], "number: 1", {"one": [".number"]},
    ),
    "an empty list is not owned": ([("one", "{set: [], string: a}")], "{set: [], string: a}", {"one": [".string"]}),
    # sets
    "sets are merged": (
        [("one", "set: [a, c]"), ("two", "set: [b, d]"), ("one", "set: [a, c, e]")],
        "set: [a, c, b, d, e]",
        {"one": ['.set[="a"]', '.set[="c"]', '.set[="e"]'], "two": ['.set[="b"]', '.set[="d"]']},
    ),
    "an updater's order is kept": (
        [("up", "set: [c, b, a]", U), ("one", "set: [d]")],
        "set: [c, b, a, d]",
        {"up": [".set", '.set[="a"]', '.set[="b"]', '.set[="c"]'], "one": ['.set[="d"]']},
    ),
    "the applier's order is taken": (
        [("one", "set: [a, b, c]"), ("one", "set: [c, b, a]")],
        "set: [c, b, a]",
        {"one": ['.set[="a"]', '.set[="b"]', '.set[="c"]']},
    ),
    # atomic
    "an atomic list is one field": (
        [("one", "atomicList: [a]"), ("two", "atomicList: [a, b]", {"one": [".atomicList"]}), ("two", "atomicList: [a]")],
        "atomicList: [a]",
        {"one": [".atomicList"], "two": [".atomicList"]},
    ),
    "atomic maps and structs are replaced": (
        [("one", "{atomicMap: {a: x}, atomicStruct: {name: a}}"), ("one", "{atomicMap: {b: y}, atomicStruct: {value: 1}}")],
        "{atomicMap: {b: y}, atomicStruct: {value: 1}}",
        {"one": [".atomicMap", ".atomicStruct"]},
    ),
    # keys with defaults
    "a key left out has its default": (
        [("one", "ports: [{port: 80}]"), ("one", "ports: [{port: 80, protocol: TCP, name: a}]")],
        "ports: [{port: 80, protocol: TCP, name: a}]",
        {"one": [
            '.ports[port=80,protocol="TCP"]', '.ports[port=80,protocol="TCP"].name', '.ports[port=80,protocol="TCP"].port',
            '.ports[port=80,protocol="TCP"].protocol',
        ]},
    ),
    "two protocols are two items": (
        [("one", "ports: [{port: 80}, {port: 80, protocol: UDP}]"), ("one", "ports: [{port: 80, protocol: UDP}]")],
        "ports: [{port: 80, protocol: UDP}]",
        {"one": [
            '.ports[port=80,protocol="UDP"]', '.ports[port=80,protocol="UDP"].port',
            '.ports[port=80,protocol="UDP"].protocol',
        ]},
    ),
    # what is there twice
    "duplicates are owned once": (
        [("up", "numbers: [1, 1, 3]", U)], "numbers: [1, 1, 3]", {"up": [".numbers", ".numbers[=1]", ".numbers[=3]"]},
    ),
    "a duplicate is added": (
        [("up", "numbers: [1, 3]", U), ("other", "numbers: [1, 1, 3]", U)],
        "numbers: [1, 1, 3]",
        {"up": [".numbers", ".numbers[=3]"], "other": [".numbers[=1]"]},
    ),
    "a duplicate is removed": (
        [("up", "numbers: [1, 1, 3]", U), ("other", "numbers: [1, 3]", U)],
        "numbers: [1, 3]",
        {"up": [".numbers", ".numbers[=3]"], "other": [".numbers[=1]"]},
    ),
    "applying one of a duplicate": (
        [("up", "numbers: [1, 1, 3, 4]", U), ("one", "numbers: [1]", {"up": [".numbers[=1]"]}), ("one", "numbers: [1]", F)],
        "numbers: [1, 3, 4]",
        {"up": [".numbers", ".numbers[=3]", ".numbers[=4]"], "one": [".numbers[=1]"]},
    ),
    "duplicates nobody applies stay": (
        [("up", "numbers: [1, 1, 3, 4]", U), ("one", "numbers: [5]")],
        "numbers: [1, 1, 3, 4, 5]",
        {"up": [".numbers", ".numbers[=1]", ".numbers[=3]", ".numbers[=4]"], "one": [".numbers[=5]"]},
    ),
    "a duplicated item is replaced whole": (
        [
            ("up", "list: [{name: a, value: 1}, {name: a, value: 2}, {name: b, value: 3}]", U),
            ("one", "list: [{name: a, value: 3}]", {"up": ['.list[name="a"]']}), ("one", "list: [{name: a, value: 3}]", F),
        ],
        "list: [{name: a, value: 3}, {name: b, value: 3}]",
        {
            "up": [".list", '.list[name="b"]', '.list[name="b"].name', '.list[name="b"].value'],
            "one": ['.list[name="a"]', '.list[name="a"].name', '.list[name="a"].value'],
        },
    ),
    "one beside a duplicated item": (
        [
            ("up", "list: [{name: a, value: 1}, {name: a, value: 2}, {name: b, value: 3}]", U),
            ("one", "list: [{name: b, value: 4}]", F),
        ],
        "list: [{name: a, value: 1}, {name: a, value: 2}, {name: b, value: 4}]",
        {
            "up": [".list", '.list[name="a"]', '.list[name="b"]', '.list[name="b"].name'],
            "one": ['.list[name="b"]', '.list[name="b"].name', '.list[name="b"].value'],
        },
    ),
    "applied, then duplicated by another": (
        [
            ("one", "list: [{name: a, value: 1}, {name: b, value: 3}]"),
            ("up", "list: [{name: a, value: 1}, {name: a, value: 2}, {name: b, value: 3}]", U),
            ("one", "list: [{name: b, value: 3}]"),
        ],
        "list: [{name: a, value: 1}, {name: a, value: 2}, {name: b, value: 3}]",
        {
            "up": ['.list[name="a"]'],
            "one": ['.list[name="b"]', '.list[name="b"].name', '.list[name="b"].value'],
        },
    ),
    # without a schema
    "objects without a schema are owned field by field": (
        [("one", "any: {a: {b: 1, c: [1]}}"), ("two", "any: {a: {d: 1}}"), ("one", "any: {a: {c: [1]}}")],
        "any: {a: {c: [1], d: 1}}",
        {"one": [".any.a", ".any.a.c"], "two": [".any.a", ".any.a.d"]},
    ),
    "a scalar becomes an object": (
        [("one", "any: {a: 1}"), ("up", "any: {a: {b: 1}}", U)],
        "any: {a: {b: 1}}",
        {"up": [".any.a", ".any.a.b"]},
    ),
    "an object becomes a scalar": (
        [("one", "any: {a: {b: 1}}"), ("up", "any: {a: 1}", U)],
        "any: {a: 1}",
        {"up": [".any.a"]},
    ),
    # before anything was applied
    "what was there before the first apply": (
        [("up", "string: a", U), ("", "string: a", "clear"), ("one", "{string: a, number: 1}")],
        "{string: a, number: 1}",
        {"before-first-apply": [".string"], "one": [".number", ".string"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_cases(case: str) -> None:
    steps, content, owners = CASES[case]
    world = World()
    for step in steps:
        if step[-1] == "clear":
            assert world.live is not None
            del world.live["metadata"]["managedFields"]
        else:
            world.step(*step)
    made = {key: value for key, value in world.content.items() if value is not None}
    assert made == (yaml.safe_load(content) or {})
    assert world.owners == {who: sorted(owned) for who, owned in owners.items()}


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ("ab", "c", "abc"), ("abc", "db", "adbc"), ("abc", "cb", "acb"), ("abcd", "dxb", "acdxb"), ("", "ba", "ba"),
        ("ab", "ab", "ab"), ("abc", "xa", "xabc"), ("abcde", "ebx", "acdebx"),
    ],
)  # fmt: skip
def test_order_of_merged_lists(old: str, new: str, merged: str) -> None:
    assert "".join(typed.merge(list(old), list(new), SET)) == merged


def test_conflicts_of_several_are_listed() -> None:
    world = World()
    world.step("one", "{string: a, struct: {name: a}}")
    world.step("two", "{number: 1}", "update")
    world.live = {**(world.live or {}), "string": "a", "struct": {"name": "a"}}
    world = World()
    world.step("one", "{string: a, struct: {name: a}}")
    world.step("two", "{string: a, struct: {name: a}, number: 1}", "update")
    with pytest.raises(StatusError) as caught:
        world.apply("three", {"string": "b", "struct": {"name": "b"}, "number": 2})
    assert caught.value.message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .string\n- .struct.name\n'
        'conflicts with "two" using v1:\n- .number'
    )


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        ("nope: 1", ".nope: field not declared in schema"),
        ("{nope: 1, struct: {nope: 1}}", "errors:\n  .nope: field not declared in schema\n  .struct.nope: field not declared in schema"),
        ("number: a", ".number: expected numeric (int or float), got string"),
        ("string: 1", ".string: expected string, got &value.valueUnstructured{Value:1}"),
        ("bool: x", ".bool: expected boolean, got &{x}"),
        ("list: {a: 1}", ".list: expected list, got &{map[a:1]}"),
        ("struct: [1]", ".struct: expected map, got &{[1]}"),
        ("list: [{name: a}, {name: a}]", '.list: duplicate entries for key [name="a"]'),
        ("set: [a, a]", '.set: duplicate entries for key [="a"]'),
        ("list: [{value: 1}]", '.list: element 0: associative list with keys has an element that omits key field "name" (and doesn\'t have default value)'),
        ("list: [a]", ".list: element 0: associative list with keys may not have non-map elements"),
        ("set: [{a: b}]", ".set: element 0: associative list without keys has an element that's a map type"),
        ("set: [null]", ".set: element 0: associative list without keys has an element that's an explicit null"),
        ("list: [{name: a, value: x}]", '.list[name="a"].value: expected numeric (int or float), got string'),
        ("atomicList: [a, 1]", ".atomicList[1]: expected string, got &value.valueUnstructured{Value:1}"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_schema(obj: str, said: str) -> None:
    with pytest.raises(StatusError) as caught:
        World().step("one", obj)
    assert (caught.value.code, caught.value.reason) == (500, "")
    assert caught.value.message == f"failed to create typed patch object (/x; /v1, Kind=Root): {said}"


def test_schema_changes_are_followed() -> None:
    inner = struct("Inner", name=TEXT, value=NUMBER)
    granular = struct("Root", struct=inner, list=listed(NUMBER))
    atomic = struct("Root", struct=Field("struct", inner, atomic=True), list=ListOf(TEXT))
    value = {"struct": {"name": "a", "value": 1}, "list": [{"name": "a"}]}
    parts = of(value, granular)
    assert reconcile(parts, value, atomic) == {"f:struct": {}, "f:list": {}}
    assert reconcile({"f:struct": {}, "f:list": {}}, value, granular) == {
        "f:struct": {".": {}, "f:name": {}, "f:value": {}},
        "f:list": {".": {}, 'k:{"name":"a"}': {".": {}, "f:name": {}}},
    }
    assert reconcile(parts, value, granular) == parts


def test_times_and_order_of_entries() -> None:
    world = World()
    world.step("up", "number: 1", "update")
    world.time = LATER
    world.step("b", "string: a")
    world.step("a", "string: a")
    world.step("up", "{number: 2, string: a}", "update")
    assert world.live is not None
    entries = world.live["metadata"]["managedFields"]
    assert [(e["manager"], e["operation"], e["time"]) for e in entries] == [
        ("a", "Apply", LATER), ("b", "Apply", LATER), ("up", "Update", LATER),
    ]  # fmt: skip
    world.time = "2027-01-01T00:00:00Z"
    world.step("other", "number: 2", "update")
    assert [e["time"] for e in world.live["metadata"]["managedFields"]] == [LATER]


def test_at_most_ten_updaters() -> None:
    world = World()
    fields: Json = {}
    for index in range(14):
        fields[f"k{index:02}"] = "x"
        world.time = f"2026-01-01T00:00:{index:02}Z"
        world.update(f"m{index:02}", {"map": dict(fields)})
    owners = world.owners
    assert len(owners) == 10
    assert owners["ancient-changes"] == [".map", *(f".map.k{index:02}" for index in range(5))]
    assert world.live is not None
    oldest = world.live["metadata"]["managedFields"][0]
    assert (oldest["manager"], oldest["time"]) == ("ancient-changes", "2026-01-01T00:00:04Z")


@pytest.mark.parametrize(
    "entries",
    [
        [{"manager": "a", "operation": "Nope", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}],
        [{"manager": "a", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {}}],
        [{"manager": "a", "operation": "Update", "apiVersion": "v1", "fieldsV1": {}}],
        [{"manager": "a", "operation": "Update", "apiVersion": "v1", "fieldsType": "V2", "fieldsV1": {}}],
        [{"manager": "a", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:x": 1}}],
        [
            {
                "manager": "a",
                "operation": "Update",
                "apiVersion": "v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"k:{": {}},
            }
        ],
    ],
)
def test_entries_that_cannot_be_read_do_not_count(entries: list[Json]) -> None:
    world = World()
    world.step("one", "string: a")
    world.update("up", {"string": "a", "number": 1, "metadata": {"managedFields": entries}})
    assert world.owners == {"one": [".string"], "up": [".number"]}


def test_owners_in_other_versions() -> None:
    """v2 calls `string` text."""
    v2 = struct(
        "Root", apiVersion=TEXT, kind=TEXT, metadata=facts.struct("meta", "ObjectMeta"), text=TEXT, number=NUMBER
    )
    renamed = {"v1": ("string", "text", v2, "v2"), "v2": ("text", "string", ROOT, "v1")}

    def convert(obj: Json, version: str) -> tuple[Struct, Json] | None:
        old, new, node, other = renamed[obj["apiVersion"]]
        if version == obj["apiVersion"]:
            return (ROOT if version == "v1" else v2), obj
        if version != other:
            return None
        return node, {**{new if key == old else key: value for key, value in obj.items()}, "apiVersion": version}

    def apply(live: Json | None, node: Struct, version: str, manager: str, obj: Json, force: bool = False) -> Json:
        config = {"apiVersion": version, "kind": "Root", "metadata": {"name": "x"}, **obj}
        made, entries = server_side.apply(
            node, live, config, manager=manager, api_version=version, subresource="", time=TIME, force=force,
            reset_fields=(), convert=convert,
        )  # fmt: skip
        return {**made, "metadata": {**made["metadata"], "managedFields": entries}}

    def in_v2(live: Json) -> Json:
        found = convert(live, "v2")
        assert found is not None
        return found[1]

    one = apply(None, ROOT, "v1", "one", {"string": "a", "number": 1})
    with pytest.raises(StatusError) as caught:
        apply(in_v2(one), v2, "v2", "two", {"text": "b"})
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "one": .string'
    both = apply(in_v2(one), v2, "v2", "two", {"text": "a"})
    assert [(e["manager"], e["apiVersion"]) for e in both["metadata"]["managedFields"]] == [
        ("one", "v1"),
        ("two", "v2"),
    ]
    # it applied in v1 and now does in v2: one entry, and what it leaves out goes
    again = apply(both, v2, "v2", "one", {"text": "a"})
    assert "number" not in again
    assert [e["apiVersion"] for e in again["metadata"]["managedFields"]] == ["v2", "v2"]
    gone = apply(again, v2, "v2", "two", {"text": "b"}, force=True)
    assert [e["manager"] for e in gone["metadata"]["managedFields"]] == ["two"]
    gone["metadata"]["managedFields"][0]["apiVersion"] = "v0"
    updated = managed.update_managed_fields(
        v2, gone, {**gone, "number": 2}, manager="up", api_version="v2", subresource="", time=TIME, reset_fields=(),
        convert=convert,
    )  # fmt: skip
    assert [e["manager"] for e in updated] == ["up"]


# -- properties --------------------------------------------------------------------------------------------------------

AB = st.sampled_from("ab")
#: nothing empty: what is applied empty, after more was, is owned but not there
CONTENT = st.fixed_dictionaries(
    {"number": st.integers(0, 1)},
    optional={
        "string": AB,
        "struct": st.fixed_dictionaries({"name": AB}, optional={"value": st.integers(0, 1)}),
        "set": st.lists(st.sampled_from("abcd"), unique=True, min_size=1),
        "map": st.dictionaries(AB, AB, min_size=1),
        "list": st.lists(
            st.tuples(st.sampled_from("abc"), st.integers(0, 1)), min_size=1, unique_by=lambda pair: pair[0]
        ).map(lambda pairs: [{"name": name, "value": value} for name, value in pairs]),
        "atomicList": st.lists(AB, max_size=2, min_size=1),
        "any": st.dictionaries(AB, st.integers(0, 1), min_size=1),
    },
)
STEPS = st.lists(st.tuples(st.sampled_from(["one", "two", "up"]), CONTENT, st.booleans()), min_size=1, max_size=5)


@settings(max_examples=30)
@given(STEPS)
def test_applying_again_changes_nothing_and_all_applied_is_there(steps: list[tuple[str, Json, bool]]) -> None:
    world = World()
    for manager, obj, _ in steps:
        world.apply(manager, obj, force=True)
        once = world.live
        # everything named is there with its value
        assert not Changes(typed.merge(world.content, obj, ROOT), world.content, ROOT).changed
        world.apply(manager, obj)
        assert world.live == once


@settings(max_examples=30)
@given(STEPS)
def test_nobody_owns_what_is_not_there(steps: list[tuple[str, Json, bool]]) -> None:
    world = World()
    for manager, obj, updates in steps:
        if updates and world.live is not None:
            world.update(manager, obj)
        else:
            world.apply(manager, obj, force=True)
        there: FieldSet = everything(world.content, ROOT, None)
        known = set(paths(there)) | set(paths(of(world.content, ROOT)))
        for who, owned in world.owners.items():
            assert set(owned) <= known, (who, owned, world.content)
