"""Others' firewalls: where Docker has set FORWARD to DROP, a cluster's bridge is let through.

An `accept` in our own table cannot undo a `drop` in another's, so this is one rule in theirs: in DOCKER-USER, which
Docker keeps for that, or else in FORWARD. Only where there is anything that could drop; taken out with the cluster.

Source: https://docs.docker.com/engine/network/packet-filtering-firewalls/
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from sampan.network.nft import Nft, NftError

_LEGACY = Path("/proc/net/ip_tables_names")


def let_through(nft: Nft, bridge: str, cluster: str) -> bool:
    """True: there was a firewall. Raises OSError when it cannot be told."""
    found = _firewalls(nft)
    for program in found:
        chain = "DOCKER-USER" if _call(program, "-n", "-L", "DOCKER-USER") else "FORWARD"
        for rule in _rules(bridge, cluster):
            if not _call(program, "-C", chain, *rule) and not _call(program, "-I", chain, *rule):
                raise OSError(f"{program} does not take a rule that lets {bridge} through")
    return bool(found)


def forget(nft: Nft, bridge: str, cluster: str) -> None:
    for program in _firewalls(nft):
        for chain in ("DOCKER-USER", "FORWARD"):
            for rule in _rules(bridge, cluster):
                while _call(program, "-D", chain, *rule):
                    pass


def _rules(bridge: str, cluster: str) -> list[list[str]]:
    comment = ["-m", "comment", "--comment", f"sampan {cluster}", "-j", "ACCEPT"]
    return [["-i", bridge, *comment], ["-o", bridge, *comment]]


def _firewalls(nft: Nft) -> list[str]:
    """Programs whose FORWARD does something. Looked at without them, since their looking creates tables."""
    out = []
    try:
        listed = nft.list("chain ip filter FORWARD")
    except NftError:
        listed = []
    if any("rule" in each or each.get("chain", {}).get("policy") == "drop" for each in listed):
        out.append(_program("iptables-nft", "iptables"))
    if _LEGACY.exists() and "filter" in _LEGACY.read_text().split():
        out.append(_program("iptables-legacy", "iptables"))
    return [each for each in out if each]


def _program(*names: str) -> str:
    found = (shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") for name in names)
    return next((each for each in found if each), "")


def _call(program: str, *words: str) -> bool:
    done: Any = subprocess.run([program, "-w", "5", *words], capture_output=True, check=False)
    return bool(done.returncode == 0)
