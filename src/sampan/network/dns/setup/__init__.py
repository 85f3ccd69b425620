"""From the text of a Corefile to server blocks that are ready to be started. Complaints are CoreDNS's.

Source: github.com/coredns/coredns core/dnsserver/{register,address,zdirectives}.go
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sampan.network.dns import names
from sampan.network.dns.corefile import Block, CorefileError, Dispenser, parse
from sampan.network.dns.setup import simple
from sampan.network.dns.setup.caching import cache
from sampan.network.dns.setup.draft import Draft, Surroundings
from sampan.network.dns.setup.forwarding import forward
from sampan.network.dns.setup.kubernetes import kubernetes
from sampan.network.dns.setup.local import hosts, rewrite, template

PORT = 53
#: in the order in which they are set up and, as far as they are links of the chain, asked
DIRECTIVES: dict[str, Callable[[Dispenser, Draft], None]] = {
    "reload": simple.reload,
    "bufsize": simple.bufsize,
    "bind": simple.bind,
    "ready": simple.ready,
    "health": simple.health,
    "prometheus": simple.prometheus,
    "errors": simple.errors,
    "log": simple.log,
    "loadbalance": simple.loadbalance,
    "cache": cache,
    "rewrite": rewrite,
    "template": template,
    "hosts": hosts,
    "kubernetes": kubernetes,
    "loop": simple.loop,
    "forward": forward,
}


def drafts(text: str, file: str, around: Surroundings, port: int = PORT) -> list[Draft]:
    """One for each port of each server block. Raises CorefileError."""
    out: list[Draft] = []
    taken: set[tuple[str, int, str]] = set()
    for block in parse(text, file, DIRECTIVES):
        for draft in _of_block(block, file, around, port):
            for host in draft.hosts or [""]:
                for zone in draft.zones:
                    key = (zone, draft.port, host)
                    if key in taken or (zone, draft.port, "") in taken:
                        raise CorefileError(f"cannot serve dns://{zone}:{draft.port} - it is already defined")
                    taken.add(key)
            out.append(draft)
    return out


def _of_block(block: Block, file: str, around: Surroundings, port: int) -> list[Draft]:
    zones: dict[int, list[str]] = {}
    for key in block.keys:
        number, found = _address(key, port)
        zones.setdefault(number, []).extend(found)
    out = []
    for number, found in zones.items():
        draft = Draft(found, number, Path("/"), around)
        for name, setup in DIRECTIVES.items():
            if name in block.tokens:
                try:
                    setup(Dispenser(file, block.tokens[name]), draft)
                except CorefileError as error:
                    raise CorefileError(f"plugin/{name}: {error}") from None
        out.append(draft)
    return out


def _address(key: str, port: int) -> tuple[int, list[str]]:
    """The port and the zones that a block's key says."""
    scheme, found, rest = key.partition("://")
    if found and scheme != "dns":
        # DEVIATION: server blocks are served over UDP and TCP, not over TLS, HTTPS, QUIC or gRPC.
        raise CorefileError(f"unsupported transport: {scheme}")
    rest = rest if found else key
    host, colon, number = rest.rpartition(":")
    if colon and number.isdigit() and (host.count(":") == 0 or host.startswith("[")):
        port, rest = int(number), host
    return port, names.zones(rest or ".")


__all__ = ["DIRECTIVES", "PORT", "drafts"]
