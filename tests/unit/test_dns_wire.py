"""Messages of DNS: what is read, what is refused, and what is cut so that it fits."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.network.dns import names, wire
from sampan.network.dns.wire import BadMessage, Query, Reply
from tests.dns import question, texts


def head(flags: int = 0x0100, questions: int = 1, *counts: int) -> bytes:
    return struct.pack("!6H", 7, flags, questions, *(counts or (0, 0, 0)))


NAME = b"\x03Web\x07default\x00"
ASKED = NAME + b"\x00\x01\x00\x01"
OPT = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00"


def test_a_question() -> None:
    query = wire.parse_query(head(0x0110) + ASKED)
    assert (query.id, query.name, query.key, query.type) == (7, "Web.default.", "web.default.", wire.A)
    assert query.recursion and query.unchecked and query.limit == 512 and query.plain
    edns = wire.parse_query(head(0x0100, 1, 0, 0, 1) + ASKED + OPT)
    assert edns.edns == edns.limit == 1232 and edns.dnssec and edns.plain
    cookie = OPT[:-2] + b"\x00\x0c\x00\x0a\x00\x08" + bytes(8)
    assert not wire.parse_query(head(0x0100, 1, 0, 0, 1) + ASKED + cookie).plain
    small = OPT[:3] + b"\x00\x10" + OPT[5:]
    assert wire.parse_query(head(0x0100, 1, 0, 0, 1) + ASKED + small).limit == 512


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (b"short", None),
        (head(0x8100) + ASKED, None),  # an answer
        (head(0x2800) + ASKED, wire.NOTIMP),  # an update
        (head(0x0100, 0), wire.FORMERR),
        (head(0x0100, 2) + ASKED + ASKED, wire.FORMERR),
        (head() + NAME, wire.FORMERR),
        (head() + b"\xc0\x0c\x00\x01\x00\x01", wire.FORMERR),  # points to itself
        (head() + b"\x03abc\xc0\x0c\x00\x01\x00\x01", wire.FORMERR),
        (head() + b"\x40" + b"a" * 64 + b"\x00\x00\x01\x00\x01", wire.FORMERR),
        (head() + b"\x3f" * 1 + (b"a" * 63 + b"\x3f") * 4 + b"a" * 63 + b"\x00\x00\x01\x00\x01", wire.FORMERR),
        (head(0x0100, 1, 0, 0, 3) + ASKED + OPT * 3, wire.FORMERR),
        (head(0x0100, 1, 0, 0, 1) + ASKED + OPT[:-1], wire.FORMERR),
        (head(0x0100, 1, 0, 0, 1) + ASKED + OPT[:6] + b"\x01" + OPT[7:], wire.BADVERS),
    ],
)  # fmt: skip
def test_what_is_no_question(data: bytes, rcode: int | None) -> None:
    with pytest.raises(BadMessage) as caught:
        wire.parse_query(data)
    assert caught.value.rcode == rcode
    if rcode is not None:
        number, flags = struct.unpack_from("!HH", wire.refuse(data, rcode))
        assert number == 7 and flags & 0x8000 and flags & 15 == rcode & 15


def test_an_answer_and_its_way_back() -> None:
    query = replace(question("Web.Default.", "SRV"), id=9, edns=1232, dnssec=True)
    reply = Reply(
        answer=[wire.srv(query.name, 30, 50, 80, "a.b."), wire.cname("x.", 1, "web.default.")],
        authority=[wire.soa("b.", 5, "ns.b.", "m.b.", (1, 2, 3, 4, 5))],
        additional=[
            wire.address("a.b.", 30, "10.0.0.1"),
            wire.address("a.b.", 30, "fd00::1"),
            wire.txt("t.", 1, 'x"y'),
        ],
        authoritative=True,
    )
    packed = wire.pack(query, reply)
    found = wire.parse_message(packed)
    assert (found.id, found.name, found.type) == (9, "Web.Default.", wire.SRV)
    for sent, got in zip(
        (reply.answer, reply.authority, reply.additional),
        (found.reply.answer, found.reply.authority, found.reply.additional),
        strict=True,
    ):
        assert texts(sent) == texts(got)
    assert found.reply.authoritative and not found.reply.recursive and not found.reply.truncated
    # the question's EDNS is answered, with its flag
    assert packed[-11:] == struct.pack("!BHHIH", 0, wire.OPT, 1232, 0x8000, 0)


@pytest.mark.parametrize(
    ("edns", "tcp", "fit"), [(0, False, 30), (1232, False, 75), (4096, False, 100), (0, True, 100)]
)
def test_what_does_not_fit_is_cut(edns: int, tcp: bool, fit: int) -> None:
    query = replace(question("web."), edns=edns, tcp=tcp)
    reply = Reply(answer=[wire.address("web.", 5, f"10.0.0.{number}") for number in range(100)])
    packed = wire.pack(query, reply)
    found = wire.parse_message(packed).reply
    assert len(found.answer) == fit and found.truncated is (fit < 100) and len(packed) <= query.limit


@pytest.mark.slow
def test_names_beyond_the_reach_of_pointers() -> None:
    """An answer of 40 KB over TCP: every name in it is right."""
    query = replace(question("db.", "SRV"), tcp=True)
    hosts = [f"pod-with-a-long-name-{number}.db.default.svc.cluster.local." for number in range(400)]
    reply = Reply(
        answer=[wire.srv("db.", 5, 1, 5432, host) for host in hosts],
        additional=[wire.address(host, 5, "10.0.0.1") for host in hosts],
    )
    packed = wire.pack(query, reply)
    found = wire.parse_message(packed).reply
    assert len(packed) > 32768 and [record.name for record in found.additional] == hosts
    assert texts(found.answer) == texts(reply.answer)


def test_types_that_nobody_knows_go_through() -> None:
    query = replace(question("x."), type=65)
    message = wire.pack(query, Reply(answer=[wire.Record("x.", 65, 3, wire.dnslib.RD(b"\x00\x01\xffraw"))]))
    assert wire.parse_message(message).reply.answer[0].data.data == b"\x00\x01\xffraw"


def test_odd_labels() -> None:
    labels = (b"a.b", b"\x00\xff", b"back\\slash", b"plain")
    text = wire.text(labels)
    assert text == "a\\046b.\\000\\255.back\\092slash.plain." and wire.labels(text) == labels
    assert wire.labels("a\\.b.c.") == (b"a.b", b"c") and wire.labels(".") == ()
    for bad in ("a..b.", "a" * 64 + ".", "a." * 128):
        with pytest.raises(ValueError):
            wire.labels(bad)


@pytest.mark.slow
@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_noise_is_refused_and_nothing_else(noise: bytes) -> None:
    for data in (noise, head() + noise, head(0x8180, 1, 1, 1, 1) + ASKED + noise):
        for parse in (wire.parse_query, wire.parse_message):
            try:
                found = parse(data)
            except BadMessage:
                continue
            if isinstance(found, Query):
                assert wire.pack(found, Reply())[:2] == data[:2]


def test_zones_as_they_are_written() -> None:
    assert names.zones("Example.ORG") == ["example.org."] and names.zones("dns://a.b:1053") == ["a.b."]
    assert names.zones(".") == ["."] and names.zones("10.in-addr.arpa") == ["10.in-addr.arpa."]
    assert names.zones("10.1.2.0/24") == ["2.1.10.in-addr.arpa."]
    assert names.zones("10.1.2.0/23") == ["2.1.10.in-addr.arpa.", "3.1.10.in-addr.arpa."]
    assert names.zones("fd00::/16") == ["0.0.d.f.ip6.arpa."] and names.zones("10.1.2.3") == ["3.2.1.10.in-addr.arpa."]
    assert names.address(names.reverse("fd00::7")) == "fd00::7" and names.address("1.2.3.in-addr.arpa.") == ""
    assert names.longest((".", "b.", "a.b."), "x.a.b.") == "a.b." and names.longest(("b.",), "ab.") == ""
