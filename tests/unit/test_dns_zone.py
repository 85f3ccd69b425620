"""Kubernetes' DNS specification, section by section: https://github.com/kubernetes/dns/blob/master/docs/specification.md"""

from __future__ import annotations

import pytest

from sampan.network.dns import mirror, wire
from sampan.network.dns.kubernetes import Kubernetes
from sampan.network.dns.plugin import Failed
from sampan.network.dns.wire import Query, Reply
from tests.dns import (
    MODIFIED,
    Answers,
    endpoint,
    endpoint_slice,
    kubernetes,
    question,
    service,
    texts,
    world,
)

SOA = f"cluster.local. 30 SOA ns.dns.cluster.local. hostmaster.cluster.local. {MODIFIED} 7200 1800 86400 30"
WORLD = world(
    services=[
        service("web", "10.96.0.80", ("http", 80), ("metrics", 9090)),
        service("both", "10.96.0.81", ("dns", 53, "UDP"), clusterIPs=["10.96.0.81", "fd00::51"]),
        service("db", "None", ("pg", 5432)),
        service("plain", "None"),
        service("empty", "None", ("x", 1)),
        service("lonely", "10.96.0.90", ("x", 1)),
        service("away", type="ExternalName", externalName="www.example.com"),
        service("near", type="ExternalName", externalName="web.default.svc.cluster.local"),
        service("far", type="ExternalName", externalName="near.default.svc.cluster.local."),
        service("lost", type="ExternalName", externalName="nobody.default.svc.cluster.local"),
        service("self", type="ExternalName", externalName="self.default.svc.cluster.local"),
        service("number", type="ExternalName", externalName="10.1.2.3"),
        service("outside", "10.96.0.91", ("x", 1), externalIPs=["192.0.2.7"]),
        service("kube-system/kube-dns", "10.96.0.10", ("dns", 53, "UDP"), ("dns-tcp", 53)),
    ],
    slices=[
        endpoint_slice("web", "a", [endpoint("10.244.0.5")], ("http", 8080), ("metrics", 9090)),
        endpoint_slice(
            "db",
            "a",
            [
                endpoint("10.244.0.6", hostname="db-0", pod="db-0"),
                endpoint("10.244.0.7", hostname="db-1", pod="db-1"),
                endpoint("10.244.0.8", ready=False),
            ],
            ("pg", 5432),
        ),
        endpoint_slice("db", "b", [endpoint("10.244.1.9", pod="db-x", ready=None)], ("pg", 5432)),
        endpoint_slice("db", "c", [endpoint("fd00::9", hostname="db-0")], ("pg", 5432)),
        endpoint_slice("plain", "a", [endpoint("10.244.0.11", hostname="one")]),
        endpoint_slice("kube-system/kube-dns", "a", [endpoint("10.244.0.2")], ("dns", 53, "UDP")),
    ],
)


async def ask(name: str, kind: str = "A", plugin: Kubernetes | None = None) -> Reply:
    suffix = "" if name.endswith(".") else ".svc.cluster.local."
    return await (plugin or kubernetes(WORLD)).serve(question(name + suffix, kind))


async def answer(name: str, kind: str = "A", plugin: Kubernetes | None = None) -> list[str]:
    """Data alone, of all sections but the authority."""
    reply = await ask(name, kind, plugin)
    assert reply.rcode == wire.NOERROR and reply.authoritative and reply.lasts > 0
    return [text.split(" ", 2)[2] for text in texts([*reply.answer, *reply.additional])]


async def test_2_1_version() -> None:
    reply = await ask("dns-version.cluster.local.", "TXT")
    assert texts(reply.answer) == ['dns-version.cluster.local. 28800 TXT "1.1.0"']


async def test_2_3_1_addresses_of_a_cluster_ip() -> None:
    reply = await ask("web.default")
    assert texts(reply.answer) == ["web.default.svc.cluster.local. 30 A 10.96.0.80"]
    assert await answer("both.default") == ["A 10.96.0.81"] and await answer("both.default", "AAAA") == [
        "AAAA fd00::51"
    ]
    # with and without endpoints, and in any spelling
    assert await answer("lonely.default") == ["A 10.96.0.90"]
    assert texts((await ask("WEB.Default.SVC.cluster.LOCAL.")).answer) == [
        "WEB.Default.SVC.cluster.LOCAL. 30 A 10.96.0.80"
    ]


