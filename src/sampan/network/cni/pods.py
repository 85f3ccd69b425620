"""Attaching pods, as CNI has it: ADD, DEL, CHECK, GC, for one node.

Everything here blocks: 1 ms to attach, 20 ms to detach, because the kernel waits for all who may still use a link. Callers
run it in a thread; several may at once.

`DEL` works from what is on disk, not from what it is told, so it can be repeated, come too often, or come for an `ADD`
that was killed in the middle.

Source: CNI specification 1.1.0; containernetworking/plugins (order, messages)
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from sampan.network import firewalls
from sampan.network.cni import attachment, hostports
from sampan.network.cni.addresses import Addresses, HostPort, Owner
from sampan.network.cni.errors import CONFIG, FAILED, TRY_LATER, CniError
from sampan.network.cni.hostports import Way
from sampan.network.conntrack import Conntrack, Flow
from sampan.network.firewalls import Traffic
from sampan.network.namespaces import sysctl
from sampan.network.netlink import Link, Routing
from sampan.network.nft import Nft, NftError


@dataclass(frozen=True, slots=True)
class Settings:
    """`state`: where addresses are kept. `masquerade`: towards the world pods appear as the node, except in
    `cluster_cidr` (None: in the node's own range). `mtu` 0: that of the way out."""

    state: Path
    cidr: IPv4Network
    cluster_cidr: IPv4Network | None = None
    masquerade: bool = True
    mtu: int = 0

    @property
    def table(self) -> str:
        """One for each state directory: two that share a namespace do not meet."""
        return "sampan-cni-" + hashlib.sha1(str(self.state).encode(), usedforsecurity=False).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Attached:
    address: IPv4Address
    host: Link
    pod: Link


class Pods:
    """Works in the namespace its threads are in. Raises CniError from every method."""

    def __init__(self, settings: Settings) -> None:
        cidr = settings.cidr
        if cidr.prefixlen > 29:
            raise CniError(CONFIG, f"network {cidr} is too small to give addresses to pods")
        self.settings = settings
        self._addresses = Addresses(settings.state)
        self._nft: Nft | None = None
        self._source: IPv4Address | None = None
        self._ready = False

    # -- the node ------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Forwarding on, the table as what is on disk wants it, and firewalls told. Idempotent."""
        with _errors("prepare the node"):
            sysctl("net.ipv4.ip_forward", "1")
            with Routing() as host:
                self._source = attachment.node_address(host)
            self._program()
            firewalls.let_through(self._rules(), self._traffic())
        self._ready = True

    def _traffic(self) -> Traffic:
        """All pods': those of other nodes come through here too."""
        return Traffic.of_pods(self.settings.cluster_cidr or self.settings.cidr)

    def _program(self) -> None:
        settings = self.settings
        unchanged = (settings.cluster_cidr or settings.cidr) if settings.masquerade else None
        self._rules().run(hostports.program(settings.table, Way(settings.cidr, unchanged), self._addresses.all()))

    def _rules(self) -> Nft:
        if self._nft is None:
            self._nft = Nft()
        return self._nft

    def is_prepared(self) -> bool:
        return self._ready or bool(self._tables())

    def _tables(self) -> list[object]:
        try:
            return list(self._rules().list(f"table ip {self.settings.table}"))
        except NftError:
            return []

    def collect(self, known: Collection[tuple[str, str]]) -> None:
        """GC: all attachments go but those of these sandboxes' interfaces."""
        with _errors("clean up"):
            for address, owner in self._addresses.all().items():
                if (owner.sandbox, owner.interface) not in known:
                    self._detach(address, owner)
            names = {attachment.link_name(*each) for each in known}
            mine = attachment.MARK + self.settings.table
            with Routing() as host:
                for link in host.links():
                    if link.alias == mine and link.name not in names:
                        host.delete_link(link.name)

    def sweep(self) -> None:
        """At start, when no other process is at work on this state."""
        self._addresses.sweep()

    def remove(self) -> None:
        """The node's end: nothing is left but files."""
        self.collect(())
        with _errors("remove"):
            if self._tables():
                self._rules().run(f"delete table ip {self.settings.table}\n")
            firewalls.forget(self._rules(), self._traffic())

    def close(self) -> None:
        if self._nft is not None:
            self._nft.close()

    # -- pods ----------------------------------------------------------------------------------------------------------

    def attach(
        self, sandbox: str, namespace: Path, interface: str = "eth0", ports: tuple[HostPort, ...] = ()
    ) -> Attached:
        name = attachment.link_name(sandbox, interface)
        with _errors(f"attach {interface}"):
            if not self.is_prepared():
                self.prepare()
            self._detach_all(sandbox, interface)  # of an attempt before
            address = self._addresses.take(self.settings.cidr, Owner(sandbox, interface, name, ports))
            try:
                with Routing() as host:
                    source = self._source or attachment.node_address(host)
                    here, there = attachment.attach(
                        host, name, interface, namespace, address, owner=self.settings.table, mtu=self.settings.mtu or attachment.way_out_mtu(host),
                        source=source,
                    )  # fmt: skip
                if ports:
                    self._rules().run(hostports.change("add", self.settings.table, address, ports))
                    _forget_flows(ports)
            except (OSError, NftError):
                with Routing() as host:
                    host.delete_link(name)
                self._addresses.free(address)
                raise
        return Attached(address, here, there)

    def detach(self, sandbox: str, interface: str = "eth0") -> None:
        """Also of what was never attached."""
        with _errors(f"detach {interface}"):
            if not self._detach_all(sandbox, interface):
                with Routing() as host:
                    host.delete_link(attachment.link_name(sandbox, interface))

    def _detach_all(self, sandbox: str, interface: str) -> bool:
        found = self._addresses.of(sandbox, interface)
        for address, owner in found.items():
            self._detach(address, owner)
        return bool(found)

    def _detach(self, address: IPv4Address, owner: Owner) -> None:
        """The address comes free last: whoever gets it next must not inherit anything."""
        with Routing() as host:
            host.delete_link(owner.link)
        if owner.ports:
            try:
                self._rules().run(hostports.change("delete", self.settings.table, address, owner.ports))
            except NftError:
                # some of them were never added: only the whole can be put right
                self._addresses.free(address)
                self._program()
            _forget_flows(owner.ports)
        self._addresses.free(address)

    def check(self, sandbox: str, namespace: Path, interface: str = "eth0") -> None:
        with _errors(f"check {interface}"):
            found = self._addresses.of(sandbox, interface)
            if not found:
                raise CniError(FAILED, f"sandbox {sandbox} has no address for {interface}")
            with Routing() as host:
                if host.link(attachment.link_name(sandbox, interface)) is None:
                    raise CniError(FAILED, f"the host's end of {interface} does not exist")
            for address in found:
                if problem := attachment.check(namespace, interface, address):
                    raise CniError(FAILED, problem)


def _forget_flows(ports: tuple[HostPort, ...]) -> None:
    udp = {each.host_port for each in ports if each.protocol == "udp"}
    if not udp:
        return

    with Routing() as routing:
        own = {each.interface.ip for each in routing.addresses()}

    def is_stale(flow: Flow) -> bool:
        return flow.port in udp and flow.to in own

    with Conntrack() as table:
        table.clear(is_stale)


class _errors:
    """All failures as CNI's, with what was being done."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            code = TRY_LATER if error.errno in (errno.EBUSY, errno.EAGAIN) else FAILED
            raise CniError(code, f"failed to {self._doing}", error.strerror or str(error)) from error
        if isinstance(error, NftError):
            raise CniError(FAILED, f"failed to {self._doing}", str(error)) from error
