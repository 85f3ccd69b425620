"""Our CNI plugin as the runtime's network: in this process, not one for each call.

Source: containerd internal/cri/server/{sandbox_run,sandbox_stop,update_runtime_config,status}.go (words)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import TypeVar

from sampan.cri import pb
from sampan.network.cni.addresses import HostPort
from sampan.network.cni.errors import CniError
from sampan.network.cni.pods import Pods, Settings
from sampan.runtime.errors import CriError, Invalid
from sampan.runtime.network import NOT_INITIALIZED, Attachment

T = TypeVar("T")
_PROTOCOLS = {pb.TCP: "tcp", pb.UDP: "udp", pb.SCTP: "sctp"}


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """`pod_cidr` empty: the kubelet tells it. `cluster_cidr` empty: the node's own range; what pods send elsewhere
    leaves with the node's address if `masquerade`. `mtu` 0: that of the node's way out."""

    state: Path
    pod_cidr: str = ""
    cluster_cidr: str = ""
    masquerade: bool = True
    mtu: int = 0


class PodNetwork:
    """Not ready until it knows its range, which it then remembers."""

    def __init__(self, options: NetworkOptions) -> None:
        self._options = options
        self._file = options.state / "pod-cidr"
        self._pods: Pods | None = None

    def problem(self) -> str:
        return "" if self._pods is not None else f"Network plugin returns error: {NOT_INITIALIZED}"

    async def start(self, known: Collection[str]) -> None:
        cidr = self._options.pod_cidr
        if not cidr:
            with contextlib.suppress(FileNotFoundError):
                cidr = self._file.read_text()
        if cidr:
            pods = await self._use(cidr)
            await _done(pods.sweep)
            await _done(lambda: pods.collect({(each, "eth0") for each in known}))

    async def configure(self, pod_cidr: str) -> None:
        if pod_cidr and not self._options.pod_cidr:
            await self._use(pod_cidr)

    async def _use(self, cidrs: str) -> Pods:
        network = _network(next((each for each in cidrs.split(",") if ":" not in each), ""))
        if self._pods is not None and self._pods.settings.cidr == network:
            return self._pods
        options = self._options
        whole = _network(options.cluster_cidr) if options.cluster_cidr else None
        settings = Settings(options.state / "addresses", network, whole, options.masquerade, options.mtu)

        def make() -> Pods:
            made = Pods(settings)
            made.prepare()
            options.state.mkdir(parents=True, exist_ok=True)
            scratch = self._file.with_suffix(".part")
            scratch.write_text(str(network))
            os.replace(scratch, self._file)
            return made

        previous, self._pods = self._pods, await _done(make)
        if previous is not None:
            previous.close()
        return self._pods

    async def attach(self, what: Attachment) -> tuple[str, ...]:
        pods, failed = self._pods, f'failed to setup network for sandbox "{what.sandbox}"'
        if pods is None:
            raise CriError(f"{failed}: {NOT_INITIALIZED}")
        ports = tuple(
            HostPort(_PROTOCOLS[each.protocol], each.host_ip, each.host_port, each.container_port)
            for each in what.config.port_mappings
            if each.host_port
        )
        words = f'{failed}: plugin type="sampan" failed (add)'
        attached = await _done(lambda: pods.attach(what.sandbox, what.namespace, ports=ports), words)
        return (str(attached.address),)

    async def detach(self, what: Attachment) -> None:
        pods = self._pods
        if pods is not None:
            words = f'failed to destroy network for sandbox "{what.sandbox}": plugin type="sampan" failed (delete)'
            await _done(lambda: pods.detach(what.sandbox), words)


async def _done(work: Callable[[], T], words: str = "") -> T:
    """In a thread: the kernel may take its time."""
    try:
        return await asyncio.to_thread(work)
    except CniError as error:
        raise CriError(f"{words}: {error}" if words else str(error)) from None


def _network(text: str) -> IPv4Network:
    try:
        return IPv4Network(text, strict=False)
    except ValueError:
        raise Invalid(f"invalid CIDR address: {text}") from None
