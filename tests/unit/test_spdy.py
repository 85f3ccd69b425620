"""SPDY/3.1: frames to bytes and back however they are cut, and two sessions that talk to each other."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.http.spdy import Session, SpdyError, Stream, frames
from sampan.http.spdy.frames import Data, Decoder, Encoder, Frame, GoAway, Opened, Ping, Replied, Reset

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
HEADERS = st.dictionaries(
    NAMES, st.text(st.characters(max_codepoint=255, exclude_characters="\0"), max_size=40), max_size=6
)
NUMBERS = st.integers(1, 0x7FFFFFFF)
STREAMS = st.one_of(
    st.builds(Data, NUMBERS, st.binary(max_size=300), st.booleans()),
    st.builds(Opened, NUMBERS, HEADERS, st.booleans(), st.just(False)),
    st.builds(Replied, NUMBERS, HEADERS, st.booleans()),
    st.builds(Reset, NUMBERS, st.integers(1, 11)),
    st.builds(Ping, NUMBERS),
    st.builds(GoAway, NUMBERS),
)


def encoded(encoder: Encoder, frame: Frame) -> bytes:
    match frame:
        case Data(stream, payload, fin):
            return frames.data(stream, payload, fin=fin)
        case Opened(stream, headers, fin):
            return encoder.syn_stream(stream, headers, fin=fin)
        case Replied(stream, headers, fin):
            return encoder.syn_reply(stream, headers, fin=fin)
        case Reset(stream, status):
            return frames.rst_stream(stream, status)
        case Ping(number):
            return frames.ping(number)
        case GoAway(last):
            return frames.goaway(last)


def joined(found: list[Frame]) -> list[Frame]:
    """Pieces of DATA frames put together again: where one frame ends and the next begins means nothing."""
    out: list[Frame] = []
    for frame in found:
        last = out[-1] if out else None
        if isinstance(frame, Data) and isinstance(last, Data) and last.stream == frame.stream and not last.fin:
            out[-1] = Data(frame.stream, last.data + frame.data, frame.fin)
        else:
            out.append(frame)
    return out


def test_the_dictionary_is_spdys() -> None:
    assert (zlib.adler32(frames.DICTIONARY), len(frames.DICTIONARY)) == (0xE3C6A7C2, 1423)


@settings(max_examples=40)
@given(st.lists(STREAMS, max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_frames_survive_any_cut(sent: list[Frame], cuts: list[int]) -> None:
    encoder, decoder = Encoder(), Decoder()
    wire = b"".join(encoded(encoder, frame) for frame in sent)
    found: list[Frame] = []
    turn = 0
    while wire:
        size = cuts[turn % len(cuts)]
        found += decoder.feed(wire[:size])
        wire, turn = wire[size:], turn + 1
    assert joined(found) == joined(sent)


@given(st.binary(max_size=200))
def test_noise_is_an_error_or_nothing(noise: bytes) -> None:
    try:
        for frame in Decoder().feed(noise):
            assert isinstance(frame, Frame)
    except SpdyError:
        pass


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (b"\x80\x02\x00\x01\x00\x00\x00\x0a", "version 2"),
        (b"\x80\x03\x00\x01\x00\xff\xff\xff", "a control frame of 16777215 bytes"),
        (b"\x80\x03\x00\x0c\x00\x00\x00\x04\x00\x00\x00\x01", "unknown type 12"),
        (b"\x80\x03\x00\x06\x00\x00\x00\x05\x00\x00\x00\x01\x00", "type 6 with 5 bytes"),
        (b"\x00\x00\x00\x00\x00\x00\x00\x01", "of no stream"),
        (b"\x80\x03\x00\x02\x00\x00\x00\x08\x00\x00\x00\x01what", "inflated"),
    ],
)
def test_what_is_refused(wire: bytes, words: str) -> None:
    with pytest.raises(SpdyError, match=words):
        list(Decoder().feed(wire))


def test_headers_cannot_blow_up() -> None:
    wire = Encoder().syn_stream(1, {"x": "a" * 200_000})
    with pytest.raises(SpdyError, match="more than"):
        list(Decoder().feed(wire))


class Wire:
    """One end of a connection in memory; bytes come to the other end in the next turn, while it listens."""

    def __init__(self) -> None:
        self.peer: Session
        self.other: Wire
        self.listening = True
        self.queue: list[bytes] = []
        self.closed = False
        self.waiters: list[asyncio.Future[None]] = []

    def send(self, data: bytes) -> None:
        self.queue.append(data)
        asyncio.get_running_loop().call_soon(self.deliver)

    def deliver(self) -> None:
        while self.queue and self.other.listening and not self.closed:
            self.peer.received(self.queue.pop(0))
        if not self.queue:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                waiter.set_result(None)

    def pending(self) -> int:
        return sum(map(len, self.queue))

    async def writable(self) -> None:
        if self.queue and not self.closed:
            self.waiters.append(asyncio.get_running_loop().create_future())
            await self.waiters[-1]

    def pause(self) -> None:
        self.listening = False

    def resume(self) -> None:
        self.listening = True
        self.other.deliver()

    def close(self) -> None:
        if not self.closed:
            self.other.deliver()
            self.deliver()
            self.closed = self.other.closed = True
            asyncio.get_running_loop().call_soon(self.peer.lost)


def pair(accept: Callable[[Stream], None]) -> tuple[Session, Session]:
    ours, theirs = Wire(), Wire()
    client, server = Session(ours, server=False), Session(theirs, server=True, accept=accept)
    ours.peer, ours.other, theirs.peer, theirs.other = server, theirs, client, ours
    return client, server


async def test_streams_go_both_ways_and_end_each_by_itself() -> None:
    accepted: list[Stream] = []
    client, server = pair(accepted.append)
    stream = await client.open({"StreamType": "stdin"})
    far = accepted[0]
    assert far.headers == {"streamtype": "stdin"}
    await stream.write(b"there")
    stream.end()
    assert [await far.read(), await far.read()] == [b"there", b""]
    await far.write(b"and back")
    far.end()
    assert [await stream.read(), await stream.read()] == [b"and back", b""]
    with pytest.raises(ConnectionError):
        await stream.write(b"more")
    closing = asyncio.ensure_future(server.finish())
    await asyncio.sleep(0)
    client.close()
    await closing
    assert client.gone.is_set() and server.gone.is_set()


async def test_a_stream_can_be_refused() -> None:
    client, _ = pair(lambda stream: stream.reset())
    with pytest.raises(ConnectionError, match="refused"):
        await client.open({})


async def test_nobody_reads_nobody_writes_for_long() -> None:
    accepted: list[Stream] = []
    client, _ = pair(accepted.append)
    stream = await client.open({})
    sent = 0

    async def write() -> None:
        nonlocal sent
        for _ in range(100):
            await stream.write(bytes(100_000))
            sent += 100_000
        stream.end()

    writing = asyncio.ensure_future(write())
    for _ in range(50):
        await asyncio.sleep(0)
    assert sent < 3_000_000
    got = 0
    while data := await accepted[0].read():
        got += len(data)
    await writing
    assert got == 10_000_000


async def test_who_waits_learns_that_the_connection_is_gone() -> None:
    accepted: list[Stream] = []
    client, server = pair(accepted.append)
    stream = await client.open({})
    reading = asyncio.ensure_future(accepted[0].read())
    await stream.write(b"last words")
    assert await reading == b"last words"
    reading = asyncio.ensure_future(accepted[0].read())
    await asyncio.sleep(0)
    client.connection.close()
    with pytest.raises(ConnectionError):
        await reading
    assert server.gone.is_set()


async def test_a_reset_ends_the_stream_and_not_the_connection() -> None:
    accepted: list[Stream] = []
    client, _ = pair(accepted.append)
    first, second = await client.open({}), await client.open({})
    accepted[0].reset_is_end = False
    reading = asyncio.ensure_future(accepted[0].read())
    await asyncio.sleep(0)
    first.reset()
    with pytest.raises(ConnectionError):
        await reading
    await accepted[1].write(b"before")
    accepted[1].reset()
    assert [await second.read(), await second.read()] == [b"before", b""]
    second = await client.open({})
    await second.write(b"here")
    assert await accepted[2].read() == b"here"


async def test_pings_are_answered() -> None:
    client, _ = pair(lambda _: None)
    seen: list[bytes] = []
    client.received = seen.append  # type: ignore[method-assign, assignment]
    client.send(frames.ping(7))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert list(Decoder().feed(seen[0])) == [Ping(7)]


async def test_noise_ends_the_connection() -> None:
    client, server = pair(lambda _: None)
    client.send(b"\x80\x09\x00\x00\x00\x00\x00\x00")
    await client.gone.wait()
    assert server.gone.is_set()
