"""What feature gates that upstream has turned on or off lately change for clients."""

from __future__ import annotations

import pytest

from tests.conftest import Local
from tests.validation import Change, Valid

WHOLE = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (WHOLE.format("v2") + ",application/json", "APIGroupDiscoveryList"),
        (",".join((WHOLE.format("v2"), WHOLE.format("v2beta1"), "application/json")), "APIGroupDiscoveryList"),
        (WHOLE.format("v2beta1") + ",application/json", "APIGroupList"),
        ("application/json," + WHOLE.format("v2"), "APIGroupList"),
    ],
)
async def test_discovery_as_a_whole_is_v2(api: Local, accept: str, kind: str) -> None:
    code, found = await api("GET", "/apis", accept=accept)
    assert code == 200 and found["kind"] == kind


# -- deletion of what cannot be read -----------------------------------------------------------------------------------

UNSAFE = "ignoreStoreReadErrorWithClusterBreakingPotential"
MAPS = "/api/v1/namespaces/default/configmaps"


async def test_what_can_be_read_is_not_deleted_unread(api: Local) -> None:
    await api("POST", MAPS, {"metadata": {"name": "a"}})
    said = f"{UNSAFE}: Invalid value: true: is exclusively used to delete corrupt object(s), try again by removing this option"
    for query, body in ((f"?{UNSAFE}=true", None), ("", {"kind": "DeleteOptions", "apiVersion": "v1", UNSAFE: True})):
        code, refused = await api("DELETE", f"{MAPS}/a{query}", body)
        assert (code, refused["message"]) == (422, f'configmaps "a" is invalid: {said}')
    code, refused = await api("DELETE", f"{MAPS}?{UNSAFE}=true")
    said = f"{UNSAFE}: Invalid value: true: is not allowed with DELETECOLLECTION, try again after removing the option"
    assert (code, refused["message"]) == (422, f'DeleteOptions.meta.k8s.io "" is invalid: {said}')
    code, refused = await api("DELETE", f"{MAPS}/a?{UNSAFE}=true&gracePeriodSeconds=0")
    said = f"{UNSAFE}: Invalid value: true: cannot be set together with .gracePeriodSeconds"
    assert (code, refused["message"]) == (422, f'DeleteOptions.meta.k8s.io "" is invalid: {said}')
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["delete"]}]
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    await api("POST", f"{rbac}/clusterroles", {"metadata": {"name": "r"}, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}
    await api(
        "POST", f"{rbac}/clusterrolebindings", {"metadata": {"name": "r"}, "roleRef": role, "subjects": [subject]}
    )
    code, refused = await api("DELETE", f"{MAPS}/a?{UNSAFE}=true", impersonate_user="ann")
    said = 'configmaps "a" is forbidden: not permitted to do "unsafe-delete-ignore-read-errors", reason: '
    assert (code, refused["message"]) == (403, said)
    assert (await api("DELETE", f"{MAPS}/a?{UNSAFE}=false", impersonate_user="ann"))[0] == 200


# -- addresses ---------------------------------------------------------------------------------------------------------

POD = {
    "containers": [{"name": "c", "image": "x"}],
    "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a"]}],
    "dnsConfig": {"nameservers": ["1.2.3.4"]},
}
SERVICE = {
    "spec": {
        "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"port": 80}],
    }
}
ENDPOINTS = {"subsets": [{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 1}]}]}
SLICE = {"addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4"]}], "ports": []}
POLICY = {
    "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}]}
}
INGRESS = {"spec": {"defaultBackend": {"service": {"name": "1s", "port": {"number": 1}}}}}
KINDS = {
    "pods": Valid("", "v1", "pods", {"spec": POD}),
    "services": Valid("", "v1", "services", SERVICE),
    "endpoints": Valid("", "v1", "endpoints", ENDPOINTS),
    "endpointslices": Valid("discovery.k8s.io", "v1", "endpointslices", SLICE),
    "networkpolicies": Valid("networking.k8s.io", "v1", "networkpolicies", POLICY),
    "nodes": Valid("", "v1", "nodes", {"spec": {"podCIDRs": ["10.0.0.0/24"]}}),
    "ingresses": Valid("networking.k8s.io", "v1", "ingresses", INGRESS),
}  # fmt: skip
ZEROS, MAPPED = "must not have leading 0s", "must not be an IPv4-mapped IPv6 address"
BITS = "must not have bits set beyond the prefix length"
BALANCED: Change = {"spec/type": "LoadBalancer"}

