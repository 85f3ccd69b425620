"""From Services and EndpointSlices to transactions for nftables, and what of the kernel's memory they contradict."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.network.conntrack import Flow
from sampan.network.proxy import flows, model
from sampan.network.proxy.frontends import frontends
from sampan.network.proxy.health import Health
from sampan.network.proxy.options import Options, OptionsError, endpoint, from_file, mode, seconds
from sampan.network.proxy.ruleset import Ruleset, Wanted

Obj = dict[str, Any]


def service(ip: str = "10.96.0.5", **spec: Any) -> Obj:
    given = {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "web", "port": 80, "protocol": "TCP"}], **spec}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": given}


def slice_of(*endpoints: str | Obj, node: str = "node", family: str = "IPv4") -> Obj:
    every = [
        {"addresses": [each], "conditions": {}, "nodeName": node} if isinstance(each, str) else each
        for each in endpoints
    ]
    return {"addressType": family, "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}], "endpoints": every}


def wanted(service_: Obj, *slices: Obj) -> Wanted:
    ports = model.ports_of(service_, slices, "node")
    return Wanted(tuple(each for port in ports for each in frontends(port)), frozenset(model.local_ips(slices, "node")))


def elements(service_: Obj, *slices: Obj) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for frontend in wanted(service_, *slices).frontends:
        for name, key, value in frontend.elements:
            out.setdefault(name, []).append(f"{key} : {value}" if value else key)
    return out


def test_a_cluster_ip_is_one_verdict_and_an_element_for_each_endpoint() -> None:
    assert elements(service(), slice_of("10.0.0.2", "10.0.0.1"), slice_of("fd00::1", family="IPv6")) == {
        "services": ["10.96.0.5 . tcp . 80 : goto cluster-2"],
        "to-cluster-2": ["10.96.0.5 . tcp . 80 . 0 : 10.0.0.1 . 8080", "10.96.0.5 . tcp . 80 . 1 : 10.0.0.2 . 8080"],
    }
    assert elements(service()) == {"refused": ["10.96.0.5 . tcp . 80"]}
    assert elements(service(internalTrafficPolicy="Local"), slice_of("10.0.0.1", node="other")) == {
        "dropped": ["10.96.0.5 . tcp . 80"]
    }


def test_local_traffic_policy_has_a_short_way_for_those_inside() -> None:
    spec: Obj = {"type": "NodePort", "externalTrafficPolicy": "Local", "externalIPs": ["9.9.9.9"],
            "ports": [{"name": "web", "port": 80, "nodePort": 30080}]}  # fmt: skip
    found = elements(service(**spec), slice_of("10.0.0.1"), slice_of("10.0.0.2", node="other"))
    assert found["services"] == ["10.96.0.5 . tcp . 80 : goto cluster-2", "9.9.9.9 . tcp . 80 : goto local-1"]
    assert found["short"] == ["9.9.9.9 . tcp . 80 : goto short-2"]
    assert found["nodeports"] == ["tcp . 30080 : goto nodelocal-1"]
    assert found["nodeports-short"] == ["tcp . 30080 : goto nodeshort-2"]
    elsewhere = elements(service(**spec), slice_of("10.0.0.2", node="other"))
    assert elsewhere["dropped-outside"] == ["9.9.9.9 . tcp . 80"]
    assert elsewhere["dropped-ports"] == ["tcp . 30080"]
    assert elements(service(**spec))["refused-ports"] == ["tcp . 30080"]


def test_a_guarded_balancer_and_remembered_clients() -> None:
    made = service(type="LoadBalancer", loadBalancerSourceRanges=["10.1.0.0/16", "10.1.2.0/24", "fd00::/8"],
                   sessionAffinity="ClientIP", ports=[{"name": "web", "port": 80, "nodePort": 30080}])  # fmt: skip
    made["status"] = {
        "loadBalancer": {"ingress": [{"ip": "9.9.9.9"}, {"ip": "9.9.9.8", "ipMode": "Proxy"}, {"hostname": "x"}]}
    }
    found = elements(made, slice_of("10.0.0.1"))
    assert found["guarded"] == ["9.9.9.9 . tcp . 80"]
    assert found["allowed"] == ["10.1.0.0/16 . 9.9.9.9 . tcp . 80"]
    assert found["affine-ips-10800"] == ["10.96.0.5 . tcp . 80", "9.9.9.9 . tcp . 80"]
    assert found["affine-ports-10800"] == ["tcp . 30080"]
    assert "9.9.9.9 . tcp . 80 : goto external-affine-1" in found["services"]


@pytest.mark.parametrize(
    ("conditions", "used"),
    [
        ([{}, {"ready": False}], {0}),
        ([{"ready": False, "serving": True, "terminating": True}, {"ready": True}], {1}),
        ([{"ready": False, "serving": True, "terminating": True}, {"ready": False, "serving": True}], {0}),
        ([{"ready": False, "serving": False, "terminating": True}], set()),
        ([{"ready": None, "serving": None}], {0}),
    ],
)
def test_which_endpoints_are_used(conditions: list[Obj], used: set[int]) -> None:
    every = [{"addresses": [f"10.0.0.{number}"], "conditions": each} for number, each in enumerate(conditions)]
    (port,) = model.ports_of(service(), [slice_of(*every)], "node")
    assert {each.ip for each in port.usable.everywhere} == {f"10.0.0.{number}" for number in used}


def test_a_load_balancer_is_told_of_no_endpoint_that_ends() -> None:
    ending: Obj = {"ready": False, "serving": True, "terminating": True}
    here = {"addresses": ["10.0.0.1"], "conditions": ending, "nodeName": "node"}
    (port,) = model.ports_of(service(), [slice_of(here)], "node")
    assert [each.ip for each in port.usable.here] == ["10.0.0.1"]
    assert model.ready_here([slice_of(here)], "node") == set()
    assert model.ready_here([slice_of("10.0.0.2", here), slice_of("10.0.0.3", node="other")], "node") == {"10.0.0.2"}


def test_who_is_not_served() -> None:
    assert model.is_served(service())
    assert not model.is_served(service("None"))
    assert not model.is_served(service("", type="ExternalName"))
    assert not model.is_served({**service(), "metadata": {"labels": {model.PROXY_NAME: "other"}}})


def test_a_change_is_elements_and_a_new_number_a_chain() -> None:
    rules = Ruleset(cluster=IPv4Network("10.0.0.0/8"))
    rules.program()
    first = rules.change({"default/web": wanted(service(), slice_of("10.0.0.1"))})
    assert "chain cluster-1" in first.text
    assert first.moved == {"10.96.0.5 . tcp . 80": frozenset({"10.0.0.1 . 8080"})}
    more = rules.change({"default/web": wanted(service(), slice_of("10.0.0.1", "10.0.0.2"))})
    assert [line for line in more.text.splitlines() if " element " in line and "hairpin" not in line] == [
        "delete element ip kube-proxy services { 10.96.0.5 . tcp . 80 }",
        "delete element ip kube-proxy to-cluster-1 { 10.96.0.5 . tcp . 80 . 0 }",
        "add element ip kube-proxy services { 10.96.0.5 . tcp . 80 : goto cluster-2 }",
        "add element ip kube-proxy to-cluster-2 { 10.96.0.5 . tcp . 80 . 0 : 10.0.0.1 . 8080, "
        "10.96.0.5 . tcp . 80 . 1 : 10.0.0.2 . 8080 }",
    ]
    assert not more.moved  # nobody has to go elsewhere
    same = rules.change({"default/web": wanted(service(), slice_of("10.0.0.1", "10.0.0.3"))})
    assert sorted(same.text.splitlines(), key=lambda line: (not line.startswith("delete"), "hairpin" in line)) == [
        "delete element ip kube-proxy to-cluster-2 { 10.96.0.5 . tcp . 80 . 1 }",
        "delete element ip kube-proxy hairpin { 10.0.0.2 . 10.0.0.2 }",
        "add element ip kube-proxy to-cluster-2 { 10.96.0.5 . tcp . 80 . 1 : 10.0.0.3 . 8080 }",
        "add element ip kube-proxy hairpin { 10.0.0.3 . 10.0.0.3 }",
    ]
    assert set(same.moved) == {"10.96.0.5 . tcp . 80"}
    assert rules.change({"default/web": wanted(service(), slice_of("10.0.0.1", "10.0.0.3"))}).text == ""
    gone = rules.change({"default/web": None})
    assert "add element" not in gone.text
    assert gone.moved == {"10.96.0.5 . tcp . 80": frozenset()}
    assert rules.program().count("10.96.0.5") == 0


def test_the_number_of_rules_does_not_grow_with_services() -> None:
    def lines(count: int) -> int:
        rules = Ruleset(cluster=IPv4Network("10.0.0.0/8"))
        rules.change(
            {f"default/{n}": wanted(service(f"10.96.0.{n}"), slice_of("10.0.0.1", "10.0.0.2")) for n in range(count)}
        )
        return len(rules.program().splitlines())

    assert lines(1) == lines(200)


def test_of_two_claims_the_first_counts_until_it_goes() -> None:
    rules = Ruleset()
    one = wanted(service(externalIPs=["9.9.9.9"]), slice_of("10.0.0.1"))
    two = wanted(service("10.96.0.6", externalIPs=["9.9.9.9"]), slice_of("10.0.0.2"))
    rules.change({"a/one": one})
    assert "9.9.9.9" not in rules.change({"a/two": two}).text
    text = rules.change({"a/one": None}).text
    assert "9.9.9.9 . tcp . 80 . 0 : 10.0.0.2 . 8080" in text
    assert rules.endpoints()["9.9.9.9 . tcp . 80"] == {"10.0.0.2 . 8080"}


_SPEC = st.fixed_dictionaries(
    {"endpoints": st.sets(st.integers(1, 4)), "external": st.sets(st.sampled_from("78")), "gone": st.booleans()}
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), _SPEC), max_size=12))
def test_changes_one_by_one_end_where_all_at_once_would(steps: list[tuple[int, Obj]]) -> None:
    """Of what a transaction says: nothing is deleted that is not there, nothing added that is."""
    rules = Ruleset()
    kernel: dict[tuple[str, str], str] = {}
    rules.program()
    for number, spec in steps:
        made = service(f"10.96.0.{number}", externalIPs=[f"9.9.9.{each}" for each in sorted(spec["external"])])
        now = wanted(made, slice_of(*(f"10.0.0.{each}" for each in spec["endpoints"])))
        for line in rules.change({f"a/{number}": None if spec["gone"] else now}).text.splitlines():
            words = line.split(" ", 5)
            if words[1:3] != ["element", "ip"]:
                continue
            for each in words[5].removeprefix("{ ").removesuffix(" }").split(", "):
                key, _, value = each.partition(" : ")
                if words[0] == "delete":
                    del kernel[words[4], key]
                else:
                    assert (words[4], key) not in kernel
                    kernel[words[4], key] = value
    whole: dict[tuple[str, str], str] = {}
    for line in rules.program().splitlines():
        words = line.split(" ", 5)
        if words[:3] == ["add", "element", "ip"]:
            for each in words[5].removeprefix("{ ").removesuffix(" }").split(", "):
                key, _, value = each.partition(" : ")
                whole[words[4], key] = value
    assert kernel == whole


def flow(to: str, port: int, by: str, by_port: int) -> Flow:
    return Flow(IPv4Address("10.0.0.9"), IPv4Address(to), port, IPv4Address(by), by_port, b"")


def test_flows_to_what_is_no_endpoint_are_stale() -> None:
    moved = {"10.96.0.10 . udp . 53": frozenset({"10.0.0.1 . 5353"}), "udp . 30053": frozenset({"10.0.0.1 . 5353"}),
             "10.96.0.10 . tcp . 53": frozenset[str]()}  # fmt: skip
    is_stale = flows.stale(moved, [IPv4Address("192.0.2.1")])
    assert not is_stale(flow("10.96.0.10", 53, "10.0.0.1", 5353))
    assert is_stale(flow("10.96.0.10", 53, "10.0.0.2", 5353))
    assert is_stale(flow("10.96.0.10", 53, "10.96.0.10", 53))  # from before there was an endpoint
    assert is_stale(flow("192.0.2.1", 30053, "10.0.0.2", 5353))
    assert is_stale(flow("127.0.0.1", 30053, "10.0.0.2", 5353))
    assert not is_stale(flow("192.0.2.9", 30053, "192.0.2.9", 30053))  # another node's
    assert not is_stale(flow("10.96.0.11", 53, "10.0.0.2", 5353))


def test_clients_are_forgotten_with_their_endpoint() -> None:
    def element(client: str, ip: str, endpoint_: str) -> Any:
        key = {"elem": {"val": {"concat": [client, ip, "tcp", 80]}, "timeout": 600, "expires": 599}}
        return [key, {"concat": [endpoint_, 8080]}]

    listed = [{"map": {"elem": [element("1.1.1.1", "10.96.0.5", "10.0.0.1"), element("1.1.1.2", "10.96.0.5", "10.0.0.2"),
                                element("1.1.1.3", "10.96.0.6", "10.0.0.1")]}}]  # fmt: skip
    moved = {"10.96.0.5 . tcp . 80": frozenset({"10.0.0.2 . 8080"})}
    assert flows.forgotten(listed, moved) == ["1.1.1.1 . 10.96.0.5 . tcp . 80"]


async def test_health_is_about_changes_that_wait_too_long() -> None:
    now, wall = 100.0, 1_700_000_000.0
    health = Health(lambda: wall, lambda: now, lambda: "")

    def ask(path: str) -> tuple[int, bytes]:
        class Asked:
            raw_path = path

        reply = health(Asked())  # type: ignore[arg-type]
        assert isinstance(reply.body, bytes)
        return reply.code, reply.body

    assert ask("/healthz") == (
        200, b'{"lastUpdated": "2023-11-14T22:13:20Z","currentTime": "2023-11-14T22:13:20Z","nodeEligible": true}',
    )  # fmt: skip
    health.queued()
    now += 61
    assert ask("/livez")[0] == 503
    health.synced()
    assert ask("/livez")[0] == 200
    health.node({"metadata": {"name": "node", "deletionTimestamp": "x"}})
    assert ask("/healthz")[0] == 503
    assert ask("/livez")[0] == 200
    assert ask("/else")[0] == 404
    await asyncio.sleep(0)


def test_options() -> None:
    assert endpoint("0.0.0.0:1", 2) == ("0.0.0.0", 1)
    assert endpoint("127.0.0.1", 2) == ("127.0.0.1", 2)
    assert endpoint("", 2) == ("", 0)
    assert [seconds(text) for text in ("500ms", "1m30s", "0s", "1.5h")] == [0.5, 90.0, 0.0, 5400.0]
    assert Options("n").health == ("0.0.0.0", 10256)
    for wrong in (lambda: mode("ipvs"), lambda: seconds("1 day"), lambda: endpoint("x:y", 1)):
        with pytest.raises(OptionsError):
            wrong()


def test_kubeadms_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.conf").write_text("""
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
clientConnection: {kubeconfig: /var/lib/kube-proxy/kubeconfig.conf}
clusterCIDR: 10.244.0.0/16,fd00::/48
healthzBindAddress: ""
hostnameOverride: ""
metricsBindAddress: 0.0.0.0
mode: ""
nftables: {masqueradeAll: true, masqueradeBit: null, minSyncPeriod: 1s, syncPeriod: 0s}
nodePortAddresses: null
""")
    assert from_file(tmp_path / "config.conf") == {
        "kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf", "cluster_cidr": IPv4Network("10.244.0.0/16"),
        "metrics": ("0.0.0.0", 10249), "masquerade_all": True, "min_sync_seconds": 1.0,
    }  # fmt: skip
    for text in ("kind: Pod", "[", "kind: KubeProxyConfiguration\nmode: ipvs"):
        (tmp_path / "config.conf").write_text(text)
        with pytest.raises(OptionsError):
            from_file(tmp_path / "config.conf")
