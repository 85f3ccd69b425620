"""Others' firewalls: where Docker or ufw drops what it does not know, a cluster's bridge is let through, or a node's pods.

An `accept` in our own table cannot undo a `drop` in another's, so these are rules in theirs: of iptables in DOCKER-USER,
which Docker keeps for that, or else FORWARD, and INPUT; firewalld is told what is to be trusted. Only where there
is anything that could drop; taken out with the cluster.

Source: https://docs.docker.com/engine/network/packet-filtering-firewalls/
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sampan.network.nft import Nft, NftError

_LEGACY = Path("/proc/net/ip_tables_names")


@dataclass(frozen=True, slots=True)
class Traffic:
    """From and to whom, as iptables' matches, and for firewalld. `name`: what the rules are known by."""

    name: str
    source: tuple[str, str]
    target: tuple[str, str]
    trusted: tuple[str, str]

    @classmethod
    def of_bridge(cls, bridge: str, name: str) -> Traffic:
        return cls(name, ("-i", bridge), ("-o", bridge), ("interface", bridge))

    @classmethod
    def of_pods(cls, pods: IPv4Network) -> Traffic:
        return cls("pods", ("-s", str(pods)), ("-d", str(pods)), ("source", str(pods)))


def let_through(nft: Nft, what: Traffic) -> None:
    """Raises OSError when one of them refuses."""
    for program, chain, rule in _rules(nft, what):
        if not _call(program, "-w", "5", "-C", chain, *rule) and not _call(program, "-w", "5", "-I", chain, *rule):
            raise OSError(f"{program} does not take a rule that lets {what.source[1]} through")
    if _has_firewalld(nft):
        kind, value = what.trusted
        _call("firewall-cmd", "--zone=trusted", f"--add-{kind}={value}")


def forget(nft: Nft, what: Traffic) -> None:
    for program, chain, rule in _rules(nft, what):
        while _call(program, "-w", "5", "-D", chain, *rule):
            pass
    if _has_firewalld(nft):
        kind, value = what.trusted
        _call("firewall-cmd", "--zone=trusted", f"--remove-{kind}={value}")


def _rules(nft: Nft, what: Traffic) -> Iterator[tuple[str, str, list[str]]]:
    """Program, chain, rule."""
    comment = ["-m", "comment", "--comment", f"sampan {what.name}", "-j", "ACCEPT"]
    for hook in ("FORWARD", "INPUT"):
        for program in _firewalls(nft, hook):
            users = hook == "FORWARD" and _call(program, "-w", "5", "-n", "-L", "DOCKER-USER")
            chain = "DOCKER-USER" if users else hook
            yield program, chain, [*what.source, *comment]
            if hook == "FORWARD":
                yield program, chain, [*what.target, *comment]


def _firewalls(nft: Nft, hook: str) -> list[str]:
    """Programs whose chain does something. Looked at without them, since their looking creates tables."""
    out = []
    listed = _chain(nft, f"ip filter {hook}")
    if any("rule" in each or each.get("chain", {}).get("policy") == "drop" for each in listed):
        out.append(_program("iptables-nft", "iptables"))
    if _LEGACY.exists() and "filter" in _LEGACY.read_text().split():
        out.append(_program("iptables-legacy", "iptables"))
    return [each for each in out if each]


def _has_firewalld(nft: Nft) -> bool:
    return bool(_program("firewall-cmd")) and bool(_chain(nft, "inet firewalld filter_FORWARD"))


def _chain(nft: Nft, name: str) -> list[dict[str, Any]]:
    try:
        return nft.list(f"chain {name}")
    except NftError:
        return []


def _program(*names: str) -> str:
    found = (shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") for name in names)
    return next((each for each in found if each), "")


def _call(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