async def test_2_3_2_services_of_a_cluster_ip() -> None:
    assert await answer("_http._tcp.web.default", "SRV") == [
        "SRV 0 100 80 web.default.svc.cluster.local.",
        "A 10.96.0.80",
    ]
    # without port and protocol: all of them, each with its part of the weight
    assert await answer("web.default", "SRV") == [
        "SRV 0 50 80 web.default.svc.cluster.local.",
        "SRV 0 50 9090 web.default.svc.cluster.local.",
        "A 10.96.0.80",
    ]
    assert await answer("_dns._udp.both.default", "SRV") == [
        "SRV 0 50 53 both.default.svc.cluster.local.",
        "A 10.96.0.81",
        "AAAA fd00::51",
    ]
    assert (await ask("_http._udp.web.default", "SRV")).rcode == wire.NXDOMAIN
    assert (await ask("_https._tcp.web.default", "SRV")).rcode == wire.NXDOMAIN


@pytest.mark.parametrize(
    ("name", "pointer"),
    [
        ("80.0.96.10.in-addr.arpa.", ["web.default.svc.cluster.local."]),
        ("6.0.244.10.in-addr.arpa.", ["db-0.db.default.svc.cluster.local."]),
        ("9.1.244.10.in-addr.arpa.", ["10-244-1-9.db.default.svc.cluster.local."]),
        ("7.2.0.192.in-addr.arpa.", ["outside.default.svc.cluster.local."]),
        ("9" + ".0" * 27 + ".0.0.d.f.ip6.arpa.", ["db-0.db.default.svc.cluster.local."]),
    ],
)
async def test_2_3_3_and_2_4_3_pointers(name: str, pointer: list[str]) -> None:
    assert await answer(name, "PTR") == [f"PTR {each}" for each in pointer]


async def test_2_4_1_addresses_of_a_headless_service() -> None:
    assert await answer("db.default") == ["A 10.244.0.6", "A 10.244.0.7", "A 10.244.1.9"]
    assert await answer("db.default", "AAAA") == ["AAAA fd00::9"]
    # each endpoint by its hostname, or by its address
    assert await answer("db-0.db.default") == ["A 10.244.0.6"]
    assert await answer("10-244-1-9.db.default") == ["A 10.244.1.9"]
    for nobody in ("empty.default", "db-2.db.default", "10-244-0-8.db.default", "10-244-0-6.db.default"):
        assert (await ask(nobody)).rcode == wire.NXDOMAIN
    named = kubernetes(WORLD, pod_names=True)
    assert await answer("db-x.db.default", plugin=named) == ["A 10.244.1.9"]
    # an endpoint of a Service with a cluster IP has a name, too
    assert await answer("10-244-0-5.web.default") == ["A 10.244.0.5"]


async def test_2_4_2_services_of_a_headless_service() -> None:
    assert await answer("_pg._tcp.db.default", "SRV") == [
        "SRV 0 25 5432 db-0.db.default.svc.cluster.local.",
        "SRV 0 25 5432 db-1.db.default.svc.cluster.local.",
        "SRV 0 25 5432 10-244-1-9.db.default.svc.cluster.local.",
        "A 10.244.0.6",
        "A 10.244.0.7",
        "A 10.244.1.9",
        "AAAA fd00::9",
    ]
    # without ports there are addresses, and nothing for SRV
    assert await answer("plain.default") == ["A 10.244.0.11"] and await answer("one.plain.default") == ["A 10.244.0.11"]
    assert await answer("plain.default", "SRV") == []


async def test_2_5_external_names() -> None:
    async def lookup(query: Query) -> Reply:
        assert query.key == "www.example.com." and query.depth == 1
        return Reply(answer=[wire.address(query.name, 60, "192.0.2.1")])

    plugin = kubernetes(WORLD, lookup=lookup)
    reply = await ask("away.default", plugin=plugin)
    assert texts(reply.answer) == [
        "away.default.svc.cluster.local. 30 CNAME www.example.com.",
        "www.example.com. 60 A 192.0.2.1",
    ]
    assert reply.lasts == 0  # as long as others say
    assert await answer("away.default", "CNAME") == ["CNAME www.example.com."]
    assert await answer("near.default") == ["CNAME web.default.svc.cluster.local.", "A 10.96.0.80"]
    assert await answer("far.default") == [
        "CNAME near.default.svc.cluster.local.",
        "CNAME web.default.svc.cluster.local.",
        "A 10.96.0.80",
    ]
    # what leads nowhere, or round, is a name without addresses; a number is no name
    for name in ("lost.default", "self.default"):
        assert await answer(name) == []
    assert (await ask("number.default")).rcode == wire.NXDOMAIN
    assert await answer("away.default", "SRV", plugin) == []


