"""The proxy's options: kube-proxy's main ones, by flag or from a KubeProxyConfiguration.

Source: kubernetes/pkg/proxy/apis/config/{types,v1alpha1/defaults}.go
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import yaml

from sampan.api import durations

MASQUERADE_BIT = 14


class OptionsError(ValueError):
    """The text is for people."""


@dataclass(frozen=True, slots=True)
class Options:
    """`node`: our Node's name. `cluster_cidr`: range of all pods; None: unknown. Addresses are host and port, port 0:
    none is served. `routes`: this proxy also keeps the routes to other nodes' pods; `overlay`: see `routes.in_node`."""

    node: str
    kubeconfig: str = ""
    cluster_cidr: IPv4Network | None = None
    health: tuple[str, int] = ("0.0.0.0", 10256)
    metrics: tuple[str, int] = ("127.0.0.1", 10249)
    node_port_addresses: tuple[IPv4Network, ...] = ()
    masquerade_all: bool = False
    masquerade_bit: int = MASQUERADE_BIT
    min_sync_seconds: float = 0.0
    sync_seconds: float = 30.0
    routes: bool = True
    overlay: str = "auto"
    policies: bool = True


def from_file(path: Path) -> dict[str, Any]:
    """Of a KubeProxyConfiguration what is in `Options`, under its names. Raises OptionsError, OSError."""
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise OptionsError(f"{path}: {error}") from None
    if not isinstance(found, dict) or found.get("kind") != "KubeProxyConfiguration":
        raise OptionsError(f"{path}: it is no KubeProxyConfiguration")
    nft = found.get("nftables") or {}
    given = {
        "node": found.get("hostnameOverride"),
        "kubeconfig": (found.get("clientConnection") or {}).get("kubeconfig"),
        "cluster_cidr": cidr(found.get("clusterCIDR")),
        # empty is not none, in a file: kubeadm writes it so
        "health": endpoint(found.get("healthzBindAddress") or None, 10256),
        "metrics": endpoint(found.get("metricsBindAddress") or None, 10249),
        "node_port_addresses": networks(found.get("nodePortAddresses")),
        "masquerade_all": nft.get("masqueradeAll"),
        "masquerade_bit": nft.get("masqueradeBit"),
        "min_sync_seconds": seconds(nft.get("minSyncPeriod")),
        "sync_seconds": seconds(nft.get("syncPeriod")) or None,
    }
    mode(found.get("mode") or "")
    return {name: value for name, value in given.items() if value not in (None, "")}


def mode(text: str) -> None:
    """Raises OptionsError for any but ours."""
    if text not in ("", "nftables"):
        raise OptionsError(f"the proxy mode {text!r} is not there: this proxy is made of nftables")


def cidr(text: str | None) -> IPv4Network | None:
    """The IPv4 one of several. Raises OptionsError."""
    every = [each for each in (text or "").split(",") if each and ":" not in each]
    return networks(every[:1])[0] if every else None  # type: ignore[index]


def networks(texts: list[str] | None) -> tuple[IPv4Network, ...] | None:
    try:
        return None if texts is None else tuple(IPv4Network(each, strict=False) for each in texts if ":" not in each)
    except ValueError as error:
        raise OptionsError(str(error)) from None


def endpoint(text: str | None, port: int) -> tuple[str, int] | None:
    """`text`: an address, perhaps with a port; empty is none. Raises OptionsError."""
    if text is None:
        return None
    if not text:
        return "", 0
    host, colon, number = text.rpartition(":")
    try:
        return (host, int(number)) if colon else (text, port)
    except ValueError:
        raise OptionsError(f"{text!r} is no address and port") from None


def seconds(text: str | None) -> float | None:
    """Go's durations. Raises OptionsError."""
    if text is None:
        return None
    try:
        return durations.seconds(text)
    except ValueError as error:
        raise OptionsError(str(error)) from None
