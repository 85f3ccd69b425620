"""A server without sockets: bytes in, bytes out; what it remembers, balances, rewrites, logs and counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sampan.network.dns import wire
from sampan.network.dns.instance import Instance, build
from sampan.network.dns.metrics import Metrics
from sampan.network.dns.plugin import Failed
from sampan.network.dns.server import Server, Site
from sampan.network.dns.setup import drafts
from sampan.network.dns.setup.draft import Surroundings
from sampan.network.dns.wire import Message, Query, Reply
from sampan.testing.loop import VirtualLoop
from tests.dns import Answers, kubernetes, question, rng, service, texts, world


class Asked:
    """Asks a server."""

    def __init__(self, server: Server, metrics: Metrics) -> None:
        self.server = server
        self.metrics = metrics

    async def __call__(self, name: str, kind: str = "A", **more: Any) -> Message:
        data = await self.raw(question(name, kind, **more))
        assert data is not None
        return wire.parse_message(data)

    async def raw(self, query: Query, number: int = 7) -> bytes | None:
        packet = wire.pack_query(query, number, edns=query.edns)
        if not query.tcp and (known := self.server.known(packet)) is not None:
            return known
        return await self.server.answer(packet, tcp=query.tcp, remote=("192.0.2.9", 5353), local=":53")

    async def texts(self, name: str, kind: str = "A") -> list[str]:
        return texts((await self(name, kind)).reply.answer)


def around() -> Surroundings:
    return Surroundings(Metrics(), rng(), lambda: 0.0, lambda config: pytest.fail("no API here"), list)


@asynccontextmanager
async def served(text: str, zone: str = ".") -> AsyncIterator[Asked]:
    here = around()
    metrics = here.metrics
    instance: Instance = build(drafts(f"{zone} {{\n{text}\n}}", "Corefile", here), metrics, rng(), pytest.fail)
    await instance.start()
    yield Asked(instance.servers["", 53], metrics)
    await instance.stop()


def simple(*sites: Site) -> Asked:
    metrics = Metrics()
    server = Server({site.zone: site for site in sites}, metrics=metrics, epoch=lambda: 0, rng=rng(), fatal=pytest.fail)
    return Asked(server, metrics)


async def test_what_was_answered_is_answered_again_until_the_cluster_changes() -> None:
    here = world(services=[service("web", "10.96.0.80", ("http", 80))])
    metrics = Metrics()
    site = Site(".", "dns://:53", kubernetes(here), measured=True)
    server = Server({".": site}, metrics=metrics, epoch=lambda: here.epoch, rng=rng(), fatal=pytest.fail)
    ask = Asked(server, metrics)
    query = question("web.default.svc.cluster.local.")
    first = await ask.raw(query, 1)
    assert first is not None
    known = server.known(wire.pack_query(query, 2))
    assert known is not None and known[:2] == b"\0\2" and known[2:] == first[2:]
    # another spelling, another question
    assert server.known(wire.pack_query(question("WEB.default.svc.cluster.local."), 2)) is None
    here.put_service(service("web", "10.96.0.81", ("http", 80)))
    assert server.known(wire.pack_query(query, 3)) is None
    assert texts((await ask("web.default.svc.cluster.local.")).reply.answer)[0].endswith("10.96.0.81")
    # and what the table answered is counted, too
    await ask("web.default.svc.cluster.local.")
    server.gather()
    page = metrics.render()
    assert 'coredns_dns_requests_total{server="dns://:53",zone=".",view="",proto="udp",family="1",type="A"} 4' in page
    assert (
        'coredns_dns_responses_total{server="dns://:53",zone=".",view="",rcode="NOERROR",plugin="kubernetes"} 4' in page
    )
    assert 'coredns_dns_request_duration_seconds_count{server="dns://:53",zone=".",view=""} 4' in page


def test_what_others_say_is_remembered_for_its_time_only() -> None:
    async def test() -> None:
        last = Answers(lambda query: Reply(answer=[wire.address(query.name, 5, "10.0.0.1")], lasts=4.5))
        ask = simple(Site(".", "dns://:53", last))
        for seconds, asked in ((0, 1), (4.4, 1), (0.1, 2)):
            await asyncio.sleep(seconds)
            await ask("a.")
            assert len(last.asked) == asked

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(1e9)) as runner:
        runner.run(test())


async def test_each_address_comes_first() -> None:
    for lasts in (0.0, 10.0):
        ips = [f"10.0.0.{number}" for number in range(4)]
        last = Answers(
            lambda query, ips=ips, lasts=lasts: Reply(  # type: ignore[misc]
                answer=[wire.cname(query.name, 5, "b."), *(wire.address("b.", 5, ip) for ip in ips)], lasts=lasts
            )
        )
        ask = simple(Site(".", "dns://:53", last, balanced=True))
        firsts = []
        for _ in range(40):
            cname, *addresses = (await ask("a.")).reply.answer
            assert cname.type == wire.CNAME and sorted(wire.ip(each) for each in addresses) == ips
            firsts.append(wire.ip(addresses[0]))
        assert set(firsts) == set(ips)
        if lasts:
            assert all(firsts.count(ip) == 10 for ip in ips)


async def test_the_best_zone_has_the_question() -> None:
    def site(zone: str) -> Site:
        return Site(zone, "dns://:53", Answers(lambda query: Reply(answer=[wire.txt(query.name, 1, zone)])))

    ask = simple(site("org."), site("example.org."))
    assert (await ask.texts("a.b.Example.org.", "TXT"))[0].endswith('"example.org."')
    assert (await ask.texts("example2.org.", "TXT"))[0].endswith('"org."')
    assert (await ask("example.com.")).reply.rcode == wire.REFUSED
    assert (await ask("example.org.", "AXFR")).reply.rcode == wire.REFUSED
    assert (await ask("example.org.", klass=wire.CHAOS)).reply.rcode == wire.REFUSED


async def test_names_that_lead_to_themselves_through_others() -> None:
    here = world(services=[service("a", type="ExternalName", externalName="x.example.org")])
    ask: Asked

    async def lookup(query: Query) -> Reply:
        again = replace(query, name="a.default.svc.cluster.local.", key="a.default.svc.cluster.local.")
        return await ask.server.lookup(again)

    ask = simple(Site(".", "dns://:53", kubernetes(here, lookup=lookup)))
    assert (await ask("a.default.svc.cluster.local.")).reply.rcode == wire.SERVFAIL


async def test_a_plugin_that_breaks_breaks_one_answer(caplog: pytest.LogCaptureFixture) -> None:
    def broken(query: Query) -> Reply:
        raise KeyError(query.name)

    ask = simple(Site(".", "dns://:53", Answers(broken)))
    assert (await ask("a.")).reply.rcode == wire.SERVFAIL
    assert "Recovered from panic" in caplog.text and "coredns_panics_total 1" in ask.metrics.render()


async def test_hosts(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("10.0.0.1 a.example b.example # c.example\nfd00::1 a.example\nnonsense\n10.0.0.9 *.wild.example\n")
    text = f"hosts {file} {{\n10.0.0.2 inline.example\nttl 60\nreload 10ms\nfallthrough x.\n}}\ntemplate IN A x {{\nrcode NXDOMAIN\n}}"
    async with served(text) as ask:
        assert await ask.texts("A.example.") == ["A.example. 60 A 10.0.0.1"]
        assert await ask.texts("a.example.", "AAAA") == ["a.example. 60 AAAA fd00::1"]
        assert await ask.texts("b.example.", "AAAA") == [] and await ask.texts("inline.example.") != []
        assert await ask.texts("1.0.0.10.in-addr.arpa.", "PTR") == [
            f"1.0.0.10.in-addr.arpa. 60 PTR {name}.example." for name in "ab"
        ]
        assert await ask.texts("q.wild.example.") == ["q.wild.example. 60 A 10.0.0.9"]
        assert (await ask("c.example.")).reply.rcode == wire.SERVFAIL and (
            await ask("c.x.")
        ).reply.rcode == wire.NXDOMAIN
        file.write_text("10.0.0.7 a.example\n10.0.0.8 a.example\n")
        async with asyncio.timeout(5):
            while len(await ask.texts("a.example.")) != 2:  # noqa: ASYNC110 - it is asked again and again
                await asyncio.sleep(0.005)


REWRITES = """
rewrite name exact old.example.org web.default.svc.cluster.local
rewrite name suffix .corp.example. .default.svc.cluster.local.
rewrite stop {
  name regex (.*)-(\\w+)\\.short {1}.{2}.svc.cluster.local answer auto
}
rewrite type ANY A
hosts /dev/null {
  10.0.0.1 web.default.svc.cluster.local
}
"""


async def test_rewrites() -> None:
    async with served(REWRITES) as ask:
        for name in ("old.example.org.", "Web.Corp.example.", "web-default.short."):
            reply = await ask(name)
            # the asker never sees the other name
            assert reply.name == name and texts(reply.reply.answer) == [f"{name} 3600 A 10.0.0.1"]
        assert await ask.texts("web.default.svc.cluster.local.", "ANY")


async def test_templates() -> None:
    text = """
    template IN A example {
      match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)[.]example[.]$
      answer "{{ .Name }} 60 IN A 10.0.{{ .Group.a }}.{{ .Group.b }}"
      authority "{{ .Zone }} 60 IN SOA ns.{{ .Zone }} m{{ index .Match 3 }}.{{ .Zone }} (1 60 60 60 60)"
      fallthrough
    }
    template ANY ANY {
      rcode NXDOMAIN
    }"""
    async with served(text) as ask:
        reply = (await ask("x.ip-1-2.example.")).reply
        assert texts(reply.answer) == ["x.ip-1-2.example. 60 A 10.0.1.2"]
        assert texts(reply.authority) == ["example. 60 SOA ns.example. m2.example. 1 60 60 60 60"]
        assert (await ask("other.example.")).reply.rcode == wire.NXDOMAIN


async def test_a_line_for_each_question(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    text = "log . {\nclass denial error\n}\nerrors\nhosts /dev/null {\n10.0.0.1 a.\nfallthrough\n}"
    async with served(text) as ask:
        await ask("a.")
        await ask("b.", edns=1232, dnssec=True)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "2 b. A: plugin/hosts: no next plugin found"
    assert (
        lines[1].startswith('192.0.2.9:5353 - 7 "A IN b. udp 30 true 1232" SERVFAIL qr,rd 30 0.0') and len(lines) == 2
    )
    caplog.clear()
    async with served('log a. "{remote} {name} {>rflags} {odd}"\nhosts /dev/null {\n10.0.0.1 a.\n}') as ask:
        await ask("a.")
        await ask("a.")  # remembered, and logged all the same
        await ask("b.")
    assert [record.getMessage() for record in caplog.records] == ["192.0.2.9 a. qr,aa,rd -"] * 2


async def test_no_reply_is_larger_than_the_buffer_allowed() -> None:
    names = "\n".join(f"10.0.0.{number} many." for number in range(100))
    async with served(f"bufsize 512\nhosts /dev/null {{\n{names}\n}}") as ask:
        reply = (await ask("many.", edns=4096)).reply
        assert reply.truncated and len(reply.answer) < 32
        assert len((await ask("many.", tcp=True)).reply.answer) == 100


async def test_the_table_of_answers_is_bounded_and_keeps_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.network.dns.server.MAX_KEPT", 10)
    last = Answers(lambda query: Reply(answer=[wire.address(query.name, 5, "10.0.0.1")], lasts=60))
    ask = simple(Site(".", "dns://:53", last, measured=True))
    for number in range(100):
        await ask("hot.")
        await ask(f"n{number}.")
    assert last.asked.count("hot. A") == 1 and len(last.asked) == 101
    await ask("n0.")
    assert len(last.asked) == 102  # it had to go
    page = ask.metrics.render()
    assert 'coredns_dns_request_duration_seconds_count{server="dns://:53",zone=".",view=""}' in page
    ask.server.clear()
    assert 'type="A"} 201' in ask.metrics.render()


def test_errors_of_a_kind_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    def fail(query: Query) -> Reply:
        raise Failed(wire.SERVFAIL, "i/o timeout" if query.key == "slow." else "refused")

    async def test() -> None:
        text = "errors {\nconsolidate 30s timeout$ warning\nconsolidate 1m ^refused show_first\n}"
        (draft,) = drafts(f". {{\n{text}\n}}", "Corefile", around())
        ask = simple(Site(".", "dns://:53", Answers(fail), errors=draft.errors))
        for _ in range(3):
            await ask("slow.")
            await ask("gone.")
        await asyncio.sleep(100)

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(1e9)) as runner:
        runner.run(test())
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "2 gone. A: refused"),
        ("WARNING", "3 errors like 'timeout$' occurred in last 30s"),
        ("ERROR", "3 errors like '^refused' occurred in last 1m"),
    ]
