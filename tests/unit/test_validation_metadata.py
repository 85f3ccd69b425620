"""Metadata of every kind, and what may be its name: what is refused.

Source: k8s.io/apimachinery/pkg/api/validation/objectmeta.go
"""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from sampan.api import names
from sampan.api.field import Path
from sampan.api.kind import Obj
from sampan.api.validation.meta import validate_object_meta, validate_object_meta_update
from tests.validation import GONE, REGISTRY, Change, changed, said

META: Obj = {"name": "a", "namespace": "n"}
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}

NEW: list[tuple[Change, list[str]]] = [
    ({}, []),
    ({"name": "A"}, ['metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"name": GONE}, ["metadata.name: Required value: name or generateName is required"]),
    ({"name": "a/b"}, ["metadata.name: Invalid value: \"a/b\": may not contain '/'", 'metadata.name: Invalid value: "a/b": a lowercase RFC 1123 subdomain …']),
    ({"generateName": "A"}, ['metadata.generateName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"namespace": "A"}, ['metadata.namespace: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"namespace": GONE}, ["metadata.namespace: Required value"]),
    ({"labels": {"a b": "c", "d": "e f"}}, ['metadata.labels: Invalid value: "a b": name part must consist of …', 'metadata.labels: Invalid value: "e f": a valid label …']),
    ({"annotations": {"a b": "c"}}, ['metadata.annotations: Invalid value: "a b": name part must consist of …']),
    ({"annotations": {"a": "b" * (256 * 1024)}}, ["metadata.annotations: Too long: may not be more than 262144 bytes"]),
    ({"ownerReferences": [{}]}, ['metadata.ownerReferences[0].apiVersion: Invalid value: "": version must not be empty', 'metadata.ownerReferences[0].kind: Invalid value: "": must not be empty', 'metadata.ownerReferences[0].name: Invalid value: "": must not be empty', 'metadata.ownerReferences[0].uid: Invalid value: "": must not be empty']),
    ({"ownerReferences": [{**OWNER, "controller": True}, {**OWNER, "name": "q", "controller": True}]}, ['metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u","controller":true},{"apiVersion":"v1","kind":"Pod","name":"q","uid":"u","controller":true}]: Only one reference can have Controller set to true. Found "true" in references for p and q']),
    ({"ownerReferences": [{**OWNER, "kind": "Event"}]}, ['metadata.ownerReferences[0]: Invalid value: {"apiVersion":"v1","kind":"Event","name":"p","uid":"u"}: /v1, Kind=Event is disallowed from being an owner']),
    ({"finalizers": ["x", "a b/c"]}, ['metadata.finalizers[0]: Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified', 'metadata.finalizers: Invalid value: "a b/c": prefix part a lowercase RFC 1123 subdomain …']),
    ({"finalizers": ["orphan", "foregroundDeletion"]}, ['metadata.finalizers: Invalid value: "orphan": finalizer foregroundDeletion and orphan cannot be both set']),
    ({"generation": -1}, ["metadata.generation: Invalid value: -1: must be greater than or equal to 0"]),
    ({"managedFields": [{"operation": "x", "fieldsType": "y", "manager": "m" * 129}]}, ['metadata.managedFields[0].operation: Invalid value: "x": must be `Apply` or `Update`', 'metadata.managedFields[0].fieldsType: Invalid value: "y": must be `FieldsV1`', "metadata.managedFields[0].manager: Too long: may not be more than 128 bytes"]),
]
CHANGES: list[tuple[Change, Change, list[str]]] = [
    ({"name": "b", "namespace": "m", "uid": "v", "creationTimestamp": "2026-01-01T00:00:00Z"}, {"uid": "u"}, ['metadata.name: Invalid value: "b": field is immutable', 'metadata.namespace: Invalid value: "m": field is immutable', 'metadata.uid: Invalid value: "v": field is immutable', 'metadata.creationTimestamp: Invalid value: "2026-01-01T00:00:00Z": field is immutable']),
    ({"generation": 1}, {"generation": 2}, ["metadata.generation: Invalid value: 1: must not be decremented"]),
    ({"finalizers": ["a/b", "a/c"], "deletionTimestamp": "2026-01-01T00:00:00Z"}, {"finalizers": ["a/b"], "deletionTimestamp": "2026-01-01T00:00:00Z"}, ['metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"a/c"}']),
    ({"labels": {"a b": ""}}, {}, ['metadata.labels: Invalid value: "a b": name part must consist of …']),
    ({"finalizers": ["a/c"], "deletionTimestamp": "2026-01-01T00:00:00Z"}, {"finalizers": ["a/b", "a/c"], "deletionTimestamp": "2026-01-01T00:00:00Z"}, []),
    ({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}, {}, ['metadata.deletionTimestamp: Invalid value: "2026-01-01T00:00:00Z": field is immutable', "metadata.deletionGracePeriodSeconds: Invalid value: 0: field is immutable"]),
]
#: names of kinds that are no subdomains: good ones, bad ones
NAMES = [
    ("", "v1", "pods", ("a.b", "1"), ("A", "a_b", "a/b", "-a", "")),
    ("", "v1", "services", ("a-b", "1a", "1"), ("a.b", "A", "a" * 64)),
    ("", "v1", "namespaces", ("a-b", "1"), ("a.b", "A")),
    ("rbac.authorization.k8s.io", "v1", "roles", ("A:b", "system:x"), ("a/b", "a%b", "..", ".")),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", ("A:b",), ("a/b",)),
    ("networking.k8s.io", "v1", "ipaddresses", ("10.0.0.1", "fd00::1"), ("a", "010.0.0.1", "::ffff:1.2.3.4")),
    ("certificates.k8s.io", "v1", "certificatesigningrequests", ("A b:c",), ()),
    ("apiregistration.k8s.io", "v1", "apiservices", ("v1.apps", "v1."), ("a/b",)),
    ("apps", "v1", "deployments", ("a.b",), ("A",)),
]
# fmt: on


def subdomain(name: str, generate: bool) -> list[str]:
    return names.is_dns1123_subdomain(name)


@pytest.mark.parametrize(("change", "expected"), NEW)
def test_object_meta(change: Change, expected: list[str]) -> None:
    assert said(validate_object_meta(changed(META, change), True, subdomain, Path("metadata"))) == expected


@pytest.mark.parametrize(("change", "old", "expected"), CHANGES)
def test_object_meta_update(change: Change, old: Change, expected: list[str]) -> None:
    new, was = changed(META, {**old, **change}), changed(META, old)
    assert said(validate_object_meta_update(new, was, Path("metadata"))) == expected


def test_a_namespace_is_not_for_all() -> None:
    found = said(validate_object_meta(META, False, subdomain, Path("metadata")))
    assert found == ["metadata.namespace: Forbidden: not allowed on this type"]


@pytest.mark.parametrize(("group", "version", "resource", "good", "bad"), NAMES, ids=[row[2] for row in NAMES])
def test_names(group: str, version: str, resource: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    kind = REGISTRY.get(group, version, resource)
    assert kind is not None
    assert [name for name in good if kind.validate_name(name, False)] == []
    assert [name for name in bad if not kind.validate_name(name, False)] == []


def test_a_prefix_may_end_with_a_hyphen() -> None:
    for resource in ("pods", "services", "namespaces"):
        kind = REGISTRY.get("", "v1", resource)
        assert kind is not None and not kind.validate_name("a-", True) and kind.validate_name("a-", False)