async def test_a_name_that_leads_to_somebody_who_is_away() -> None:
    async def lookup(query: Query) -> Reply:
        raise Failed(wire.SERVFAIL, "i/o timeout")

    with pytest.raises(Failed):
        await ask("away.default", plugin=kubernetes(WORLD, lookup=lookup))


@pytest.mark.parametrize(
    ("mode", "name", "found"),
    [
        ("insecure", "10-1-2-3.default.pod.cluster.local.", "10.1.2.3"),
        ("insecure", "fd00--7.default.pod.cluster.local.", "fd00::7"),
        ("insecure", "10-1-2-3.nowhere.pod.cluster.local.", None),
        ("insecure", "10-1-2.default.pod.cluster.local.", None),
        ("insecure", "web.default.pod.cluster.local.", None),
        ("verified", "10-244-0-5.default.pod.cluster.local.", "10.244.0.5"),
        ("verified", "10-244-0-5.kube-system.pod.cluster.local.", None),
        ("verified", "10-1-2-3.default.pod.cluster.local.", None),
        ("disabled", "10-244-0-5.default.pod.cluster.local.", None),
    ],
)
async def test_pods_by_address(mode: str, name: str, found: str | None) -> None:
    here = world()
    here.put_pod({"metadata": {"name": "p", "namespace": "default"}, "status": {"podIPs": [{"ip": "10.244.0.5"}]}})
    kind = "AAAA" if found and ":" in found else "A"
    reply = await kubernetes(here, pods=mode).serve(question(name, kind))
    assert (reply.rcode == wire.NXDOMAIN) is (found is None)
    assert [wire.ip(record) for record in reply.answer] == ([found] if found else [])


@pytest.mark.parametrize(
    ("name", "kind", "rcode"),
    [
        # there, but nothing of this kind
        ("web.default.svc.cluster.local.", "AAAA", wire.NOERROR),
        ("web.default.svc.cluster.local.", "TXT", wire.NOERROR),
        ("web.default.svc.cluster.local.", "MX", wire.NOERROR),
        ("web.default.svc.cluster.local.", "CNAME", wire.NOERROR),
        ("web.default.svc.cluster.local.", "PTR", wire.NOERROR),
        ("default.svc.cluster.local.", "A", wire.NOERROR),
        ("kube-system.pod.cluster.local.", "A", wire.NOERROR),
        ("svc.cluster.local.", "A", wire.NOERROR),
        ("pod.cluster.local.", "A", wire.NOERROR),
        ("cluster.local.", "A", wire.NOERROR),
        # not there
        ("nobody.default.svc.cluster.local.", "A", wire.NXDOMAIN),
        ("nobody.default.svc.cluster.local.", "MX", wire.NXDOMAIN),
        ("web.nowhere.svc.cluster.local.", "A", wire.NXDOMAIN),
        ("nowhere.svc.cluster.local.", "A", wire.NXDOMAIN),
        ("web.default.cluster.local.", "A", wire.NXDOMAIN),
        ("a.b.c.web.default.svc.cluster.local.", "A", wire.NXDOMAIN),
        ("www.example.com.default.svc.cluster.local.", "A", wire.NXDOMAIN),
    ],
)
async def test_nothing_and_no_name(name: str, kind: str, rcode: int) -> None:
    reply = await ask(name, kind)
    assert reply.rcode == rcode and not reply.answer and reply.authoritative
    assert texts(reply.authority) == [SOA] and reply.lasts > 0


async def test_search_path_of_a_pod() -> None:
    """What a resolver with ndots 5 asks for `web.kube-system` in namespace default."""
    plugin = kubernetes(world(services=[service("kube-system/web", "10.96.0.3", ("x", 1))]))
    rcodes = [
        (await ask(f"web.kube-system{rest}.", plugin=plugin)).rcode
        for rest in (".default.svc.cluster.local", ".svc.cluster.local")
    ]
    assert rcodes == [wire.NXDOMAIN, wire.NOERROR]


async def test_the_zone_itself() -> None:
    own = kubernetes(WORLD, local=["10.244.0.2"])
    assert texts((await ask("cluster.local.", "SOA")).answer) == [SOA]
    assert await answer("cluster.local.", "NS", own) == ["NS kube-dns.kube-system.svc.cluster.local.", "A 10.96.0.10"]
    assert await answer("ns.dns.cluster.local.", plugin=own) == ["A 10.96.0.10"]
    alone = kubernetes(world(), local=["192.0.2.2"])
    assert await answer("cluster.local.", "NS", alone) == ["NS ns.dns.cluster.local.", "A 192.0.2.2"]


