"""For tests of the DNS server: a small world, questions, answers as text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from sampan.network.dns import wire
from sampan.network.dns.kubernetes import Kubernetes
from sampan.network.dns.plugin import Plugin
from sampan.network.dns.wire import Query, Record, Reply
from sampan.network.dns.world import World
from sampan.network.dns.zone import Options

Obj = dict[str, Any]
MODIFIED = 1_700_000_000


def service(name: str, ip: str = "", *ports: tuple[str, int] | tuple[str, int, str], **spec: Any) -> Obj:
    """`ip` "None": headless. Ports: name, number, protocol."""
    found = [{"name": each[0], "port": each[1], "protocol": (*each, "TCP")[2]} for each in ports]
    ips = {"clusterIP": ip, "clusterIPs": [ip]} if ip else {}
    namespace, _, short = name.rpartition("/")
    meta = {"name": short, "namespace": namespace or "default"}
    return {"metadata": meta, "spec": {"type": "ClusterIP", "ports": found, **ips, **spec}}


def endpoint(*addresses: str, hostname: str = "", ready: bool | None = True, pod: str = "") -> Obj:
    out: Obj = {"addresses": list(addresses), "conditions": {"ready": ready}}
    if hostname:
        out["hostname"] = hostname
    if pod:
        out["targetRef"] = {"kind": "Pod", "name": pod}
    return out


def endpoint_slice(
    of: str, suffix: str, endpoints: Sequence[Obj], *ports: tuple[str, int] | tuple[str, int, str]
) -> Obj:
    namespace, _, name = of.rpartition("/")
    meta = {
        "name": f"{name}-{suffix}",
        "namespace": namespace or "default",
        "labels": {"kubernetes.io/service-name": name},
    }
    found = [{"name": each[0], "port": each[1], "protocol": (*each, "TCP")[2]} for each in ports]
    return {"metadata": meta, "endpoints": list(endpoints), "ports": found}


def world(*namespaces: str, services: Sequence[Obj] = (), slices: Sequence[Obj] = ()) -> World:
    out = World(lambda: MODIFIED)
    for each in namespaces or ("default", "kube-system"):
        out.put_namespace({"metadata": {"name": each}})
    for found in services:
        out.put_service(found)
    for found in slices:
        out.put_slice(found)
    return out


def question(name: str, kind: str = "A", **more: Any) -> Query:
    number = wire.type_number(kind)
    assert number is not None
    return Query(more.pop("id", 1), name, name.lower(), number, **more)


async def no_lookup(query: Query) -> Reply:
    raise AssertionError(f"nobody knows {query.name}")


def kubernetes(
    found: World, *, pods: str = "insecure", through: tuple[str, ...] = (), lookup: Any = no_lookup, **options: Any
) -> Kubernetes:
    zones = options.pop("zones", ("cluster.local.", "in-addr.arpa.", "ip6.arpa."))
    made = Options(zones, pods, options.pop("ttl", 30), **options)
    return Kubernetes(found, made, through=through, lookup=lookup, mirror=None)


def texts(records: Sequence[Record]) -> list[str]:
    return [str(record) for record in records]


class Answers(Plugin):
    """The last of a chain: what it is told to say, and what it was asked."""

    name = "answers"

    def __init__(self, say: Callable[[Query], Reply]) -> None:
        super().__init__()
        self.say = say
        self.asked: list[str] = []

    async def serve(self, query: Query) -> Reply:
        self.asked.append(f"{query.name} {wire.type_name(query.type)}")
        return self.say(query)


def rng() -> random.Random:
    return random.Random(7)
