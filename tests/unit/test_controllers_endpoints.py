"""Which pods stand behind a service: slices, legacy Endpoints, and slices of Endpoints made by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.controllers.endpoints import truncated
from sampan.controllers.slice_packing import endpoint_key, pack
from sampan.controllers.slice_tracker import MANAGED_BY, SERVICE_NAME, SliceTracker, SliceWatch
from tests.controllers_crash import Crashing
from tests.controllers_world import World

Obj = dict[str, Any]
NAMES = ("endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller")
DISCOVERY = "discovery.k8s.io"


def service(name: str = "web", **spec: Any) -> Obj:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}], **spec}
    return {"metadata": {"name": name, "labels": {"team": "a"}}, "spec": spec}


def pod(name: str, node: str = "n1", labels: Obj | None = None, **spec: Any) -> Obj:
    containers = [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}]
    meta = {"name": name, "labels": {"app": "web"} if labels is None else labels}
    return {"metadata": meta, "spec": {"nodeName": node, "containers": containers, **spec}}


def slices(world: World, of: str = "web") -> list[Obj]:
    found = world.all("endpointslices", group=DISCOVERY, namespace="default")
    return [item for item in found if item["metadata"]["labels"].get("kubernetes.io/service-name") == of]


def states(world: World, of: str = "web") -> dict[str, tuple[bool, bool, bool]]:
    """By name of the pod: ready, serving, terminating."""
    return {
        endpoint["targetRef"]["name"]: tuple(endpoint["conditions"][n] for n in ("ready", "serving", "terminating"))
        for item in slices(world, of)
        for endpoint in item.get("endpoints") or ()
    }


async def create(world: World, resource: str, *objs: Obj) -> None:
    for obj in objs:
        await world.admin.create(resource, obj, namespace="default")


async def says(world: World, name: str, ready: str) -> None:
    """What a kubelet would of a pod."""
    status = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "Ready", "status": ready}]}
    await world.admin.patch("pods", name, {"status": status}, "default", subresource="status")


async def test_ready_pods_are_in_slices_and_endpoints(world: World) -> None:
    await world.hollow(1, labels={"topology.kubernetes.io/zone": "z1"})
    await world.start(*NAMES)
    await create(world, "services", service())
    await create(world, "pods", pod("a"), pod("b"), pod("other", labels={"app": "db"}))
    await world.until(lambda: states(world) == {"a": (True, True, False), "b": (True, True, False)}, "slices")
    (found,) = slices(world)
    meta = found["metadata"]
    assert meta["name"].startswith("web-") and meta["generateName"] == "web-"
    assert meta["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert found["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}] and found["addressType"] == "IPv4"
    endpoint = found["endpoints"][0]
    address = (world.get("pods", "a") or {})["status"]["podIP"]
    assert (endpoint["addresses"], endpoint["nodeName"], endpoint["zone"]) == ([address], "n1", "z1")
    assert "hints" not in endpoint and meta["ownerReferences"][0]["kind"] == "Service"
    await world.settle()
    legacy = world.get("endpoints", "web") or {}
    assert legacy["metadata"]["labels"] == {"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    (subset,) = legacy["subsets"]
    assert [item["targetRef"]["name"] for item in subset["addresses"]] == ["a", "b"]
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert len(slices(world)) == 1 and not world.events("FailedToUpdateEndpointSlices")


async def test_a_service_of_nothing_has_one_empty_slice(world: World) -> None:
    await world.start(*NAMES)
    await create(world, "services", service(), service("headless", clusterIP="None"))
    await world.until(lambda: slices(world) and slices(world, "headless") and world.get("endpoints", "web"))
    await world.settle()
    (empty,) = slices(world)
    assert not empty["endpoints"] and not empty["ports"]
    made = (world.get("services", "web") or {})["metadata"]["creationTimestamp"]
    triggered = {"endpoints.kubernetes.io/last-change-trigger-time": made}
    assert empty["metadata"]["annotations"] == triggered
    assert (world.get("endpoints", "web") or {})["metadata"]["annotations"] == triggered
    (headless,) = slices(world, "headless")
    assert headless["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    legacy = world.get("endpoints", "headless") or {}
    assert legacy["metadata"]["labels"]["service.kubernetes.io/headless"] == "" and not legacy.get("subsets")


async def test_the_servers_own_service_is_left_alone(world: World) -> None:
    before = (world.get("endpoints", "kubernetes"), slices(world, "kubernetes"))
    await world.start(*NAMES)
    await world.settle(120)
    assert (world.get("endpoints", "kubernetes"), slices(world, "kubernetes")) == before


async def test_named_ports_part_pods_and_pods_without_it_have_none(world: World) -> None:
    await world.hollow()
    await world.start(*NAMES)
    await create(world, "services", service(ports=[{"port": 80, "targetPort": "http", "appProtocol": "h2c"}]))
    other = [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 9090}]}]
    none = [{"name": "c", "image": "i"}]
    await create(world, "pods", pod("a"), pod("b", containers=other), pod("c", containers=none))
    await world.until(lambda: len(states(world)) == 3, "endpoints")
    await world.settle()
    ports = {
        tuple(port["port"] for port in item.get("ports") or ()): [e["targetRef"]["name"] for e in item["endpoints"]]
        for item in slices(world)
    }
    assert ports == {(8080,): ["a"], (9090,): ["b"], (): ["c"]}
    assert [port["appProtocol"] for item in slices(world) for port in item.get("ports") or ()] == ["h2c"] * 2
    legacy = (world.get("endpoints", "web") or {})["subsets"]
    assert [(s["ports"][0]["port"], s["addresses"][0]["targetRef"]["name"]) for s in legacy] == [
        (8080, "a"),
        (9090, "b"),
    ]


async def test_a_pod_on_its_way_out_still_serves(world: World) -> None:
    await world.hollow()
    await world.start(*NAMES)
    await create(world, "services", service(), service("all", publishNotReadyAddresses=True))
    going = pod("a")
    going["metadata"]["finalizers"] = ["example.com/wait"]
    await create(world, "pods", going)
    await world.until(lambda: states(world) == {"a": (True, True, False)}, "ready")
    await world.admin.delete("pods", "a", "default", grace_seconds=600)
    await world.until(lambda: states(world) == {"a": (False, True, True)}, "terminating")
    await world.until(lambda: states(world, "all").get("a", (0, 0, 0))[::2] == (True, True), "published all the same")
    await world.until(lambda: not (world.get("endpoints", "web") or {}).get("subsets"), "no legacy address")


async def test_unready_pods(world: World) -> None:
    await world.start(*NAMES)
    await create(world, "services", service(), service("all", publishNotReadyAddresses=True))
    await world.admin.create("nodes", {"metadata": {"name": "n1"}})
    await create(world, "pods", pod("a"))
    await says(world, "a", "False")
    await world.until(lambda: states(world) == {"a": (False, False, False)}, "not ready")
    await world.until(lambda: states(world, "all") == {"a": (True, False, False)}, "not ready but published")
    await world.settle()
    assert "addresses" in (world.get("endpoints", "all") or {})["subsets"][0]
    (subset,) = (world.get("endpoints", "web") or {})["subsets"]
    assert "addresses" not in subset and len(subset["notReadyAddresses"]) == 1


async def test_pods_join_and_leave_by_their_labels(world: World) -> None:
    await world.hollow()
    await world.start(*NAMES)
    await create(world, "services", service())
    await create(world, "pods", pod("a"), pod("b", labels={}))
    await world.until(lambda: list(states(world)) == ["a"])
    await world.admin.patch("pods", "b", {"metadata": {"labels": {"app": "web"}}}, "default")
    await world.until(lambda: len(states(world)) == 2)
    await world.admin.patch("pods", "a", {"metadata": {"labels": {"app": None}}}, "default")
    await world.until(lambda: list(states(world)) == ["b"])
    await world.admin.delete("pods", "b", "default", grace_seconds=0)
    await world.until(lambda: not states(world) and len(slices(world)) == 1)


async def test_hostnames_of_a_headless_services_pods(world: World) -> None:
    await world.hollow()
    await world.start(*NAMES)
    await create(world, "services", service(clusterIP="None", ports=[]))
    await create(world, "pods", pod("a", hostname="a-0", subdomain="web"), pod("b", hostname="b-0", subdomain="else"))
    await world.until(lambda: len(states(world)) == 2)
    await world.settle()
    (found,) = slices(world)
    assert [endpoint.get("hostname") for endpoint in found["endpoints"]] == ["a-0", None]
    (subset,) = (world.get("endpoints", "web") or {})["subsets"]
    assert [item.get("hostname") for item in subset["addresses"]] == ["a-0", None] and "ports" not in subset


async def test_hints_follow_the_wish_of_the_service(world: World) -> None:
    await world.hollow(1, labels={"topology.kubernetes.io/zone": "z1"})
    await world.start(*NAMES)
    await create(world, "services", service(trafficDistribution="PreferSameNode"))
    await create(world, "pods", pod("a"))

    def hints() -> Any:
        return [e.get("hints") for s in slices(world) for e in s.get("endpoints") or () if e["conditions"]["ready"]]

    both = {"forZones": [{"name": "z1"}], "forNodes": [{"name": "n1"}]}
    await world.until(lambda: hints() == [both], "both")
    await world.admin.patch("services", "web", {"spec": {"trafficDistribution": "PreferClose"}}, "default")
    await world.until(lambda: hints() == [{"forZones": [{"name": "z1"}]}], "zones")
    await world.admin.patch("services", "web", {"spec": {"trafficDistribution": None}}, "default")
    await world.until(lambda: hints() == [None], "none")


async def placed(world: World, name: str, zone: str, cpu: str = "4") -> None:
    """A node that nobody plays."""
    meta = {"name": name, "labels": {"topology.kubernetes.io/zone": zone} if zone else {}}
    await world.admin.create("nodes", {"metadata": meta})
    status = {"allocatable": {"cpu": cpu}, "conditions": [{"type": "Ready", "status": "True"}]}
    await world.admin.patch("nodes", name, {"status": status}, type="strategic", subresource="status")


def zones(world: World) -> list[tuple[str, str]]:
    """Where the endpoints are that have hints, and for which zone they are; in order."""
    ends = [endpoint for item in slices(world) for endpoint in item.get("endpoints") or () if endpoint.get("hints")]
    return sorted((endpoint["zone"], endpoint["hints"]["forZones"][0]["name"]) for endpoint in ends)


def told(world: World, reason: str) -> list[str]:
    return [event["message"] for event in world.events(reason)]


async def test_hints_give_each_zone_its_part_where_the_annotation_asks_for_it(world: World) -> None:
    await placed(world, "n1", "z1")
    await placed(world, "n2", "z2")
    web = service()
    web["metadata"]["annotations"] = {"service.kubernetes.io/topology-mode": "Auto"}
    await create(world, "services", web)
    for name, where in (("a", "n1"), ("b", "n1"), ("c", "n1"), ("d", "n2")):
        await create(world, "pods", pod(name, where))
        await says(world, name, "True")
    await world.start(*NAMES)
    await world.until(lambda: zones(world) == [("z1", "z1"), ("z1", "z1"), ("z1", "z2"), ("z2", "z2")], "hints")
    await world.settle()
    assert told(world, "TopologyAwareHintsEnabled") == ["Topology Aware Hints has been enabled, addressType: IPv4"]
    down = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    await world.admin.patch("nodes", "n2", down, type="strategic", subresource="status")
    await world.until(lambda: not zones(world), "no hints")
    [message] = await world.until(lambda: told(world, "TopologyAwareHintsDisabled"))
    assert message == (
        "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes, addressType: IPv4"
    )


@pytest.mark.parametrize(
    ("pods", "nodes", "message"),
    [
        (1, {"n1": ("z1", "4"), "n2": ("z2", "4")}, "Insufficient number of endpoints (1 endpoints, 2 zones)"),
        (2, {"n1": ("z1", "4"), "n2": ("z2", "8")},
         "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold "
         "(2 endpoints, 2 zones)"),
        (2, {"n1": ("z1", "4"), "n2": ("", "4")},
         "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"),
    ],
)  # fmt: skip
async def test_why_there_are_no_hints(world: World, pods: int, nodes: dict[str, Any], message: str) -> None:
    for name, (zone, cpu) in nodes.items():
        await placed(world, name, zone, cpu)
    web = service(trafficDistribution="PreferClose")
    web["metadata"]["annotations"] = {"service.kubernetes.io/topology-aware-hints": "auto"}
    await create(world, "services", web)
    for number in range(pods):
        await create(world, "pods", pod(f"p{number}", "n1"))
        await says(world, f"p{number}", "True")
    await world.start(*NAMES)
    await world.until(lambda: told(world, "TopologyAwareHintsDisabled") == [f"{message}, addressType: IPv4"], "why")
    await world.settle()
    assert len(states(world)) == pods and not zones(world)


async def test_hints_end_with_the_annotation(world: World) -> None:
    await placed(world, "n1", "z1")
    await placed(world, "n2", "z2")
    web = service()
    web["metadata"]["annotations"] = {"service.kubernetes.io/topology-mode": "Auto"}
    await create(world, "services", web)
    for name, where in (("a", "n1"), ("b", "n2")):
        await create(world, "pods", pod(name, where))
        await says(world, name, "True")
    await world.start(*NAMES)
    await world.until(lambda: zones(world) == [("z1", "z1"), ("z2", "z2")], "hints")
    off = {"metadata": {"annotations": {"service.kubernetes.io/topology-mode": None}}}
    await world.admin.patch("services", "web", off, "default")
    await world.until(lambda: not zones(world), "no hints")
    said = "Topology Aware Hints has been disabled, addressType: IPv4"
    await world.until(lambda: told(world, "TopologyAwareHintsDisabled") == [said], "what is told")


async def test_a_pod_of_no_node_waits_for_its_node(world: World) -> None:
    await world.start(*NAMES)
    await create(world, "services", service())
    await create(world, "pods", pod("a", node="n9"))
    await says(world, "a", "True")
    (event, *_) = await world.until(lambda: world.events("FailedToUpdateEndpointSlices"))
    skipped = "skipping Pod a for Service default/web: Node n9 Not Found"
    assert event["message"] == f"Error updating Endpoint Slices for Service default/web: {skipped}"
    await world.admin.create("nodes", {"metadata": {"name": "n9"}})
    await world.until(lambda: "a" in states(world))


async def test_others_do_not_stay_in_the_way(world: World) -> None:
    await world.hollow()
    await world.start(*NAMES)
    await create(world, "services", service())
    await create(world, "pods", pod("a"))
    await world.until(lambda: "a" in states(world))
    name = slices(world)[0]["metadata"]["name"]
    await world.admin.delete("endpointslices", name, "default")
    await world.until(lambda: states(world) and slices(world)[0]["metadata"]["name"] != name, "made again")
    await world.admin.delete("endpoints", "web", "default")
    await world.until(lambda: (world.get("endpoints", "web") or {}).get("subsets"), "made again")
    await world.admin.patch("services", "web", {"metadata": {"labels": {"team": "b"}}}, "default")
    await world.until(lambda: slices(world)[0]["metadata"]["labels"]["team"] == "b")
    await world.until(lambda: (world.get("endpoints", "web") or {})["metadata"]["labels"]["team"] == "b")
    await world.admin.delete("services", "web", "default")
    await world.until(lambda: world.get("endpoints", "web") is None)


@pytest.mark.slow
async def test_many_pods_fill_slices_of_a_hundred(world: World) -> None:
    await world.hollow(3)
    await world.start(*NAMES)
    await create(world, "services", service())
    await asyncio.gather(*(create(world, "pods", pod(f"p{i}", f"n{i % 3 + 1}")) for i in range(130)))
    await world.until(lambda: sum(ready for ready, _, _ in states(world).values()) == 130, "all ready")
    await world.settle()
    before = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in slices(world)}
    assert sorted(len(item["endpoints"]) for item in slices(world)) == [30, 100]
    await world.admin.delete("pods", "p7", "default", grace_seconds=0)
    await world.until(lambda: "p7" not in states(world))
    await world.settle()
    after = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in slices(world)}
    assert sum(before[name] == version for name, version in after.items()) == 1, "the other slice is not written"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
async def test_a_crash_at_any_write_leaves_nothing_behind(world: World, at: int, after: bool) -> None:
    await world.hollow()
    await create(world, "services", service(ports=[{"port": 80, "targetPort": "http"}]))
    other = [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 9090}]}]
    world.wrap = lambda transport: Crashing(transport, at, after=after)
    await world.start(*NAMES)
    await create(world, "pods", pod("a"), pod("b", containers=other))
    await world.loop.advance(30)
    world.wrap = lambda transport: transport
    for name in NAMES:
        await world.stop(name)
    await world.start(*NAMES)
    await world.loop.advance(70)
    assert states(world) == {"a": (True, True, False), "b": (True, True, False)} and len(slices(world)) == 2
    assert len((world.get("endpoints", "web") or {})["subsets"]) == 2


# -- mirroring ---------------------------------------------------------------------------------------------------------


async def test_what_was_written_and_waited_for_wakes_at_once() -> None:
    """And what others write after a while."""
    woken: list[tuple[str, float]] = []
    tracker = SliceTracker()
    watch = SliceWatch(tracker, "us", lambda key, seconds: woken.append((key, seconds)), later=1.0)

    def version(number: int) -> Obj:
        labels = {SERVICE_NAME: "web", MANAGED_BY: "us"}
        meta = {"namespace": "default", "name": "web-x", "uid": "u", "labels": labels, "resourceVersion": str(number)}
        return {"metadata": meta}

    tracker.wrote("default/web", version(5))
    assert tracker.stale("default/web", [version(4)])
    watch.changed(version(4), version(5))
    assert woken == [("default/web", 0.0)] and not tracker.stale("default/web", [version(5)])
    tracker.wrote("default/web", version(7))
    watch.changed(version(5), version(7))  # ours, and nobody waits
    assert len(woken) == 1
    watch.changed(version(7), version(8))
    assert woken[1:] == [("default/web", 1.0)]


async def test_endpoints_of_no_service_are_whoevers_made_them(world: World) -> None:
    await world.start(*NAMES)
    await create(world, "endpoints", by_hand("192.0.2.1", name="web"))
    await world.settle()
    await world.admin.patch("endpoints", "web", {"metadata": {"labels": {"a": "b"}}}, "default")
    await world.settle()
    assert (world.get("endpoints", "web") or {})["metadata"]["labels"] == {"a": "b"}
    await create(world, "services", service())
    await world.settle()
    await world.admin.delete("services", "web", "default")
    await world.until(lambda: world.get("endpoints", "web") is None)


def by_hand(*addresses: str, **meta: Any) -> Obj:
    subset = {"addresses": [{"ip": ip} for ip in addresses], "ports": [{"name": "pg", "port": 5432}]}
    return {"metadata": {"name": "db", **meta}, "subsets": [subset]}


async def test_endpoints_made_by_hand_are_mirrored(world: World) -> None:
    await world.start(*NAMES)
    await create(world, "services", service("db", selector=None, ports=[{"port": 5432}]))
    noted = {"annotations": {"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}}
    await create(world, "endpoints", by_hand("192.0.2.1", "2001:db8::1", labels={"l": "v"}, **noted))
    await world.until(lambda: len(slices(world, "db")) == 2)
    found = {item["addressType"]: item for item in slices(world, "db")}
    assert found["IPv4"]["endpoints"] == [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}]
    assert found["IPv6"]["endpoints"][0]["addresses"] == ["2001:db8::1"]
    meta = found["IPv4"]["metadata"]
    assert meta["annotations"] == {"note": "x"} and meta["ownerReferences"][0]["kind"] == "Endpoints"
    manager = "endpointslicemirroring-controller.k8s.io"
    assert meta["labels"] == {
        "l": "v", "kubernetes.io/service-name": "db", "endpointslice.kubernetes.io/managed-by": manager,
    }  # fmt: skip
    new = by_hand("192.0.2.2")["subsets"]
    await world.admin.patch("endpoints", "db", {"subsets": new}, "default")
    await world.until(lambda: [s["endpoints"][0]["addresses"] for s in slices(world, "db")] == [["192.0.2.2"]])
    assert slices(world, "db")[0]["metadata"]["name"] == meta["name"]
    await world.admin.patch("endpoints", "db", {"metadata": {"labels": {"l": "w"}}}, "default")
    await world.until(lambda: slices(world, "db")[0]["metadata"]["labels"]["l"] == "w")
    skip = {"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}}
    await world.admin.patch("endpoints", "db", skip, "default")
    await world.until(lambda: not slices(world, "db"))


async def test_what_cannot_be_mirrored_is_told(world: World) -> None:
    await world.start(*NAMES)
    await create(world, "services", service("db", selector=None, ports=[{"port": 5432}]))
    many = [f"10.{i // 256}.{i % 256}.1" for i in range(1001)]
    await create(world, "endpoints", by_hand(*many))
    (event,) = await world.until(lambda: world.events("TooManyAddressesToMirror"))
    limit = "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset"
    assert event["message"] == f"{limit}. 1 addresses were skipped"
    await world.until(lambda: [len(item["endpoints"]) for item in slices(world, "db")] == [1000])


# -- by themselves -----------------------------------------------------------------------------------------------------


def endpoints(*numbers: int) -> list[Obj]:
    return [{"addresses": [f"10.0.0.{n}"], "conditions": {"ready": True}} for n in numbers]


def packed(existing: list[Obj], *wanted: int) -> tuple[list[int], list[int], list[str]]:
    """How large what is created and updated is; what is deleted."""
    desired = {endpoint_key(endpoint): endpoint for endpoint in endpoints(*wanted)}
    made = pack(existing, desired, {}, lambda slice_: False, lambda: {"metadata": {}, "endpoints": []})
    assert not desired
    sizes = ([len(item["endpoints"]) for item in part] for part in (made.create, made.update))
    return (*sizes, [item["metadata"]["name"] for item in made.delete])  # type: ignore[return-value]


def test_packing_writes_little() -> None:
    one = {"metadata": {"name": "one"}, "endpoints": endpoints(*range(60))}
    two = {"metadata": {"name": "two"}, "endpoints": endpoints(*range(60, 70))}
    assert packed([one, two], *range(70)) == ([], [], [])
    assert packed([one, two], *range(80)) == ([], [70], []), "the fullest that has room"
    assert packed([one, two], *range(130)) == ([], [70], []), "all of them go into one that is small enough"
    assert packed([one, two], *range(1, 80)) == ([], [69], []), "one that changes anyway"
    assert packed([one, two], *range(60)) == ([], [], ["two"])
    assert packed([], *range(250)) == ([100, 100, 50], [], [])


def test_truncation_prefers_ready_addresses() -> None:
    ready, unready = [{"ip": "a"}] * 900, [{"ip": "b"}] * 300
    (subset,) = truncated([{"addresses": ready, "notReadyAddresses": unready}])
    assert (len(subset["addresses"]), len(subset["notReadyAddresses"])) == (900, 100)
    first, second = truncated([{"addresses": ready, "notReadyAddresses": unready}, {"addresses": ready}])
    assert (len(first["addresses"]), len(second["addresses"])) == (500, 500) and "notReadyAddresses" not in first
    few = [{"addresses": ready}]
    assert truncated(few) is few
