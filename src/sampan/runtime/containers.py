"""Containers: from an image and a sandbox to a process under conmon, and back to nothing.

Whatever we are in the middle of, `kill -9` may come: state is written before the step that it speaks of can be forgotten, and
`open` takes everything up again: who runs, who ended while we were away and with which code, and what is to be cleaned up.

Source: containerd internal/cri/server/container_*.go (states, reasons, messages)
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.runtime import cgroups, kernel, manifests, records, spec, users
from sampan.runtime.builtin import Builtin
from sampan.runtime.conmon import Conmon, Output
from sampan.runtime.errors import CriError, Exists, Invalid, NotFound, Precondition
from sampan.runtime.records import ContainerState, Record
from sampan.runtime.sandboxes import Sandbox, Sandboxes
from sampan.runtime.store import Store

Container = Record[ContainerState]
START_FAILED, UNKNOWN, OOM = 128, 255, 128 + signal.SIGKILL
STARTS = 2
#: how long the kernel may take to carry out SIGKILL
KILL_SECONDS = 30.0


class Containers:
    def __init__(
        self,
        root: Path,
        store: Store,
        sandboxes: Sandboxes,
        *,
        builtin: Builtin,
        clock: Callable[[], float],
    ) -> None:
        self._root = root / "containers"
        self._store = store
        self._sandboxes = sandboxes
        self._builtin = builtin
        self._clock = clock
        self._all: dict[str, Container] = {}
        self._names: dict[tuple[str, str, int], str] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        #: more OCI runtimes at once than this only wait for each other
        self._starts = asyncio.Semaphore(STARTS * (os.cpu_count() or 1))
        self._watcher: kernel.Watcher | None = None
        #: by container: the process that will tell by its end, and our hold on it
        self._watched: dict[str, tuple[int, int]] = {}
        #: told of each that has ended, whenever that is noticed
        self.on_exit: Callable[[Container], None] = lambda _: None

    async def open(self) -> None:
        for monitor in self._sandboxes.monitors.values():
            monitor.open()
        self._watcher = kernel.Watcher(self._sandboxes.monitors[""].exits, self._exited)
        found, broken = records.load(self._root, pb.ContainerConfig, ContainerState)
        for directory in broken:
            kernel.unmount(directory / "rootfs")
            records.remove(directory)
        for each in found:
            if not (each.directory / "config.json").exists():
                self._discard(each)  # its making was cut short, and nobody was told of it
                continue
            self._all[each.id] = each
            self._names[_name(each)] = each.id
        cut_short = [each for each in self._all.values() if each.state.starting]
        await asyncio.gather(*(self.monitor(each).scrub(each.id, each.state.cgroup) for each in cut_short))
        for each in cut_short:
            each.change(starting=False)
        for each in self._all.values():
            self._refresh(each)

    @staticmethod
    def _discard(container: Container) -> None:
        kernel.unmount(container.directory / "rootfs")
        records.remove(container.directory)

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        for key in list(self._watched):
            self._unwatch(key)

    def used_layers(self) -> Iterator[str]:
        for each in self._all.values():
            yield from each.state.layers

    def all(self) -> list[Container]:
        return list(self._all.values())

    def of(self, sandbox: Sandbox) -> list[Container]:
        return [each for each in self._all.values() if each.state.sandbox == sandbox.id]

    def get(self, key: str) -> Container:
        """By ID or an unambiguous beginning of it. Raises NotFound."""
        if (found := self._all.get(key)) is not None:
            return found
        matching = [each for name, each in self._all.items() if key and name.startswith(key)]
        if len(matching) != 1:
            raise NotFound(f'an error occurred when try to find container "{key}": not found')
        return matching[0]

    def monitor(self, container: Container) -> Conmon:
        monitors = self._sandboxes.monitors
        return monitors.get(container.state.oci, monitors[""])

    # -- making --------------------------------------------------------------------------------------------------------

    async def create(self, sandbox: Sandbox, config: Any) -> Container:
        """Raises CriError; nothing is left of one that failed."""
        namespaces = self._sandboxes.namespaces(sandbox)
        if config.linux.security_context.privileged and not sandbox.config.linux.security_context.privileged:
            raise CriError("no privileged container allowed in sandbox")
        if not config.HasField("metadata"):
            raise Invalid("container config must include metadata")
        image = self._store.find(config.image.image)
        if image is None:
            raise NotFound(f'failed to resolve image "{config.image.image}": not found')
        name = (sandbox.id, config.metadata.name, config.metadata.attempt)
        if (holder := self._names.get(name)) is not None:
            raise Exists(f'failed to reserve container name "{config.metadata.name}": name is reserved for "{holder}"')
        key = records.new_id()
        self._names[name] = key
        settings = manifests.settings(self._store.config(image))
        log = (
            str(Path(sandbox.config.log_directory, config.log_path))
            if config.log_path and sandbox.config.log_directory
            else ""
        )
        oci = self._sandboxes.monitor(sandbox).runtime
        path, cgroup = cgroups.place(sandbox.state.cgroup, key, oci.systemd)
        state = ContainerState(
            sandbox.id, int(self._clock() * 1e9), image.id, image.layers, cgroup, oci=oci.name, log=log,
            stop_signal=_stop_signal(config, settings.stop_signal), boot=records.boot_id(),
        )  # fmt: skip
        container = None
        try:
            container = records.create(self._root, key, config, state)
            # from here on the layers are kept by `used_layers`
            self._all[key] = container
            await kernel.mount_overlay(container.directory, [self._store.fs(layer) for layer in image.layers])
            await self._bundle(container, sandbox, settings, namespaces, path)
        except BaseException as error:
            self._all.pop(key, None)
            if container is not None:
                self._discard(container)
            del self._names[name]
            if isinstance(error, OSError):
                raise CriError(f"failed to create container: {error}") from None
            raise
        return container

    async def _bundle(
        self, container: Container, sandbox: Sandbox, settings: manifests.Settings, namespaces: dict[str, str],
        cgroup: str,
    ) -> None:  # fmt: skip
        config, rootfs = container.config, container.directory / "rootfs"
        context = config.linux.security_context
        user = users.find(rootfs, context, settings.user)
        options = context.namespace_options
        if options.pid == pb.TARGET:
            target = self.get(options.target_id)
            if target.state.sandbox != sandbox.id or not _runs(target):
                raise Precondition(f'invalid target container: container "{options.target_id}" is not running')
            namespaces["pid"] = f"/proc/{target.state.pid}/ns/pid"
        elif options.pid == pb.NODE:
            namespaces.pop("pid", None)
        elif options.pid == pb.CONTAINER or "pid" not in namespaces:
            namespaces["pid"] = ""
        writable = _volumes(rootfs, settings.volumes) if context.readonly_rootfs else {}
        place = spec.Place(
            rootfs, cgroup, namespaces, {**writable, **self._sandboxes.shared(sandbox)},
            sandbox.config.hostname or os.uname().nodename, self._builtin.mounts(container.state.image_id),
        )  # fmt: skip
        made = spec.build(config, settings, user, place)
        (container.directory / "config.json").write_text(json.dumps(made))
        container.change(uid=user.uid, gid=user.gid, groups=user.groups)

    async def start(self, container: Container) -> None:
        """Raises CriError; the container has then ended, with the reason StartError."""
        async with self._lock(container.id):
            state = container.state
            if state.started or state.finished:
                raise Precondition(f'container "{container.id}" is in {status_name(state)} state')
            self._sandboxes.namespaces(self._sandboxes.get(state.sandbox))
            config, monitor = container.config, self.monitor(container)
            if state.log:
                Path(state.log).parent.mkdir(parents=True, exist_ok=True)
            # first the note, then the deed: should we die in between, it is found and undone
            container.change(starting=True)
            try:
                async with self._starts:
                    pid = await monitor.create(
                        container.id, container.directory, log=state.log, tty=config.tty, stdin=config.stdin,
                        stdin_once=config.stdin_once,
                    )  # fmt: skip
                started, pid_start = int(self._clock() * 1e9), records.pid_start(pid)
                await monitor.start(container.id)
                container.note(starting=False, started=started, pid=pid, pid_start=pid_start)
            except CriError as error:
                await monitor.delete(container.id, container.state.cgroup)
                now = int(self._clock() * 1e9)
                words = f"failed to create task: {error}"
                container.note(starting=False, finished=now, exit_code=START_FAILED, reason="StartError", message=words)
                self._event(container.id).set()
                raise CriError(f'failed to start container "{container.id}": {words}') from None
            self._refresh(container)

    # -- ending --------------------------------------------------------------------------------------------------------

    def _exited(self, key: str) -> None:
        container = self._all.get(key)
        if container is not None:
            self._refresh(container)

    def _refresh(self, container: Container) -> None:
        """Has it ended since?"""
        state = container.state
        if state.finished:
            self._event(container.id).set()
            return
        if not state.started:
            return
        monitor = self.monitor(container)
        found = monitor.exit(container.id)
        if found is None:
            # the process may be gone already and its code not yet written: conmon is who knows
            watched = monitor.monitor(container.id, container.directory) or (_runs(container) and state.pid)
            if watched:
                self._watch(container, watched)
                return
            found = monitor.exit(container.id)  # it may have been written between the two looks
        self._unwatch(container.id)
        if found is None:
            # neither a process nor a word of its end: the machine was started anew, or conmon was killed
            code, when, reason = UNKNOWN, self._clock(), "Unknown"
        else:
            code, when = found
            # a child that was killed for memory is its parent's business; the first process dies of SIGKILL
            oom = code == OOM and ((container.directory / "oom").exists() or cgroups.oom_kills(state.cgroup) > 0)
            reason = "OOMKilled" if oom else "Completed" if code == 0 else "Error"
        container.note(finished=max(int(when * 1e9), state.started), exit_code=code, reason=reason, pid=0)
        cgroups.kill(state.cgroup)  # in a process namespace that others share its children would live on
        self._event(container.id).set()
        self.on_exit(container)

    def _watch(self, container: Container, pid: int) -> None:
        """Look again when this process ends: the exit file says it first, but conmon may be killed, too."""
        known = self._watched.get(container.id)
        if known is not None and known[0] == pid:
            return
        self._unwatch(container.id)
        loop = asyncio.get_running_loop()
        try:
            file = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_soon(self._exited, container.id)
            return
        self._watched[container.id] = pid, file
        loop.add_reader(file, self._watched_ended, container.id)

    def _watched_ended(self, key: str) -> None:
        self._unwatch(key)
        self._exited(key)

    def _unwatch(self, key: str) -> None:
        _, file = self._watched.pop(key, (0, -1))
        if file >= 0:
            asyncio.get_running_loop().remove_reader(file)
            os.close(file)

    async def stop(self, container: Container, seconds: float) -> None:
        """Idempotent. Raises CriError if it does not end."""
        if not is_running(container):
            return
        if seconds > 0:
            _signal(container, signal_number(container.state.stop_signal))
            if await self._ends_within(container, seconds):
                return
        _signal(container, signal.SIGKILL)
        if not await self._ends_within(container, KILL_SECONDS):
            raise CriError(f'failed to kill container "{container.id}": it does not end')

    async def _ends_within(self, container: Container, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._event(container.id).wait()
        except TimeoutError:
            self._refresh(container)
        return bool(container.state.finished)

    async def remove(self, container: Container) -> None:
        """Stopped first if need be. Idempotent."""
        await self.stop(container, 0)
        async with self._lock(container.id):
            if container.id not in self._all:
                return
            if container.state.started:
                await self.monitor(container).delete(container.id, container.state.cgroup)
            await asyncio.to_thread(kernel.unmount, container.directory / "rootfs")
            gone = self._store.ingest / f"gone-{container.id}"
            container.directory.rename(gone)
            del self._all[container.id]
            self._names.pop(_name(container), None)
            self._ended.pop(container.id, None)
            self._unwatch(container.id)
        self._locks.pop(container.id, None)
        await asyncio.to_thread(records.remove, gone)

    # -- while it runs -------------------------------------------------------------------------------------------------

    async def exec(self, container: Container, command: list[str], seconds: float | None) -> Output:
        """Raises CriError."""
        _must_run(container)
        if not command:
            raise Invalid("command can't be empty")
        process = json.loads((container.directory / "config.json").read_text())["process"]
        process.update(args=command, terminal=False)
        return await self.monitor(container).exec(container.id, container.directory, process, seconds)

    def reopen_log(self, container: Container) -> None:
        _must_run(container)
        try:
            self.monitor(container).reopen_log(container.directory)
        except OSError as error:
            raise CriError(f'failed to reopen the log of container "{container.id}": {error.strerror}') from None

    async def update(self, container: Container, wanted: Any) -> None:
        async with self._lock(container.id):
            if container.state.finished:
                raise Precondition(f'container "{container.id}" is in {status_name(container.state)} state')
            merged = self.resources(container)
            merged.MergeFrom(wanted)
            found = spec.resources(merged)
            if container.state.started:
                await self.monitor(container).update(container.id, found)
            file = container.directory / "config.json"
            made = json.loads(file.read_text())
            made["linux"]["resources"].update(found)
            file.with_suffix(".new").write_text(json.dumps(made))
            file.with_suffix(".new").rename(file)
            container.change(resources=merged.SerializeToString().hex())

    def resources(self, container: Container) -> Any:
        """As they are now; the caller's to change."""
        if container.state.resources:
            return pb.LinuxContainerResources.FromString(bytes.fromhex(container.state.resources))
        out = pb.LinuxContainerResources()
        out.CopyFrom(container.config.linux.resources)
        return out

    def _event(self, key: str) -> asyncio.Event:
        return self._ended.setdefault(key, asyncio.Event())

    def _lock(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())


