"""The facts agree with upstream's published schema of 1.37, field by field."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from sampan.api.registry import Registry
from sampan.api.schema.nodes import ListOf, Struct
from sampan.apiserver.openapi.schemas import definition_name, reachable, types_of


def _definitions() -> dict[str, Any]:
    spec = importlib.util.find_spec("kubernetes_validate")
    assert spec is not None and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0]) / "kubernetes-json-schema" / "v1.37.0-local"
    found: dict[str, Any] = json.loads((root / "_definitions.json").read_text())["$defs"]
    return found


DEFINITIONS = _definitions()
STRUCTS = reachable([s for g, vs in Registry().groups() for v in vs for s in types_of(Registry(), g, v)])[0]


@pytest.mark.parametrize("name", sorted(set(STRUCTS) & set(DEFINITIONS)))
def test_type(name: str) -> None:
    struct: Struct = STRUCTS[name]
    theirs = DEFINITIONS[name]
    if "properties" not in theirs:
        return
    assert set(struct.fields) == set(theirs["properties"]), name
    assert {f.name for f in struct.fields.values() if f.required} == set(theirs.get("required", ()))
    for field in struct.fields.values():
        said = theirs["properties"][field.name]
        assert field.patch_key == said.get("x-kubernetes-patch-merge-key", ""), field.name
        strategy = said.get("x-kubernetes-patch-strategy", "")
        assert (field.patch_merge, field.retain_keys) == ("merge" in strategy, "retainKeys" in strategy), field.name
        if isinstance(field.node, ListOf):
            assert field.node.merge == said.get("x-kubernetes-list-type", "atomic"), field.name
            assert list(field.node.keys) == said.get("x-kubernetes-list-map-keys", []), field.name


def test_all_types_are_compared() -> None:
    assert len(set(STRUCTS) & set(DEFINITIONS)) > 500
    assert definition_name(STRUCTS["io.k8s.api.core.v1.Pod"]) == "io.k8s.api.core.v1.Pod"
