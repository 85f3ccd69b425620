"""Name servers that nodes can use: the host's own, as far as they can be reached from another namespace.

systemd-resolved's and dnsmasq's listen on the host's loopback, which is nobody else's. The first keeps a list of those it
asks; for any other, the host's end of the bridge answers in its place. 127.0.0.53 takes only what comes in on the loopback
device, so where systemd-resolved itself is all there is (it asks by IPv6, say), it is 127.0.0.54, made for such redirects.

Source: kubernetes/cmd/kubeadm/app/phases/kubelet/config.go (systemd-resolved); systemd src/resolve/resolved-dns-stub.c
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

_ETC, _SYSTEMD = Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")
_LOOPBACK = IPv4Address("127.0.0.1")
_STUBS = (IPv4Address("127.0.0.53"), IPv4Address("127.0.0.54"))


def for_nodes(gateway: IPv4Address, etc: Path = _ETC, systemd: Path = _SYSTEMD) -> tuple[str, IPv4Address | None]:
    """A node's resolv.conf, and the host's resolver that port 53 of `gateway` must lead to; None: there is no need."""
    mine, asked = _read(etc), _read(systemd)
    for lines in (mine, asked):
        if any(isinstance(each, IPv4Address) and not each.is_loopback for each in _servers(lines)):
            return _reachable(lines), None
    local = [each for each in (*_servers(mine), *_servers(asked)) if each.is_loopback]
    if not asked and len(local) < len(_servers(mine)):  # by IPv6, if at all
        return _reachable(mine), None
    usual = _STUBS[1] if asked else next(iter(local), None)
    target = next((each for each in local if each not in _STUBS), usual)
    rest = [line for line in mine if not _is_server(line)]
    # one that is only on IPv6's loopback is on the other as well, or not to be had
    return _text([f"nameserver {gateway}", *rest]), target if isinstance(target, IPv4Address) else _LOOPBACK


def _read(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _reachable(lines: Iterable[str]) -> str:
    return _text(line for line in lines if not any(each.is_loopback for each in _servers([line])))


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _is_server(line: str) -> bool:
    return line.split()[:1] == ["nameserver"] and len(line.split()) > 1


def _servers(lines: Iterable[str]) -> list[IPv4Address | IPv6Address]:
    out = []
    for line in filter(_is_server, lines):
        try:
            out.append(ip_address(line.split()[1].partition("%")[0]))
        except ValueError:
            continue
    return out