async def test_names_of_others_go_on() -> None:
    plugin = kubernetes(WORLD, through=("in-addr.arpa.", "ip6.arpa."))
    plugin.next = last = Answers(lambda query: Reply())
    for name, kind in (("example.com.", "A"), ("1.1.1.1.in-addr.arpa.", "PTR"), ("80.0.96.10.in-addr.arpa.", "PTR")):
        await ask(name, kind, plugin)
    await ask("nobody.default", plugin=plugin)
    assert last.asked == ["example.com. A", "1.1.1.1.in-addr.arpa. PTR"]
    # without that, what is not known in reverse is not there
    assert (await ask("1.1.1.1.in-addr.arpa.", "PTR")).rcode == wire.NXDOMAIN


async def test_namespaces_that_are_shown() -> None:
    plugin = kubernetes(WORLD, namespaces=frozenset({"kube-system"}))
    assert await answer("kube-dns.kube-system", plugin=plugin) == ["A 10.96.0.10"]
    assert (await ask("web.default", plugin=plugin)).rcode == wire.NXDOMAIN
    assert (await ask("80.0.96.10.in-addr.arpa.", "PTR", plugin)).rcode == wire.NXDOMAIN


async def test_services_without_endpoints_on_demand() -> None:
    plugin = kubernetes(WORLD, ignore_empty=True)
    assert (await ask("lonely.default", plugin=plugin)).rcode == wire.NXDOMAIN
    assert await answer("web.default", plugin=plugin) == ["A 10.96.0.80"]


async def test_the_world_turns() -> None:
    here = world(services=[service("web", "10.96.0.80", ("http", 80))])
    plugin = kubernetes(here)
    before = here.epoch
    here.put_service(service("web", "10.96.0.80", ("http", 80)))
    assert here.epoch == before
    here.put_service(service("web", "10.96.0.82", ("http", 80)))
    assert here.epoch > before and await answer("web.default", plugin=plugin) == ["A 10.96.0.82"]
    assert (await ask("80.0.96.10.in-addr.arpa.", "PTR", plugin)).rcode == wire.NXDOMAIN
    here.put_slice(endpoint_slice("web", "a", [endpoint("10.244.0.5"), endpoint("10.244.0.6")], ("http", 80)))
    here.put_slice(endpoint_slice("web", "a", [endpoint("10.244.0.6")], ("http", 80)))
    assert (await ask("5.0.244.10.in-addr.arpa.", "PTR", plugin)).rcode == wire.NXDOMAIN
    assert await answer("6.0.244.10.in-addr.arpa.", "PTR", plugin)
    here.remove_slice(endpoint_slice("web", "a", []))
    here.remove_service(service("web"))
    here.remove_namespace({"metadata": {"name": "default"}})
    assert (await ask("default.svc.cluster.local.", plugin=plugin)).rcode == wire.NXDOMAIN
    assert not here.services and not here.slices_of("default/web") and not here.services_at("10.96.0.82")


async def test_the_world_as_the_api_has_it() -> None:
    """What is kept of an object says as much as the object."""
    services = [
        service(
            "web", "10.96.0.80", ("http", 80), ("dns", 53, "UDP"), externalIPs=["192.0.2.7"], sessionAffinity="None"
        ),
        service("db", "None", ("pg", 5432)),
        service("away", type="ExternalName", externalName="www.example.com", clusterIP=""),
        service("both", "10.96.0.81", ("x", 1), clusterIPs=["10.96.0.81", "fd00::51"]),
    ]
    slices = [
        endpoint_slice(
            "db", "a", [endpoint("10.244.0.6", hostname="db-0", pod="db-0"), endpoint("10.244.0.7", ready=False)]
        ),
        endpoint_slice(
            "web", "a", [endpoint("10.244.0.5", ready=None, pod="x" * 70)], ("http", 8080), ("dns", 53, "UDP")
        ),
    ]
    whole = world(services=services, slices=slices)
    cut = world(services=[mirror._service(each) for each in services], slices=[mirror._slice(each) for each in slices])
    assert whole.services == cut.services
    for name in ("default/db", "default/web"):
        assert whole.slices_of(name) == cut.slices_of(name) != []
