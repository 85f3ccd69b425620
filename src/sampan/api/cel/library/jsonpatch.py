"""What mutating admission policies have besides: objects to apply and JSON patches.

    cel.Environment(variables, functions=jsonpatch.jsonpatch, names=jsonpatch.NAMES)

`Object{spec: Object.spec{replicas: 3}}` is a dict with these fields; `JSONPatch{op: "test", path: "/a", value: 1}` too.

Source: k8s.io/apiserver/pkg/cel/library/jsonpatch.go, k8s.io/apiserver/pkg/cel/mutation
"""

from __future__ import annotations

from sampan.api.cel import types
from sampan.api.cel.functions import Library
from sampan.api.cel.types import DeclField, Type

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
