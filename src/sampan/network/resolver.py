"""Name servers that nodes can use: the host's own, as far as they can be reached from another namespace.

systemd-resolved's and dnsmasq's listen on the host's loopback, which is nobody else's. The first keeps a list of those it
asks; for any other, the host's end of the bridge answers in its place.

Source: kubernetes/cmd/kubeadm/app/phases/kubelet/config.go (systemd-resolved)
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, ip_address
from pathlib import Path

_ETC, _SYSTEMD = Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")


def for_nodes(gateway: IPv4Address, etc: Path = _ETC, systemd: Path = _SYSTEMD) -> tuple[str, IPv4Address | None]:
    """A node's resolv.conf, and the host's resolver that port 53 of `gateway` must lead to; None: there is no need."""
    mine = _read(etc)
    for lines in (mine, _read(systemd)):
        if any(_is_server(line) and not _is_loopback(line) for line in lines):
            return _text(line for line in lines if not _is_loopback(line)), None
    local = next((line.split()[1] for line in mine if _is_server(line)), "127.0.0.1")
    try:
        target = IPv4Address(local)
    except AddressValueError:  # only on IPv6's loopback
        target = IPv4Address("127.0.0.1")
    rest = [line for line in mine if not _is_server(line)]
    return _text([f"nameserver {gateway}", *rest]), target


def _read(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _is_server(line: str) -> bool:
    return line.split()[:1] == ["nameserver"] and len(line.split()) > 1


def _is_loopback(line: str) -> bool:
    try:
        return _is_server(line) and ip_address(line.split()[1].partition("%")[0]).is_loopback
    except ValueError:
        return False
