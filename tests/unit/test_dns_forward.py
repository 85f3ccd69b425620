"""Passing questions on, over real sockets: to servers that lie, that are slow, that cut, and that are not there."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from sampan.network.dns import upstream, wire
from sampan.network.dns.forward import Forward, Options
from sampan.network.dns.metrics import Metrics
from sampan.network.dns.plugin import Failed
from sampan.network.dns.upstream import Address, Upstream
from sampan.network.dns.wire import Query, Reply
from tests.dns import Answers, question, rng, texts

#: what is sent for a question, one datagram after the other
Say = Callable[[Query], list[bytes]]


def truth(query: Query, ip: str = "10.0.0.1", **more: Any) -> bytes:
    return wire.pack(query, Reply(answer=[wire.address(query.name, 60, ip)], recursive=True, **more))


class Server(asyncio.DatagramProtocol):
    def __init__(self, say: Say) -> None:
        self.say = say
        self.asked: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender: Any) -> None:
        query = wire.parse_query(data)
        self.asked.append(f"udp {query.name}")
        for each in self.say(query):
            self.transport.sendto(each, sender)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        query = wire.parse_query(await reader.readexactly(size), tcp=True)
        self.asked.append(f"tcp {query.name}")
        for each in self.say(query):
            writer.write(struct.pack("!H", len(each)) + each)
        writer.close()


@asynccontextmanager
async def serving(say: Say) -> AsyncIterator[tuple[Server, Upstream]]:
    loop = asyncio.get_running_loop()
    server = Server(say)
    tcp = await asyncio.start_server(server.stream, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(lambda: server, ("127.0.0.1", port))
    yield server, Upstream(Address("127.0.0.1", port), context=None)
    transport.close()
    tcp.close()


def nobody() -> Upstream:
    """Where nothing listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return Upstream(Address("127.0.0.1", probe.getsockname()[1]), context=None)


def forward(*upstreams: Upstream, **options: Any) -> Forward:
    return Forward(upstreams, Options(policy="sequential", **options), Metrics(), rng())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "READ_SECONDS", 0.05)
    monkeypatch.setattr("sampan.network.dns.forward.DEADLINE", 0.5)


async def test_only_the_answer_to_the_question_is_listened_to() -> None:
    def lies(query: Query) -> list[bytes]:
        other = replace(query, name="evil.", key="evil.", question=b"")
        return [
            truth(replace(query, id=query.id ^ 1), "6.6.6.6"),
            truth(other, "6.6.6.6"),
            truth(replace(query, type=wire.AAAA, question=b""), "6.6.6.6"),
            b"noise",
            wire.pack_query(query, query.id),
            truth(query),
        ]

    async with serving(lies) as (server, there):
        reply = await forward(there).serve(question("a."))
        assert texts(reply.answer) == ["a. 60 A 10.0.0.1"] and reply.recursive and reply.by == "forward"
        assert server.asked == ["udp a."]


async def test_each_question_has_another_port_and_number() -> None:
    seen: set[tuple[int, int]] = set()

    class Noting(Server):
        def datagram_received(self, data: bytes, sender: Any) -> None:
            seen.add((sender[1], wire.parse_query(data).id))
            super().datagram_received(data, sender)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Noting(lambda query: [truth(query)]), ("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    plugin = forward(Upstream(Address("127.0.0.1", port), context=None))
    await asyncio.gather(*(plugin.serve(question("a.")) for _ in range(20)))
    assert len({port for port, _ in seen}) == 20 and len({number for _, number in seen}) > 15
    transport.close()


async def test_what_was_cut_is_asked_for_over_tcp() -> None:
    def cut(query: Query) -> list[bytes]:
        return [truth(query, truncated=not query.tcp)]

    async with serving(cut) as (server, there):
        assert not (await forward(there).serve(question("a."))).truncated
        await forward(there, force_tcp=True).serve(question("b."))
        await forward(there, prefer_udp=True).serve(question("c.", tcp=True))
        assert server.asked == ["udp a.", "tcp a.", "tcp b.", "udp c.", "tcp c."]


@pytest.mark.slow
async def test_the_next_one_is_asked_when_one_is_silent_or_gone() -> None:
    async with serving(lambda query: []) as (mute, silent), serving(lambda query: [truth(query)]) as (_, there):
        gone = nobody()
        plugin = forward(silent, gone, there)
        assert texts((await plugin.serve(question("a."))).answer) == ["a. 60 A 10.0.0.1"]
        with pytest.raises(
            Failed, match=r"^read udp 127.0.0.1:\d+->127.0.0.1:\d+: (i/o timeout|read: connection refused)$"
        ):
            await forward(silent, gone).serve(question("b."))
        await plugin.stop()
        assert "udp a." in mute.asked


@pytest.mark.slow
async def test_one_that_is_down_is_not_asked_until_it_is_back() -> None:
    alive = asyncio.Event()
    checked = asyncio.Event()

    def sometimes(query: Query) -> list[bytes]:
        if query.name == ".":
            checked.set()
        return (
            [truth(query)]
            if alive.is_set() and query.name != "."
            else [wire.pack(query, Reply())]
            if alive.is_set()
            else []
        )

    async with serving(sometimes) as (first, flaky), serving(lambda query: [truth(query)]) as (_, there):
        plugin = forward(flaky, there, interval=0.01, max_fails=1)
        await plugin.serve(question("a."))
        async with asyncio.timeout(5):
            while flaky.failures <= 1:
                checked.clear()
                await checked.wait()
                await asyncio.sleep(0.06)
        await plugin.serve(question("b."))
        assert "udp b." not in first.asked
        alive.set()
        async with asyncio.timeout(5):
            assert flaky._probing is not None
            await flaky._probing
        await plugin.serve(question("c."))
        assert "udp c." in first.asked
        await plugin.stop()


async def test_when_all_are_down_one_is_tried_all_the_same() -> None:
    async with serving(lambda query: [truth(query)]) as (_, there):
        there.failures = 99
        plugin = forward(there)
        assert (await plugin.serve(question("a."))).answer
        with pytest.raises(Failed, match="no healthy proxies"):
            await forward(there, fail_fast=True).serve(question("a."))


@pytest.mark.slow
async def test_so_many_at_once_and_no_more() -> None:
    async with serving(lambda query: []) as (_, silent):
        plugin = forward(silent, max_concurrent=2, max_fails=0)
        found = await asyncio.gather(*(plugin.serve(question(f"n{n}.")) for n in range(3)), return_exceptions=True)
        refused = [each for each in found if isinstance(each, Failed) and each.rcode == wire.REFUSED]
        assert [str(each) for each in refused] == ["concurrent queries exceeded maximum 2"]


async def test_names_that_are_not_for_it_and_codes_that_are_for_others() -> None:
    async with (
        serving(lambda query: [wire.pack(query, Reply(wire.NXDOMAIN))]) as (first, denies),
        serving(lambda query: [truth(query)]) as (_, knows),
    ):
        plugin = forward(denies, zone="a.", ignored=("x.a.",))
        plugin.next = last = Answers(lambda query: Reply())
        for name in ("a.", "b.a.", "x.a.", "y.x.a.", "b."):
            await plugin.serve(question(name))
        assert first.asked == ["udp a.", "udp b.a."] and len(last.asked) == 3
        # another server of the same directive, another directive
        reply = await forward(denies, knows, failover=frozenset({wire.NXDOMAIN})).serve(question("a."))
        assert reply.rcode == wire.NOERROR
        following = forward(denies, next_on=frozenset({wire.NXDOMAIN}))
        following.next = forward(knows)
        assert (await following.serve(question("a."))).rcode == wire.NOERROR
