"""A pod's resolv.conf: whose servers, which domains, which options; and within the limits that resolvers have.

Source: kubernetes pkg/kubelet/network/dns/dns.go
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.kubelet import names

Obj = dict[str, Any]
MAX_SERVERS, MAX_SEARCHES, MAX_SEARCH_CHARS, MAX_DOMAIN = 3, 32, 2048, 255 - 2
MAX_FILE = 10 << 20
_OF_CLUSTER = ("ndots:5",)


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """As CRI's DNSConfig. `warnings`: reason and message of events about the pod."""

    servers: tuple[str, ...]
    searches: tuple[str, ...]
    options: tuple[str, ...]
    warnings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """`resolver`: the node's resolv.conf; None or the empty path: the node has no DNS."""

    cluster_dns: Sequence[str] = ()
    cluster_domain: str = "cluster.local"
    resolver: Path | None = Path("/etc/resolv.conf")
    ips: Sequence[str] = ()

    @property
    def file(self) -> Path | None:
        return self.resolver if self.resolver != Path() else None


@dataclass(slots=True)
class _Making:
    servers: list[str]
    searches: list[str]
    options: list[str]


def dns_config(pod: Obj, node: Node) -> DnsConfig:
    """Raises OSError, where the node's file cannot be read."""
    spec = pod["spec"]
    warnings: list[tuple[str, str]] = []
    found = parse(node.file) if node.file is not None else _Making([], [], [])
    match spec.get("dnsPolicy") or "ClusterFirst":
        case "None":
            found = _Making([], [], [])
        case "Default":
            _of_node(found, node)
        case "ClusterFirst" if spec.get("hostNetwork"):
            _of_node(found, node)
        case _ if node.cluster_dns:
            namespace = pod["metadata"]["namespace"]
            domain = node.cluster_domain
            own = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain] if domain else []
            searches = _once([*own, *found.searches]) if domain else found.searches
            found = _Making(list(node.cluster_dns), searches, list(_OF_CLUSTER))
        case _:
            text = (
                "kubelet does not have ClusterDNS IP configured and cannot create Pod using "
                '"ClusterFirst" policy. Falling back to "Default" policy.'
            )
            warnings.append(("MissingClusterDNS", f'pod: "{names.pod_text(pod)}". {text}'))
            _of_node(found, node)
    if own_config := spec.get("dnsConfig"):
        found.servers = _once([*found.servers, *(own_config.get("nameservers") or ())])
        found.searches = _once([*found.searches, *(own_config.get("searches") or ())])
        found.options = _merged(found.options, own_config.get("options") or ())
    return _limited(found, warnings)


def problem(node: Node) -> str:
    """What is wrong with the node's own file; empty: nothing."""
    if node.file is None:
        return ""
    try:
        searches = parse(node.file).searches
    except OSError as error:
        return f"open {node.file}: {(error.strerror or '').lower()}"
    most = MAX_SEARCHES - (3 if node.cluster_domain else 0)
    if len(searches) > most:
        return f"Resolv.conf file '{node.file}' contains search line consisting of more than {most} domains!"
    if len(" ".join(searches)) > MAX_SEARCH_CHARS:
        return f"Resolv.conf file '{node.file}' contains search line which length is more than allowed {MAX_SEARCH_CHARS} chars!"
    return ""


def _of_node(found: _Making, node: Node) -> None:
    if node.file is None:
        # what resolvers do without a file, said aloud
        found.servers = ["::1" if ":" in ip else "127.0.0.1" for ip in node.ips] or ["127.0.0.1"]
        found.searches = ["."]


def parse(file: Path) -> _Making:
    """A resolv.conf: servers add up; of `search` and `options`, the last line counts."""
    with file.open("rb") as opened:
        text = opened.read(MAX_FILE).decode(errors="replace")
    out = _Making([], [], [])
    for line in text.splitlines():
        words = line.split()
        match words[:1]:
            case ["nameserver"] if len(words) > 1:
                out.servers.append(words[1])
            case ["search"]:
                # with and without the dot at its end it is one domain; "." alone stays
                out.searches = [word if word == "." else word.removesuffix(".") for word in words[1:]]
            case ["options"]:
                out.options = words[1:]
    return out


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _merged(options: Iterable[str], own: Iterable[Obj]) -> list[str]:
    out = dict(option.partition(":")[::2] for option in options)
    out |= {option["name"]: option.get("value") or "" for option in own}
    return [f"{name}:{value}" if value else name for name, value in out.items()]


def _limited(found: _Making, warnings: list[tuple[str, str]]) -> DnsConfig:
    servers = found.servers[:MAX_SERVERS]
    if len(servers) < len(found.servers):
        warnings.append(
            (
                "DNSConfigForming",
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
                + " ".join(servers),
            )
        )
    searches = [each for each in found.searches[:MAX_SEARCHES] if len(each) <= MAX_DOMAIN]
    while len(" ".join(searches)) > MAX_SEARCH_CHARS:
        searches.pop()
    if len(searches) < len(found.searches):
        warnings.append(
            (
                "DNSConfigForming",
                "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
                + " ".join(searches),
            )
        )
    return DnsConfig(tuple(servers), tuple(searches), tuple(found.options), tuple(warnings))
