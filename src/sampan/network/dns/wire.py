"""DNS messages: from bytes to what was asked, from what is answered to bytes. The only file that knows dnslib.

Names are text as in zone files, with a final dot; whatever a label holds besides printable ASCII, and a dot in a label, is
escaped (`\\046`). `data` of a record is dnslib's, or raw bytes in its `RD` for types whose data holds no compressed names:
those go through as they came.

A reply that does not fit is cut between records, and TC says so.

Source: RFC 1035, RFC 3597 (types unknown to us), RFC 6891 (EDNS); github.com/miekg/dns acceptfunc.go, msg_truncate.go
"""

from __future__ import annotations

import functools
import importlib
import re
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

dnslib: Any = importlib.import_module("dnslib")
_dns: Any = importlib.import_module("dnslib.dns")
_label: Any = importlib.import_module("dnslib.label")
_BufferError: Any = importlib.import_module("dnslib.buffer").BufferError

A, NS, CNAME, SOA, PTR, HINFO, MX, TXT, AAAA, SRV, OPT = 1, 2, 5, 6, 12, 13, 15, 16, 28, 33, 41
IXFR, AXFR, ANY = 251, 252, 255
IN, CHAOS = 1, 3
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
RCODES = {
    0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 7: "YXRRSET",
    8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 16: "BADVERS",
}  # fmt: skip
_QR, _AA, _TC, _RD, _RA, _AD, _CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
_DO = 0x8000
#: whose data holds names that may be compressed
_NAMED = {NS: "NS", CNAME: "CNAME", SOA: "SOA", PTR: "PTR", MX: "MX", SRV: "SRV"}
_MAX, _SMALL, _POINTERS = 65535, 512, 0x4000
_LABEL = re.compile(rb"[!-\-/-\[\]-~]*")  # printable, neither dot nor backslash
_ODD = re.compile(rb"[^!-\-/-\[\]-~]")
_ESCAPE = re.compile(rb"\\([0-9]{3}|.)")


class BadMessage(Exception):
    """It is not a question that can be answered. `rcode`: what to say to it; None: nothing."""

    def __init__(self, rcode: int | None = FORMERR) -> None:
        super().__init__(RCODES.get(rcode or 0, ""))
        self.rcode = rcode


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    type: int
    ttl: int
    data: Any

    def __str__(self) -> str:
        return f"{self.name} {self.ttl} {type_name(self.type)} {_shown(self)}"


@dataclass(frozen=True, slots=True)
class Query:
    """`name` as it was sent, `key` in lower case. `edns`: the buffer the asker has by EDNS; 0 without EDNS."""

    id: int
    name: str
    key: str
    type: int
    klass: int = IN
    recursion: bool = True
    authentic: bool = False
    unchecked: bool = False
    dnssec: bool = False
    edns: int = 0
    size: int = 0
    tcp: bool = False
    remote: tuple[str, int] = ("", 0)
    local: str = ""
    #: the question section as it came; empty for questions of our own
    question: bytes = b""
    #: may the same bytes be answered by the same bytes?
    plain: bool = True
    #: how many questions led to this one
    depth: int = 0

    @property
    def limit(self) -> int:
        return _MAX if self.tcp else max(_SMALL, self.edns)


