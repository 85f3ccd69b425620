"""From NetworkPolicies and pods to rules, without touching a network."""

from __future__ import annotations

from typing import Any

from sampan.network.policy import table
from sampan.network.policy.facts import Pod, pod_of
from sampan.network.policy.rules import Compiler, Table, merged

Obj = dict[str, Any]


def pod(name: int, node: str = "node", namespace: str = "default", **labels: str) -> Pod:
    return Pod(namespace, labels, f"10.0.0.{name}", node, (("web", "tcp", 8080 + name),))


def policy(name: str = "p", namespace: str = "default", **spec: Any) -> Obj:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": {}, **spec}}


def compiled(pods: list[Pod], *policies: Obj) -> Table:
    return Compiler(pods, {"default": {}, "other": {"team": "red"}}, "node").compile(policies)


def accepted(made: Table, direction: str) -> list[str]:
    """Rules of all policies, with the sets written out."""
    out = []
    for name, rules in made.chains.items():
        if name.startswith(direction):
            for rule in rules:
                for known, (_, elements) in made.sets.items():
                    rule = rule.replace(f"@{known}", "{" + ", ".join(sorted(elements)) + "}")
                out.append(rule)
    return out


def test_only_pods_of_this_node_are_guarded_and_all_are_peers() -> None:
    made = compiled([pod(1), pod(2, node="other")], policy(ingress=[{"from": [{"podSelector": {}}]}]))
    assert list(made.ways["ingress"]) == ["10.0.0.1"]
    assert made.ways["egress"] == {}
    assert accepted(made, "ingress") == ["ip saddr {10.0.0.1, 10.0.0.2} accept"]
    chain = made.ways["ingress"]["10.0.0.1"]
    assert made.chains[chain][-1] == "drop"


def test_deny_and_allow_all() -> None:
    assert accepted(compiled([pod(1)], policy(policyTypes=["Ingress", "Egress"])), "egress") == []
    assert accepted(compiled([pod(1)], policy(ingress=[{}])), "ingress") == ["accept"]
    both = compiled([pod(1)], policy("a"), policy("b", ingress=[{}]))
    assert len(both.chains[both.ways["ingress"]["10.0.0.1"]]) == 3


def test_peers() -> None:
    pods = [pod(1, app="web"), pod(2, app="db"), pod(3, namespace="other", app="web"), pod(4, namespace="other")]
    red = {"namespaceSelector": {"matchLabels": {"team": "red"}}}
    web = {"podSelector": {"matchLabels": {"app": "web"}}}
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.1.2.0/24"]}}

    def of(*peers: Obj) -> list[str]:
        return accepted(
            compiled(pods, policy(podSelector={"matchLabels": {"app": "db"}}, ingress=[{"from": list(peers)}])),
            "ingress",
        )

    assert of(web) == ["ip saddr {10.0.0.1} accept"]
    assert of(red) == ["ip saddr {10.0.0.3, 10.0.0.4} accept"]
    assert of({**red, **web}) == ["ip saddr {10.0.0.3} accept"]
    assert of({"namespaceSelector": {}}) == ["ip saddr {10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4} accept"]
    assert of(block, web) == ["ip saddr 10.0.0.0/8 ip saddr != { 10.1.0.0/16 } accept", "ip saddr {10.0.0.1} accept"]
    assert of({"ipBlock": {"cidr": "fd00::/8"}}) == []
    assert of({"ipBlock": {"cidr": "10.1.2.3/8"}}) == ["ip saddr 10.0.0.0/8 accept"]
    # what cannot be understood allows nothing
    assert of({"ipBlock": {"cidr": "10.0.0.0/99"}}, web) == []


def test_ports() -> None:
    def of(direction: str, ports: list[Obj], **rule: Any) -> list[str]:
        spec: Obj = {direction: [{"ports": ports, **rule}], "policyTypes": [direction.capitalize()]}
        return accepted(
            compiled([pod(1, app="web"), pod(2)], policy(**spec, podSelector={"matchLabels": {"app": "web"}})),
            direction,
        )

    assert of("ingress", [{"port": 80}, {"port": 80, "endPort": 90}, {"protocol": "UDP"}]) == [
        "meta l4proto . th dport @{tcp . 80-90, udp . 0-65535} accept".replace("@", "")
    ]
    assert of("ingress", [{"port": "web"}]) == ["ip daddr . meta l4proto . th dport {10.0.0.1 . tcp . 8081} accept"]
    assert of("egress", [{"port": "web"}]) == [
        "ip daddr . meta l4proto . th dport {10.0.0.1 . tcp . 8081, 10.0.0.2 . tcp . 8082} accept"
    ]
    assert of("egress", [{"port": "web"}], to=[{"podSelector": {}}, {"ipBlock": {"cidr": "9.0.0.0/8"}}])[0].startswith(
        "ip daddr 9"
    )
    assert of("ingress", [{"port": "none"}]) == ["ip daddr . meta l4proto . th dport {} accept"]
    assert merged([(5, 9), (1, 3), (4, 4), (20, 20)]) == [(1, 9), (20, 20)]


def test_a_pod_more_is_elements() -> None:
    rule = policy(ingress=[{"from": [{"podSelector": {}}], "ports": [{"port": "web"}]}])
    before, after = compiled([pod(1)], rule), compiled([pod(1), pod(2)], rule)
    assert before.structure() == after.structure()
    commands = sorted(table.change(before, after).splitlines())
    assert [line.split(" { ")[0].removeprefix("add element ip kube-policies ") for line in commands] == [
        "ingress", "named-1", "peers-0", "self",
    ]  # fmt: skip
    assert table.change(after, after) == ""
    assert compiled([pod(1)], policy(ingress=[{}])).structure() != before.structure()


def test_which_pods_count() -> None:
    made = {"metadata": {"name": "a", "namespace": "n"}, "spec": {"nodeName": "x", "containers": [
        {"name": "c", "ports": [{"name": "web", "containerPort": 80}, {"containerPort": 81}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "fd00::1"}, {"ip": "10.0.0.1"}]}}  # fmt: skip
    assert pod_of(made) == Pod("n", {}, "10.0.0.1", "x", (("web", "tcp", 80),))
    assert pod_of({**made, "spec": {**made["spec"], "hostNetwork": True}}) is None  # type: ignore[dict-item]
    assert pod_of({**made, "status": {"phase": "Pending"}}) is None
    assert pod_of({**made, "status": {**made["status"], "phase": "Succeeded"}}) is None  # type: ignore[dict-item]
