"""The four ways to patch."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.errors import StatusError
from sampan.api.schema import facts
from sampan.apiserver.patch import apply as server_side
from sampan.apiserver.patch import json_patch, merge_patch, strategic
from sampan.apiserver.patch.managed import update_managed_fields

DEPLOYMENT = facts.struct("apps_v1", "Deployment")
POD = facts.struct("core_v1", "Pod")
TIME = "2026-01-01T00:00:00Z"


def test_json_patch() -> None:
    doc = {"a": [1, 2], "b": {"c": 1}}
    operations = [
        {"op": "test", "path": "/a/0", "value": 1},
        {"op": "add", "path": "/a/-", "value": 3},
        {"op": "remove", "path": "/b/c"},
        {"op": "move", "from": "/a/0", "path": "/b/x~1y"},
    ]
    assert json_patch.apply(doc, operations) == {"a": [2, 3], "b": {"x/y": 1}}
    assert doc == {"a": [1, 2], "b": {"c": 1}}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/x"}, {"op": "test", "path": "/a", "value": 2}, {"op": "add", "path": "/x/y", "value": 1},
        {"op": "nonsense", "path": "/a"}, {"op": "add", "path": "a", "value": 1},
    ],
)  # fmt: skip
def test_json_patch_that_cannot_be_done(operation: Any) -> None:
    with pytest.raises(StatusError) as caught:
        json_patch.apply({"a": 1}, [operation])
    assert caught.value.code == 422


def test_merge_patch() -> None:
    assert merge_patch.apply({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": 4}}) == {"b": {"c": 4, "d": 3}}


def _pod(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(containers)}}


def test_strategic_merges_lists_by_key() -> None:
    old = _pod({"name": "a", "image": "x"}, {"name": "b", "image": "y"})
    new = strategic.apply(POD, old, _pod({"name": "b", "image": "z"}))
    assert new == _pod({"name": "a", "image": "x"}, {"name": "b", "image": "z"})


def test_strategic_directives() -> None:
    old = _pod({"name": "a", "args": ["1"]}, {"name": "b"})
    assert strategic.apply(POD, old, _pod({"name": "a", "$patch": "delete"})) == _pod({"name": "b"})
    assert strategic.apply(POD, old, _pod({"$patch": "replace"}, {"name": "c"})) == _pod({"name": "c"})
    order = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    assert [c["name"] for c in strategic.apply(POD, old, order)["spec"]["containers"]] == ["b", "a"]
    finalizers = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}
    assert strategic.apply(POD, finalizers, patch) == {"metadata": {"finalizers": ["c", "b"]}}
    strategy = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    retain = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic.apply(DEPLOYMENT, strategy, retain) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_update_owns_what_it_sets_as_upstream_writes_it() -> None:
    new = {
        "metadata": {"name": "a", "labels": {"x": "y"}},
        "spec": {
            "selector": {"matchLabels": {"x": "y"}},
            "replicas": 1,
            "strategy": {"rollingUpdate": {"maxSurge": 1}},
            "template": {"metadata": {}, "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}]}},
        },
        "status": {},
    }
    entries = update_managed_fields(
        DEPLOYMENT, None, new, manager="m", api_version="apps/v1", subresource="", time=TIME, reset_fields=("status",)
    )
    assert [(e["manager"], e["operation"]) for e in entries] == [("m", "Update")]
    assert entries[0]["fieldsV1"] == {
        "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
        "f:spec": {
            "f:selector": {},
            "f:replicas": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
            "f:template": {
                "f:spec": {
                    "f:containers": {'k:{"name":"c"}': {".": {}, "f:name": {}, "f:image": {}, "f:resources": {}}}
                }
            },
        },
    }


def _apply(live: Any, config: Any, manager: str, force: bool = False) -> dict[str, Any]:
    obj, managed = server_side.apply(
        DEPLOYMENT, live, config, manager=manager, api_version="apps/v1", subresource="", time=TIME, force=force,
        reset_fields=("status",),
    )  # fmt: skip
    obj["metadata"] = {**obj["metadata"], "managedFields": managed}
    return obj


def _config(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}


def test_apply_conflicts_and_force() -> None:
    live = _apply(None, _config(replicas=1), "one")
    with pytest.raises(StatusError) as caught:
        _apply(live, _config(replicas=2), "two")
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    assert caught.value.status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.replicas"}
    ]
    forced = _apply(live, _config(replicas=2), "two", force=True)
    assert forced["spec"]["replicas"] == 2
    assert [e["manager"] for e in forced["metadata"]["managedFields"]] == ["two"]


def test_fields_no_longer_applied_go_unless_another_owns_them() -> None:
    live = _apply(None, _config(replicas=1, paused=True), "one")
    live = _apply(live, _config(replicas=1), "two")
    live = _apply(live, _config(), "one")
    assert live["spec"] == {"replicas": 1}


@given(st.fixed_dictionaries({}, optional={"replicas": st.integers(0, 3), "minReadySeconds": st.integers(0, 3)}))
def test_applying_twice_changes_nothing(spec: dict[str, int]) -> None:
    once = _apply(None, _config(**spec), "one")
    assert _apply(once, _config(**spec), "one") == once
