"""Small ones: how long kubelets may keep what they read; ranges of services' addresses."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.cli import components
from sampan.client import StatusError
from sampan.controllers.manager import CONTROLLERS, ELSEWHERE, chosen
from sampan.controllers.names import ABSENT, ALIASES
from sampan.controllers.ttl import ANNOTATION
from tests.controllers_world import World

Obj = dict[str, Any]
NETWORKING = "networking.k8s.io"


async def test_nodes_are_told_how_long_to_keep_things(world: World) -> None:
    await world.start("ttl-controller")
    for number in range(100):
        await world.admin.create("nodes", {"metadata": {"name": f"n{number}"}})

    def told(name: str) -> str:
        annotations: Obj = (world.get("nodes", name, "") or {})["metadata"].get("annotations", {})
        return str(annotations.get(ANNOTATION, ""))

    await world.until(lambda: told("n99") == "0")
    await world.admin.create("nodes", {"metadata": {"name": "more"}})
    await world.until(lambda: told("more") == "15")
    for number in range(10):
        await world.admin.delete("nodes", f"n{number}")
    await world.admin.patch("nodes", "n50", {"metadata": {"labels": {"a": "b"}}})
    await world.until(lambda: told("n50") == "15", "15, as there are 91 left")
    for name in ("n10", "n11"):
        await world.admin.delete("nodes", name)
    await world.admin.patch("nodes", "n50", {"metadata": {"labels": {"a": "c"}}})
    await world.until(lambda: told("n50") == "0")


def ready(world: World, name: str) -> tuple[str, str]:
    found = world.get("servicecidrs", name, "", NETWORKING)
    conditions = ((found or {}).get("status") or {}).get("conditions") or ()
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == "Ready"), ("", ""))


async def test_ranges_of_services_are_ready_and_stay_while_they_are_needed(world: World) -> None:
    await world.start("service-cidr-controller")
    await world.admin.create("servicecidrs", {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.200.0.0/24"]}})
    await world.until(lambda: ready(world, "more") == ("True", ""))
    found = world.get("servicecidrs", "more", "", NETWORKING)
    assert found is not None and found["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
    labels = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
    parent = {"resource": "services", "namespace": "default", "name": "s"}
    address = {"metadata": {"name": "10.200.0.7", "labels": labels}, "spec": {"parentRef": parent}}
    await world.admin.create("ipaddresses", address)
    await world.admin.delete("servicecidrs", "more")
    await world.until(lambda: ready(world, "more") == ("False", "Terminating"))
    began = world.clock()
    await world.admin.create("servicecidrs", {"metadata": {"name": "all"}, "spec": {"cidrs": ["10.200.0.0/16"]}})
    await world.until(lambda: world.get("servicecidrs", "more", "", NETWORKING) is None, "the end of a part of another")
    assert world.clock() - began <= 11
    await world.admin.delete("servicecidrs", "all")
    await world.until(lambda: ready(world, "all") == ("False", "Terminating"))
    await world.admin.delete("ipaddresses", "10.200.0.7")
    await world.until(lambda: world.get("servicecidrs", "all", "", NETWORKING) is None)
    await world.settle()
    assert ready(world, "kubernetes") == ("True", "")


async def web(world: World, name: str, **spec: Any) -> str:
    """The address of a new service, or why it has none."""
    body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}
    try:
        address: str = (await world.admin.create("services", body, "default"))["spec"]["clusterIP"]
    except StatusError as error:
        return str(error)
    return address


async def test_services_have_addresses_of_all_ranges_that_are_ready(world: World) -> None:
    await world.start("service-cidr-controller")
    outside = await web(world, "a", clusterIP="10.200.0.7")
    said = "failed to allocate IP 10.200.0.7: the provided network does not match the current range"
    assert outside == f'Service "a" is invalid: spec.clusterIPs: Invalid value: ["10.200.0.7"]: {said}'
    await world.admin.create("servicecidrs", {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.200.0.0/24"]}})
    await world.until(lambda: ready(world, "more") == ("True", ""))
    assert await web(world, "a", clusterIP="10.200.0.7") == "10.200.0.7"
    said = "the provided IP (10.200.0.255) is not in the valid range. The range of valid IPs is 10.200.0.0/24"
    assert (await web(world, "b", clusterIP="10.200.0.255")).endswith(f": failed to allocate IP 10.200.0.255: {said}")
    assert (await web(world, "b")).startswith("10.96.")
    await world.admin.delete("servicecidrs", "kubernetes")
    await world.until(lambda: ready(world, "kubernetes") == ("False", "Terminating"))
    assert (await web(world, "c")).startswith("10.200.0.")
    await world.admin.delete("servicecidrs", "more")
    assert (await web(world, "d")).endswith("failed to allocate a serviceIP: range is full")


def address(world: World, name: str) -> Obj | None:
    return world.get("ipaddresses", name, "", NETWORKING)


async def test_addresses_that_services_have_come_back(world: World) -> None:
    given = await web(world, "a")
    old = address(world, given)
    assert old is not None
    await world.admin.delete("ipaddresses", given)
    new = await world.until(lambda: address(world, given), "the address")
    assert new["spec"] == old["spec"] and new["metadata"]["labels"] == old["metadata"]["labels"]
    [event] = await world.until(lambda: world.events("ClusterIPNotAllocated"))
    assert event["message"] == f"Cluster IP [IPv4]: {given} is not allocated; repairing" and event["type"] == "Warning"
    assert (event["involvedObject"]["name"], event["reportingComponent"]) == ("a", "ipallocator-repair-controller")
    await world.admin.patch("ipaddresses", given, {"metadata": {"labels": {"ipaddress.kubernetes.io/ip-family": None}}})
    await world.until(lambda: (address(world, given) or old)["metadata"]["uid"] != new["metadata"]["uid"], "another")
    assert (address(world, given) or {})["metadata"]["labels"] == old["metadata"]["labels"]
    await world.admin.delete("services", "a", "default")
    await world.settle()
    assert address(world, given) is None and len(world.events()) == 1


@pytest.mark.parametrize(
    ("parent", "reason", "message", "seconds"),
    [
        ({"resource": "services", "namespace": "default", "name": "none"}, "IPAddressNotAllocated",
         "IPAddress: 10.96.0.77 for Service default/none appears to have leaked: cleaning up", 60),
        ({"resource": "services", "namespace": "default", "name": "a"}, "IPAddressWrongReference",
         "IPAddress: 10.96.0.77 for Service default/a has a wrong reference; cleaning up", 0),
        ({"group": "example.com", "resource": "boats", "name": "ark"}, "IPAddressNotAllocated",
         "IPAddress 10.96.0.77 appears to have been modified, not referencing a Service "
         "&ParentReference{Group:example.com,Resource:boats,Namespace:,Name:ark,}: cleaning up", 0),
    ],
)  # fmt: skip
async def test_addresses_that_stand_for_no_service_go(
    world: World, parent: Obj, reason: str, message: str, seconds: float
) -> None:
    assert await web(world, "a") != "10.96.0.77"
    labels = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
    body = {"metadata": {"name": "10.96.0.77", "labels": labels}, "spec": {"parentRef": parent}}
    began = world.clock()
    await world.admin.create("ipaddresses", body)
    await world.admin.create("ipaddresses", {"metadata": {"name": "10.96.0.78"}, "spec": {"parentRef": parent}})
    await world.until(lambda: address(world, "10.96.0.77") is None, "the end")
    assert seconds <= world.clock() - began < seconds + 1
    [event] = world.events(reason)
    assert event["message"] == message
    await world.settle()
    assert address(world, "10.96.0.78") is not None


def test_which_controllers_run(capsys: pytest.CaptureFixture[str]) -> None:
    every = list(CONTROLLERS)
    assert list(chosen(("*",))) == every
    assert list(chosen(("*", "bootstrap-signer-controller", "tokencleaner"))) == every
    assert list(chosen(("-nodelifecycle", "-service-lb-controller", "*"))) == [
        name for name in every if name != "node-lifecycle-controller"
    ]
    assert list(chosen(("cronjob", "-cronjob-controller", "job-controller"))) == [
        "job-controller",
        "cronjob-controller",
    ]
    with pytest.raises(ValueError, match='"nobody" is not in the list of known controllers: '):
        list(chosen(("*", "-nobody")))
    assert components.main("controller-manager", ["--pki-dir", "/nowhere", "--controllers", "nobody"]) == 1
    assert capsys.readouterr().err.startswith(
        'sampan controller-manager: "nobody" is not in the list of known controll'
    )
    assert set(ALIASES.values()) <= {*every, *ELSEWHERE, *ABSENT}