#: kind, field, a value nobody should write, where that is told, why
ADDRESSES: list[tuple[str, str, str, str, str]] = [
    ("pods", "spec/hostAliases/0/ip", "01.2.3.4", "spec.hostAliases[0].ip", ZEROS),
    ("pods", "spec/dnsConfig/nameservers/0", "::ffff:1.2.3.4", "spec.dnsConfig.nameservers[0]", MAPPED),
    ("services", "spec/externalIPs", "01.2.3.4", "spec.externalIPs[0]", ZEROS),
    ("services", "spec/loadBalancerSourceRanges", "1.2.3.4/24", "spec.LoadBalancerSourceRanges[0]", BITS),
    ("networkpolicies", "spec/ingress/0/from/0/ipBlock/cidr", "10.0.0.1/8", "spec.ingress[0].from[0].ipBlock.cidr", BITS),
    ("networkpolicies", "spec/ingress/0/from/0/ipBlock/except/0", "10.1.0.1/16", "spec.ingress[0].from[0].ipBlock.except[0]", BITS),
    ("endpoints", "subsets/0/addresses/0/ip", "01.2.3.4", "subsets[0].addresses[0].ip", ZEROS),
    ("endpointslices", "endpoints/0/addresses/0", "01.2.3.4", "endpoints[0].addresses[0]", ZEROS),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "field", "value", "where", "why"), ADDRESSES)
def test_addresses_are_unambiguous_and_what_is_there_may_stay(
    kind: str, field: str, value: str, where: str, why: str
) -> None:
    valid = KINDS[kind]
    change: Change = {field: [value] if field.endswith("s") else value}
    if "loadBalancer" in field:
        change = {**BALANCED, **change}
    said = f'{where}: Invalid value: "{value}": {why}'
    assert valid.errors(change) == [said]
    assert valid.update({"metadata/labels": {"a": "b"}}, change) == []


def test_ranges_of_networks_of_nodes() -> None:
    assert KINDS["nodes"].errors({"spec/podCIDRs": ["10.0.0.1/24"]}) == [
        f'spec.podCIDRs[0]: Invalid value: "10.0.0.1/24": {BITS}'
    ]


def test_addresses_in_a_status() -> None:
    odd = {"status/loadBalancer": {"ingress": [{"ip": "01.2.3.4", "ipMode": "VIP"}]}}
    for kind, more in (("services", BALANCED), ("ingresses", {})):
        said = KINDS[kind].status(odd, more)
        assert said == [f'status.loadBalancer.ingress[0].ip: Invalid value: "01.2.3.4": {ZEROS}']
        assert KINDS[kind].status({}, {**more, **odd}) == []
    pods = {"status/podIP": "01.2.3.4", "status/podIPs": [{"ip": "01.2.3.4"}]}
    assert KINDS["pods"].status(pods) == [f'status.podIPs[0]: Invalid value: "01.2.3.4": {ZEROS}']
    assert KINDS["pods"].status({"status/phase": "Running"}, pods) == []


def test_a_list_that_has_one_gets_no_other_odd_one() -> None:
    odd: Change = {"spec/externalIPs": ["01.2.3.4"]}
    assert KINDS["services"].update({"spec/externalIPs": ["5.6.7.8", "01.2.3.4"]}, odd) == []
    assert KINDS["services"].update({"spec/externalIPs": ["05.6.7.8", "01.2.3.4"]}, odd) == [
        f'spec.externalIPs[0]: Invalid value: "05.6.7.8": {ZEROS}'
    ]