@dataclass(slots=True)
class Reply:
    """`lasts`: for how many seconds the same question has the same answer, while the cluster stays as it is. `by`: the
    plugin that made it."""

    rcode: int = NOERROR
    answer: Sequence[Record] = ()
    authority: Sequence[Record] = ()
    additional: Sequence[Record] = ()
    authoritative: bool = False
    recursive: bool = False
    authentic: bool = False
    truncated: bool = False
    lasts: float = 0.0
    by: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What a server upstream said."""

    id: int
    name: str
    type: int
    reply: Reply


# -- names and data ----------------------------------------------------------------------------------------------------


def text(labels: Iterable[bytes]) -> str:
    parts = [each if _LABEL.fullmatch(each) else _ODD.sub(_escaped, each) for each in labels]
    return b".".join(parts).decode() + "."


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\%03d" % found[0][0]


@functools.lru_cache(4096)
def labels(name: str) -> tuple[bytes, ...]:
    """Raises ValueError for what cannot be a name."""
    bare = name.rstrip(".").encode("ascii")
    if not bare:
        return ()
    if b"\\" in bare:
        # an escaped dot must not part labels
        marked = _ESCAPE.sub(lambda m: b"\\%03d" % (int(m[1]) if len(m[1]) == 3 else m[1][0]), bare)
        parts = [_ESCAPE.sub(lambda m: bytes((int(m[1]) & 255,)), part) for part in marked.split(b".")]
    else:
        parts = bare.split(b".")
    if any(not 0 < len(part) < 64 for part in parts) or sum(map(len, parts)) + len(parts) > 254:
        raise ValueError(f"{name} is not a domain name")
    return tuple(parts)


@functools.lru_cache(4096)
def _name(name: str) -> Any:
    return dnslib.DNSLabel(labels(name))


def type_name(number: int) -> str:
    found = dnslib.QTYPE.forward.get(number)
    return found if isinstance(found, str) else f"TYPE{number}"


def type_number(name: str) -> int | None:
    found = dnslib.QTYPE.reverse.get(name.upper())
    return found if isinstance(found, int) else None


def _shown(record: Record) -> str:
    if record.type in (A, AAAA):
        return ip(record)
    if record.type == TXT:
        rest, out = record.data.data, []
        while rest:
            out.append(f'"{rest[1 : 1 + rest[0]].decode(errors="replace")}"')
            rest = rest[1 + rest[0] :]
        return " ".join(out)
    return str(record.data.toZone())


def address(name: str, ttl: int, ip: str) -> Record:
    if ":" in ip:
        return Record(name, AAAA, ttl, dnslib.RD(socket.inet_pton(socket.AF_INET6, ip)))
    return Record(name, A, ttl, dnslib.RD(socket.inet_aton(ip)))


def ip(record: Record) -> str:
    return socket.inet_ntop(socket.AF_INET6 if record.type == AAAA else socket.AF_INET, record.data.data)


def cname(name: str, ttl: int, target: str) -> Record:
    return Record(name, CNAME, ttl, dnslib.CNAME(_name(target)))


def target(record: Record) -> str:
    """The name that a CNAME, PTR, NS, SRV or MX leads to."""
    return text(record.data.target.label if record.type == SRV else record.data.label.label)


def ptr(name: str, ttl: int, target: str) -> Record:
    return Record(name, PTR, ttl, dnslib.PTR(_name(target)))


def ns(name: str, ttl: int, target: str) -> Record:
    return Record(name, NS, ttl, dnslib.NS(_name(target)))


def srv(name: str, ttl: int, weight: int, port: int, target: str) -> Record:
    return Record(name, SRV, ttl, dnslib.SRV(0, weight, port, _name(target)))


def txt(name: str, ttl: int, *texts: str) -> Record:
    data = [each.encode() for each in texts]
    return Record(name, TXT, ttl, dnslib.RD(b"".join(bytes((len(each),)) + each for each in data)))


def soa(zone: str, ttl: int, master: str, mailbox: str, times: Sequence[int]) -> Record:
    """`times`: serial, refresh, retry, expire, minimum."""
    return Record(zone, SOA, ttl, dnslib.SOA(_name(master), _name(mailbox), tuple(times)))


def minimum(record: Record) -> int:
    """Of a SOA."""
    return int(record.data.times[4])


def from_zone(line: str) -> list[Record]:
    """Records in the form of zone files. Raises ValueError."""
    try:
        out = []
        # its words are parted by blanks alone
        spaced = line if '"' in line else line.replace("(", " ( ").replace(")", " ) ")
        for each in dnslib.RR.fromZone(spaced):
            buffer = _label.DNSBuffer()
            each.pack(buffer)
            buffer.offset = 0
            out.append(_record(buffer))
        return out
    except Exception as error:  # dnslib's parser fails in many ways
        raise ValueError(f"{line!r} is not a record: {error}") from None


# -- reading -----------------------------------------------------------------------------------------------------------


def parse_query(data: bytes, *, tcp: bool = False, remote: tuple[str, int] = ("", 0), local: str = "") -> Query:
    """Raises BadMessage."""
    if len(data) < 12:
        raise BadMessage(None)
    number, flags, questions, answers, authorities, additionals = struct.unpack_from("!6H", data)
    if flags & _QR:
        raise BadMessage(None)
    if flags >> 11 & 15:
        raise BadMessage(NOTIMP)
    if questions != 1 or answers > 1 or authorities > 1 or additionals > 2:
        raise BadMessage
    found, at = _asked(data)
    try:
        kind, klass = struct.unpack_from("!HH", data, at)
    except struct.error:
        raise BadMessage from None
    edns, extended, plain = _edns(data, at + 4, answers + authorities + additionals)
    if extended >> 16 & 255:
        raise BadMessage(BADVERS)
    name = text(found)
    return Query(
        number, name, name.lower(), kind, klass, bool(flags & _RD), bool(flags & _AD), bool(flags & _CD),
        bool(extended & _DO), edns, len(data), tcp, remote, local, data[12 : at + 4], plain,
    )  # fmt: skip


def _asked(data: bytes) -> tuple[list[bytes], int]:
    """The labels of the name after the header, and where it ends. There is nothing yet that it could point to."""
    found: list[bytes] = []
    at = 12
    end = min(len(data), 12 + 255)
    while at < end:
        size = data[at]
        at += 1
        if not size:
            return found, at
        if size > 63:
            break
        found.append(data[at : at + size])
        at += size
    raise BadMessage


def _edns(data: bytes, at: int, count: int) -> tuple[int, int, bool]:
    """The asker's buffer, extended flags, and whether there is nothing else."""
    if count == 0:
        return 0, 0, True
    edns, extended, plain = 0, 0, True
    try:
        buffer = _label.DNSBuffer(data)
        buffer.offset = at
        for _ in range(count):
            buffer.decode_name()
            kind, size, ttl, length = buffer.unpack("!HHIH")
            buffer.get(length)
            if kind == OPT:
                edns, extended, plain = max(size, _SMALL), ttl, length == 0
    except (_BufferError, RecursionError):
        raise BadMessage from None
    return edns, extended, plain


