"""Which pod has which address: one file for each, named after it.

The file comes into being whole (written elsewhere, then linked to its name, which fails if the name is taken), so no
address is given twice, by however many processes and wherever one of them is killed. It holds all that is known of the
attachment, and goes last. Addresses are given in turn: one that was freed comes last.

Source: containernetworking/plugins plugins/ipam/host-local/backend (order, messages)
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path

from sampan.network.cni.errors import FAILED, CniError

_LAST = ".last"


@dataclass(frozen=True, slots=True)
class HostPort:
    """`protocol`: tcp, udp or sctp. `host_ip` empty: every address of the node."""

    protocol: str
    host_ip: str
    host_port: int
    port: int


@dataclass(frozen=True, slots=True)
class Owner:
    """An attachment: a sandbox's interface, the link at our end, the ports that lead to it."""

    sandbox: str
    interface: str
    link: str
    ports: tuple[HostPort, ...] = ()


class Addresses:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def take(self, network: IPv4Network, owner: Owner) -> IPv4Address:
        """Raises CniError when none is left, OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        scratch = self._directory / f".{uuid.uuid4().hex}"
        scratch.write_text(json.dumps(asdict(owner)))
        try:
            for address in _from(network, self._last()):
                with contextlib.suppress(FileExistsError):
                    os.link(scratch, self._directory / str(address))
                    self._note_last(address)
                    return address
        finally:
            scratch.unlink()
        raise CniError(FAILED, f"no IP addresses available in range set: {_range(network)}")

    def _last(self) -> IPv4Address | None:
        try:
            return IPv4Address((self._directory / _LAST).read_text())
        except (FileNotFoundError, AddressValueError):
            return None

    def _note_last(self, address: IPv4Address) -> None:
        scratch = self._directory / f".{uuid.uuid4().hex}"
        scratch.write_text(str(address))
        os.replace(scratch, self._directory / _LAST)

    def all(self) -> dict[IPv4Address, Owner]:
        return {address: _owner(text) for address, text in self._texts()}

    def of(self, sandbox: str, interface: str) -> dict[IPv4Address, Owner]:
        # a search in text is a tenth of the work of reading JSON, and this is done for every pod
        found = {address: _owner(text) for address, text in self._texts() if sandbox in text}
        return {
            address: each for address, each in found.items() if (each.sandbox, each.interface) == (sandbox, interface)
        }

    def _texts(self) -> Iterator[tuple[IPv4Address, str]]:
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._directory):
                if not entry.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):  # another process just freed it
                        yield IPv4Address(entry.name), Path(entry.path).read_text()

    def free(self, address: IPv4Address) -> None:
        (self._directory / str(address)).unlink(missing_ok=True)

    def sweep(self) -> None:
        """What a killed process left half done. Only while no other process is at work here."""
        for scratch in self._directory.glob(".*"):
            if scratch.name != _LAST:
                scratch.unlink(missing_ok=True)


def _owner(text: str) -> Owner:
    raw = json.loads(text)
    ports = tuple(HostPort(**each) for each in raw.pop("ports"))
    return Owner(**raw, ports=ports)


def _range(network: IPv4Network) -> str:
    """As host-local shows it: without the network's own address, the gateway's and the broadcast address."""
    return f"{network[2]}-{network[-2]}"


def _from(network: IPv4Network, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """All that pods may have, beginning after `last`."""
    first, end = int(network[2]), int(network[-1])
    start = int(last) + 1 if last is not None and first <= int(last) < end else first
    return (IPv4Address(number) for number in itertools.chain(range(start, end), range(first, start)))
