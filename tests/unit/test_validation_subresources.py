"""What subresources of pods may change: ephemeral containers, resources in place, profiles in annotations."""

# ruff: noqa: E501 (a row is a line)

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.core_v1.pod import resized, with_ephemeral_containers
from tests.validation import Valid, said

POD = Valid(
    "", "v1", "pods",
    {"spec": {"containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "1"}}}]}, "status": {"phase": "Running"}},
)  # fmt: skip
E = {"name": "e", "image": "x"}
LIST = "spec.ephemeralContainers"
QOS = 'spec: Invalid value: "{}": Pod QOS Class may not change as a result of resizing'
NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [E], []),
        ([E], [E, {**E, "name": "f"}], []),
        ([E], [], [f'{LIST}: Forbidden: existing ephemeral containers "e" may not be removed']),
        ([E], [{**E, "image": "y"}], [f'{LIST}: Forbidden: existing ephemeral containers "e" may not be changed']),
        ([], [{**E, "name": "c"}], [f'{LIST}[0].name: Duplicate value: "c"']),
        ([], [{**E, "targetContainerName": "d"}], [f'{LIST}[0].targetContainerName: Not found: "d"']),
        ([], [{**E, "ports": [{"containerPort": 80}]}], [f"{LIST}[0].ports: Forbidden: {NOT_EPHEMERAL}"]),
        (
            [],
            [{**E, "livenessProbe": {"tcpSocket": {"port": 1}}}],
            [f"{LIST}[0].livenessProbe: Forbidden: {NOT_EPHEMERAL}"],
        ),
        ([], [{**E, "resources": {"limits": {"cpu": "1"}}}], [f"{LIST}[0].resources: Forbidden: {NOT_EPHEMERAL}"]),
    ],
)
def test_ephemeral_containers(before: list[Any], after: list[Any], expected: list[str]) -> None:
    old, new = (POD.object({"spec/ephemeralContainers": items}) for items in (before, after))
    found = said(with_ephemeral_containers(new, old)[1])
    # what differs follows the first line
    assert [text.partition("\n")[0] for text in found] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"spec/containers/0/resources/requests": {"cpu": "2"}}, []),
        ({"spec/containers/0/resources/requests": {"cpu": "-1"}}, ['spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0', QOS.format("BestEffort")]),
        ({"spec/containers/0/resources/requests": {"cpu": "1", "memory": "1Gi"}, "spec/containers/0/resources/limits": {"cpu": "1", "memory": "1Gi"}}, [QOS.format("Guaranteed")]),
        ({"spec/containers/0/resources/requests": {}}, [QOS.format("BestEffort"), "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"]),
    ],
)  # fmt: skip
def test_resize(change: dict[str, Any], expected: list[str]) -> None:
    assert said(resized(POD.object(change), POD.object({}))[1]) == expected


def test_profiles_in_annotations_do_not_change() -> None:
    key = "container.apparmor.security.beta.kubernetes.io/c"
    before: dict[Any, Any] = {("metadata", "annotations"): {key: "runtime/default"}}
    after: dict[Any, Any] = {("metadata", "annotations"): {key: "unconfined"}}
    found = POD.update(after, before)
    assert found == [f"metadata.annotations[{key}]: Forbidden: may not remove or update AppArmor annotations"]