def parse_message(data: bytes) -> Message:
    """Raises BadMessage."""
    if len(data) < 12:
        raise BadMessage
    number, flags, questions, *counts = struct.unpack_from("!6H", data)
    if not flags & _QR or questions != 1:
        raise BadMessage
    try:
        buffer = _label.DNSBuffer(data)
        buffer.offset = 12
        name = text(buffer.decode_name().label)
        kind, _ = buffer.unpack("!HH")
        sections: list[list[Record]] = []
        rcode = flags & 15
        for count in counts:
            section: list[Record] = []
            for _ in range(count):
                record = _record(buffer)
                if record.type == OPT:
                    rcode |= record.ttl >> 24 << 4
                else:
                    section.append(record)
            sections.append(section)
    except (_BufferError, _dns.DNSError, _label.DNSLabelError, RecursionError, ValueError):
        raise BadMessage from None
    answer, authority, additional = sections
    return Message(
        number, name, kind,
        Reply(rcode, answer, authority, additional, bool(flags & _AA), bool(flags & _RA), bool(flags & _AD), bool(flags & _TC)),
    )  # fmt: skip


def _record(buffer: Any) -> Record:
    name = text(buffer.decode_name().label)
    kind, _, ttl, length = buffer.unpack("!HHIH")
    start = buffer.offset
    if kind in _NAMED:
        data = getattr(dnslib, _NAMED[kind]).parse(buffer, length)
        if buffer.offset != start + length:
            raise BadMessage
    else:
        data = dnslib.RD(buffer.get(length))
    return Record(name, kind, ttl if ttl < 1 << 31 or kind == OPT else 0, data)


