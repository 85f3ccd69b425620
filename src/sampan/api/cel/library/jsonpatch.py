"""What mutating admission policies have besides: objects to apply and JSON patches.

    cel.Environment(variables, functions=jsonpatch.jsonpatch, names=jsonpatch.NAMES)

`Object{spec: Object.spec{replicas: 3}}` is a dict with these fields that knows its type (`Made`), and
`JSONPatch{op: "test", path: "/a", value: 1}` a plain one. Whether the types are those of the places where objects stand
only shows when they are there (`mismatches`): a policy is compiled before it is known for which kinds.

Source: k8s.io/apiserver/pkg/cel/library/jsonpatch.go, k8s.io/apiserver/pkg/cel/mutation
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.cel import types
from sampan.api.cel.functions import Library
from sampan.api.cel.types import DeclField, Type
from sampan.api.cel.values import Made
from sampan.api.field import go_quote

jsonpatch = Library()
jsonpatch.function(
    "jsonpatch.escapeKey",
    "string_jsonpatch_escapeKey_string",
    "string -> string",
    lambda key: key.replace("~", "~0").replace("/", "~1"),
)

#: without declared fields: any field, and a type of its own for each (`Object.spec`)
OBJECT = Type("object", name="Object", fields=None)
JSON_PATCH = types.ObjectType(
    "JSONPatch",
    {
        "op": DeclField("op", types.String),
        "path": DeclField("path", types.String),
        "from": DeclField("from", types.String),
        "value": DeclField("value", types.Dyn, nulls=True),
    },
)
NAMES = {"Object": OBJECT, "JSONPatch": JSON_PATCH}


def mismatches(value: Any, path: str) -> Iterator[str]:
    """Objects below `path` whose type is that of another place, in upstream's words. Lists and maps have no names.

    DEVIATION: of lists that `+` has joined, upstream does not look at the items.
    """
    if isinstance(value, Made):
        if value.made_of != path:
            what = f"unexpected type name {go_quote(value.made_of)}, expected {go_quote(path)}"
            yield f"{what}, which matches field name path from root Object type"
        for name, item in value.items():
            yield from mismatches(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from mismatches(item, path)
    elif isinstance(value, dict):
        for item in value.values():
            yield from mismatches(item, path)


def plain(value: Any) -> Any:
    """JSON as those who read objects want it: no types, and numbers without a fraction as ints."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return int(value) if value.__class__ is float and value.is_integer() else value
