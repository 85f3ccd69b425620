"""Sandboxes: namespaces that wait for containers, and the files all containers of a pod share.

Bind mounts keep the namespaces, no process does; but a process namespace that a pod shares needs a first process.

Source: containerd internal/cri/server/sandbox_run.go, sandbox_stop.go (order, words)
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.runtime import cgroups, kernel, pause, records
from sampan.runtime.conmon import Conmon
from sampan.runtime.errors import CriError, Exists, Invalid, NotFound, Precondition
from sampan.runtime.network import Attachment, Network
from sampan.runtime.records import Record, SandboxState

Sandbox = Record[SandboxState]
SHM_BYTES = 64 << 20
#: what of /proc/sys belongs to which namespace
_IPC_SYSCTLS = ("kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.")
log = logging.getLogger("runtime")


class Sandboxes:
    """`root` outlives the machine's runs, `run` does not. `monitors`: by handler. `clock`: seconds since 1970."""

    def __init__(
        self, root: Path, run: Path, network: Network, monitors: Mapping[str, Conmon], *, clock: Callable[[], float]
    ) -> None:
        self._root = root / "sandboxes"
        self._pause = root / "pause"
        self._run = run / "sandboxes"
        self.monitors = monitors
        self._network = network
        self._clock = clock
        self._all: dict[str, Sandbox] = {}
        self._names: dict[tuple[str, ...], str] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def open(self) -> None:
        """What was being made is taken away, what was being stopped is stopped."""
        found, broken = records.load(self._root, pb.PodSandboxConfig, SandboxState)
        for directory in broken:
            key = directory.name.lstrip(".")
            self._unmount(key)
            records.remove(directory)
        for each in found:
            self._all[each.id] = each
            self._names[_name(each.config)] = each.id
            if each.state.ready and each.state.boot != records.boot_id():
                each.change(ready=False)
            if each.state.ready:
                continue
            try:
                await self._take_down(each, cut_short=True)
            except (CriError, OSError) as error:
                log.warning("sandbox %s is not stopped yet: %s", each.id, error)
                continue  # the kubelet will stop it once more
            if each.state.making:
                await self.remove(each)

    def all(self) -> list[Sandbox]:
        for each in self._all.values():
            self._look(each)
        return list(self._all.values())

    @staticmethod
    def _look(sandbox: Sandbox) -> None:
        """Without its first process the shared process namespace is dead."""
        state = sandbox.state
        if state.ready and state.init and records.pid_start(state.init) != state.init_start:
            sandbox.note(ready=False)

    def get(self, key: str) -> Sandbox:
        """By ID or an unambiguous beginning of it. Raises NotFound."""
        if (found := self._all.get(key)) is not None:
            self._look(found)
            return found
        matching = [each for name, each in self._all.items() if key and name.startswith(key)]
        if len(matching) != 1:
            raise NotFound(f'an error occurred when try to find sandbox "{key}": not found')
        return matching[0]

    async def run(self, config: Any, handler: str) -> Sandbox:
        """Raises CriError; nothing is left of one that failed."""
        monitor = self.monitors.get(handler)
        if monitor is None:
            raise Invalid(f'no runtime for "{handler}" is configured')
        if not config.HasField("metadata") or not config.metadata.name:
            raise Invalid("sandbox config must include metadata")
        name = _name(config)
        if (holder := self._names.get(name)) is not None:
            raise Exists(f'failed to reserve sandbox name "{"_".join(name)}": name is reserved for "{holder}"')
        key = records.new_id()
        self._names[name] = key
        options = config.linux.security_context.namespace_options
        own = "sampan.slice" if monitor.runtime.systemd else f"/sampan/{key}"
        state = SandboxState(
            int(self._clock() * 1e9), ready=False, making=True, host_network=options.network == pb.NODE,
            cgroup=config.linux.cgroup_parent or own, own_cgroup=not config.linux.cgroup_parent and own.endswith(key),
            handler=handler, oci=monitor.runtime.name, boot=records.boot_id(),
        )  # fmt: skip
        sandbox = None
        try:
            sandbox = records.create(self._root, key, config, state)
            await self._make(sandbox, options)
        except BaseException as error:
            if sandbox is not None:
                await self._take_down(sandbox, cut_short=True)
                records.remove(sandbox.directory)
            del self._names[name]
            if isinstance(error, OSError):
                raise CriError(f"failed to create sandbox: {error}") from None
            raise
        self._all[key] = sandbox
        return sandbox

    async def _make(self, sandbox: Sandbox, options: Any) -> None:
        config, here = sandbox.config, self._run / sandbox.id
        # DEVIATION: no user namespaces
        if options.HasField("userns_options") and options.userns_options.mode == pb.POD:
            raise Invalid("user namespaces are not supported")
        here.mkdir(parents=True)
        kinds = ["net", "uts"] if options.network != pb.NODE else []
        kinds += ["ipc"] if options.ipc != pb.NODE else []
        _check_sysctls(config.linux.sysctls, kinds)
        hostname = config.hostname or os.uname().nodename
        await kernel.pin_namespaces(here / "ns", kinds, hostname, dict(config.linux.sysctls))
        if "ipc" in kinds:
            (here / "shm").mkdir()
            flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
            kernel.mount("shm", here / "shm", "tmpfs", flags, f"mode=1777,size={SHM_BYTES}")
        (sandbox.directory / "hostname").write_text(f"{hostname}\n")
        shutil.copyfile("/etc/hosts", sandbox.directory / "hosts")
        _resolver(config.dns_config, sandbox.directory / "resolv.conf")
        if options.pid == pb.POD:
            await self._start_init(sandbox)
        ips: tuple[str, ...] = ()
        if "net" in kinds:
            sandbox.change(attached=True)
            ips = await self._network.attach(self._attachment(sandbox))
        sandbox.change(ready=True, making=False, ips=ips)

    async def _start_init(self, sandbox: Sandbox) -> None:
        monitor, bundle = self.monitor(sandbox), self._run / sandbox.id / "init"
        path, cgroup = cgroups.place(sandbox.state.cgroup, sandbox.id, monitor.runtime.systemd)
        sandbox.change(init_cgroup=cgroup)
        context = sandbox.config.linux.security_context
        pause.write_bundle(bundle, pause.root(self._pause), path, self._held(sandbox), context)
        pid = await monitor.run(sandbox.id, bundle)
        sandbox.change(init=pid, init_start=records.pid_start(pid))

    def monitor(self, sandbox: Sandbox) -> Conmon:
        return self.monitors.get(sandbox.state.oci, self.monitors[""])

    def _attachment(self, sandbox: Sandbox) -> Attachment:
        return Attachment(sandbox.id, self._run / sandbox.id / "ns" / "net", sandbox.config)

    async def stop(self, sandbox: Sandbox) -> None:
        """Its containers have been stopped. Idempotent."""
        async with self._lock(sandbox.id):
            if sandbox.state.ready:
                sandbox.note(ready=False)  # whoever comes after us goes on with it
            await self._take_down(sandbox)

    async def _take_down(self, sandbox: Sandbox, *, cut_short: bool = False) -> None:
        state = sandbox.state
        if state.init_cgroup:
            end = self.monitor(sandbox).scrub if cut_short else self.monitor(sandbox).delete
            await end(sandbox.id, state.init_cgroup)
            sandbox.note(init=0, init_cgroup="")
        if state.attached:
            await self._network.detach(self._attachment(sandbox))
            sandbox.note(attached=False)
        await asyncio.to_thread(self._unmount, sandbox.id)

    def _unmount(self, key: str) -> None:
        here = self._run / key
        kernel.unpin_namespaces(here / "ns")
        kernel.unmount(here / "shm")
        shutil.rmtree(here, ignore_errors=True)

    async def remove(self, sandbox: Sandbox) -> None:
        """Stopped, and without containers."""
        await self.stop(sandbox)
        if sandbox.state.own_cgroup:
            await asyncio.to_thread(cgroups.remove, sandbox.state.cgroup)
        await asyncio.to_thread(records.remove, sandbox.directory)
        self._all.pop(sandbox.id, None)
        if self._names.get(_name(sandbox.config)) == sandbox.id:  # it may be another one's since
            del self._names[_name(sandbox.config)]
        self._locks.pop(sandbox.id, None)

    def update(self, sandbox: Sandbox, overhead: Any, resources: Any) -> None:
        """To be remembered: the group of a pod is the caller's."""
        sandbox.config.linux.overhead.CopyFrom(overhead)
        sandbox.config.linux.resources.CopyFrom(resources)
        sandbox.save()

    def _lock(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    # -- for containers ------------------------------------------------------------------------------------------------

    def namespaces(self, sandbox: Sandbox) -> dict[str, str]:
        """Those to join, by OCI's name. Raises Precondition."""
        if not sandbox.state.ready:
            raise Precondition(f'sandbox container "{sandbox.id}" is not running')
        found = self._held(sandbox)
        if sandbox.state.init:
            found["pid"] = f"/proc/{sandbox.state.init}/ns/pid"
        return found

    def _held(self, sandbox: Sandbox) -> dict[str, str]:
        ns = self._run / sandbox.id / "ns"
        names = {"net": "network", "ipc": "ipc", "uts": "uts"}
        return {name: str(ns / kind) for kind, name in names.items() if (ns / kind).exists()}

    def info(self, sandbox: Sandbox) -> dict[str, Any]:
        """For people, shaped as containerd's."""
        held = {**self._held(sandbox), **({"pid": f"/proc/{sandbox.state.init}/ns/pid"} if sandbox.state.init else {})}
        namespaces = [{"type": kind, "path": path} for kind, path in held.items()]
        return {
            "pid": sandbox.state.init,
            "cgroup": sandbox.state.cgroup,
            "runtimeSpec": {"linux": {"namespaces": namespaces}},
        }

    def network_namespace(self, sandbox: Sandbox) -> Path | None:
        """None: the machine's."""
        found = self._run / sandbox.id / "ns" / "net"
        return found if found.exists() else None

    def shared(self, sandbox: Sandbox) -> dict[str, Path]:
        shm = self._run / sandbox.id / "shm"
        files = {f"/etc/{name}": sandbox.directory / name for name in ("hostname", "hosts", "resolv.conf")}
        return {**files, "/dev/shm": shm if shm.exists() else Path("/dev/shm")}


def _name(config: Any) -> tuple[str, ...]:
    metadata = config.metadata
    return metadata.name, metadata.namespace, metadata.uid, str(metadata.attempt)


def _check_sysctls(sysctls: Mapping[str, str], kinds: list[str]) -> None:
    """None of them may be the machine's. Raises Invalid, in runc's words."""
    for name in sysctls:
        if name.startswith("net."):
            if "net" not in kinds:
                raise Invalid(f'sysctl "{name}" not allowed in host network namespace')
        elif name.startswith(_IPC_SYSCTLS):
            if "ipc" not in kinds:
                raise Invalid(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
        elif name not in ("kernel.domainname", "kernel.hostname") or "uts" not in kinds:
            raise Invalid(f'sysctl "{name}" is not in a separate kernel namespace')


def _resolver(dns: Any, target: Path) -> None:
    if not (dns.servers or dns.searches or dns.options):
        shutil.copyfile("/etc/resolv.conf", target)
        return
    lines = [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"nameserver {server}" for server in dns.servers]
    lines += [f"options {' '.join(dns.options)}"] if dns.options else []
    target.write_text("\n".join(lines) + "\n")