# -- writing -----------------------------------------------------------------------------------------------------------


class _Writer(_label.DNSBuffer):  # type: ignore[misc]  # dnslib has no types
    """dnslib points to names wherever they are, though a pointer reaches only so far. Most answers have no name but the
    question's: its parts are looked at when there is another."""

    def __init__(self, query: Query) -> None:
        super().__init__(bytes(12) + (query.question or _question(query)))
        self.offset = len(self.data)
        self._query: Query | None = query

    def encode_name(self, name: Any) -> None:
        if self._query is not None:
            rest, at = labels(self._query.name), 12
            while rest:
                self.names.setdefault(rest, at)
                at += len(rest[0]) + 1
                rest = rest[1:]
            self._query = None
        rest = name.label
        while rest:
            at = self.names.get(rest)
            if at is not None:
                self.pack("!H", 0xC000 | at)
                return
            if self.offset < _POINTERS:
                self.names[rest] = self.offset
            first = rest[0]
            self.append(bytes((len(first),)) + first)
            rest = rest[1:]
        self.append(b"\0")


def _put(writer: _Writer, record: Record, question: str) -> None:
    if record.name == question:
        writer.append(b"\xc0\x0c")
    else:
        writer.encode_name(_name(record.name))
    writer.pack("!HHIH", record.type, IN, record.ttl, 0)
    start = writer.offset
    record.data.pack(writer)
    writer.update(start - 2, "!H", writer.offset - start)


def pack(query: Query, reply: Reply) -> bytes:
    """Within what the asker can take."""
    writer = _Writer(query)
    room = query.limit - (11 if query.edns else 0)
    counts = [0, 0, 0]
    truncated = reply.truncated
    for number, section in enumerate((reply.answer, reply.authority, reply.additional)):
        for record in section:
            before = writer.offset
            _put(writer, record, query.name)
            if writer.offset > room:
                writer.data, writer.offset, truncated = writer.data[:before], before, True
                break
            counts[number] += 1
        if truncated and writer.offset + 32 > room:
            break
    if query.edns:
        extended = reply.rcode >> 4 << 24 | (_DO if query.dnssec else 0)
        writer.pack("!BHHIH", 0, OPT, query.edns, extended, 0)
        counts[2] += 1
    flags = _QR | (reply.rcode & 15)
    for true, bit in (
        (reply.authoritative, _AA), (truncated, _TC), (query.recursion, _RD), (reply.recursive, _RA),
        (reply.authentic, _AD), (query.unchecked, _CD),
    ):  # fmt: skip
        flags |= bit if true else 0
    writer.update(0, "!6H", query.id, flags, 1, *counts)
    return bytes(writer.data)


def pack_query(query: Query, number: int, *, edns: int = 0) -> bytes:
    """A question of our own, or one passed on. `edns`: the buffer we have."""
    flags = (_RD if query.recursion else 0) | (_AD if query.authentic else 0) | (_CD if query.unchecked else 0)
    head = struct.pack("!6H", number, flags, 1, 0, 0, 1 if edns else 0)
    tail = struct.pack("!BHHIH", 0, OPT, edns, _DO if query.dnssec else 0, 0) if edns else b""
    return head + _question(query) + tail


def _question(query: Query) -> bytes:
    name = b"".join(bytes((len(each),)) + each for each in labels(query.name))
    return name + b"\0" + struct.pack("!HH", query.type, query.klass)


def refuse(data: bytes, rcode: int) -> bytes:
    """To a message that could not be read: its header, and why."""
    number, flags = struct.unpack_from("!HH", data)
    if rcode == BADVERS:
        opt = struct.pack("!BHHIH", 0, OPT, _SMALL, 1 << 24, 0)
        return struct.pack("!6H", number, _QR | flags & (0x7800 | _RD), 0, 0, 0, 1) + opt
    return struct.pack("!6H", number, _QR | flags & (0x7800 | _RD) | rcode, 0, 0, 0, 0)