def _name(container: Container) -> tuple[str, str, int]:
    metadata = container.config.metadata
    return container.state.sandbox, metadata.name, metadata.attempt


def _volumes(rootfs: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """The image's own directories, to be mounted over themselves; one behind a link of the image's is left alone."""
    out = {}
    for name in names:
        parts = Path(os.path.normpath(f"/{name}").lstrip("/")).parts
        ways = [rootfs.joinpath(*parts[: number + 1]) for number in range(len(parts))]
        if ways and not any(way.is_symlink() or (way.exists() and not way.is_dir()) for way in ways):
            ways[-1].mkdir(parents=True, exist_ok=True)
            out["/" + "/".join(parts)] = ways[-1]
    return out


def is_running(container: Container) -> bool:
    return bool(container.state.started) and not container.state.finished


def _runs(container: Container) -> bool:
    """Is its first process there?"""
    state = container.state
    same = state.boot == records.boot_id() and state.pid > 0
    return same and records.pid_start(state.pid) == state.pid_start != 0


def _signal(container: Container, number: int) -> None:
    """To the first process, and to none that has its number by now. One that is gone is no error."""
    try:
        held = os.pidfd_open(container.state.pid)
    except (OSError, ValueError):
        return
    try:
        if _runs(container):  # asked when nobody else can get the number any more
            signal.pidfd_send_signal(held, number)
    except ProcessLookupError:
        return
    finally:
        os.close(held)


def _must_run(container: Container) -> None:
    if not is_running(container):
        raise Precondition(f"container is in {status_name(container.state)} state")


def status(state: ContainerState) -> int:
    live = pb.CONTAINER_RUNNING if state.started else pb.CONTAINER_CREATED
    return int(pb.CONTAINER_EXITED if state.finished else live)


def status_name(state: ContainerState) -> str:
    return ("CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED")[status(state)]


def _stop_signal(config: Any, of_image: str) -> str:
    """In CRI's spelling. Raises Invalid."""
    if config.stop_signal:
        return str(pb.Signal[config.stop_signal])
    text = of_image.upper().replace("+", "PLUS").replace("-", "MINUS")
    if text.isdigit() and int(text) in signal.valid_signals():
        text = signal.Signals(int(text)).name
    name = text if text.startswith("SIG") else f"SIG{text}" if text else "SIGTERM"
    if name not in pb.Signal:
        raise Invalid(f'failed to parse stop signal "{of_image}"')
    return name


def signal_number(name: str) -> int:
    """Of CRI's spelling."""
    if found := re.fullmatch(r"SIGRT(MIN|MAX)(?:PLUS|MINUS)?(\d*)", name):
        offset = int(found[2] or 0)
        return signal.SIGRTMIN + offset if found[1] == "MIN" else signal.SIGRTMAX - offset
    return signal.Signals[name].value
