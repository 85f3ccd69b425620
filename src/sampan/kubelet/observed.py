"""A pod as the runtime has it: its sandboxes and containers, the newest first. The kubelet's memory is the runtime's.

Source: kubernetes pkg/kubelet/kuberuntime/{kuberuntime_manager.go GetPodStatus, kuberuntime_container.go toKubeContainerStatus}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sampan.cri import pb
from sampan.kubelet import names
from sampan.kubelet.cri import Cri, CriFailed

State = Literal["created", "running", "exited", "unknown"]
_STATES: tuple[State, ...] = ("created", "running", "exited", "unknown")
MESSAGE_BYTES, LOG_BYTES, LOG_LINES = 4096, 2048, 80
Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One container. Times are seconds since 1970, 0 where there is none."""

    id: str
    name: str
    state: State
    sandbox: str = ""
    created: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_ref: str = ""
    hash: str = ""
    restarts: int = 0
    resources: Any = None
    user: Obj | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sandbox:
    id: str
    ready: bool
    created: float
    attempt: int = 0
    ips: tuple[str, ...] = ()
    host_network: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """`name` and `namespace` are for pods that nothing else is known of."""

    uid: str
    name: str = ""
    namespace: str = ""
    sandboxes: tuple[Sandbox, ...] = ()
    containers: tuple[Seen, ...] = ()

    def latest(self, name: str) -> Seen | None:
        """The container that was made last under a name."""
        return next((each for each in self.containers if each.name == name), None)

    def before(self, seen: Seen) -> Seen | None:
        """The container that `seen` came after."""
        older = [each for each in self.containers if each.name == seen.name and each.created < seen.created]
        return older[0] if older else None

    def says(self, event: Any) -> bool:
        """Is what the runtime tells in an event known already?"""
        containers = {(each.id, _STATES[each.state]) for each in event.containers_statuses}
        box, there = event.pod_sandbox_status, {each.id: each.ready for each in self.sandboxes}
        mine = {(each.id, each.state) for each in self.containers if each.sandbox == box.id}
        return there.get(box.id) == (box.state == pb.SANDBOX_READY) and containers == mine

    @property
    def running(self) -> tuple[Seen, ...]:
        return tuple(each for each in self.containers if each.state == "running")

    @property
    def ready_sandbox(self) -> Sandbox | None:
        return next((each for each in self.sandboxes if each.ready), None)


class Reader:
    """Asks the runtime. Raises CriFailed."""

    def __init__(self, cri: Cri) -> None:
        self._cri = cri

    async def pod(self, uid: str) -> Observed:
        wanted = {names.POD_UID: uid}
        listed = (await self._cri.ListPodSandbox(filter=pb.PodSandboxFilter(label_selector=wanted))).items
        out = Observed(uid)
        sandboxes: list[Sandbox] = []
        statuses: list[tuple[str, Any]] = []
        complete = True
        for each in listed:
            try:
                reply = await self._cri.PodSandboxStatus(pod_sandbox_id=each.id)
            except CriFailed as error:
                if not error.gone:
                    raise
                continue
            sandboxes.append(_sandbox(reply.status))
            # a runtime that tells of events tells of the containers here, too
            complete = complete and reply.timestamp > 0
            statuses += [(each.id, status) for status in reply.containers_statuses]
            out = replace(out, name=each.metadata.name, namespace=each.metadata.namespace)
        if not complete:
            statuses = await self._containers(wanted)
        sandboxes.sort(key=lambda each: each.created, reverse=True)
        seen = [seen_of(status, sandbox) for sandbox, status in statuses]
        seen.sort(key=lambda each: (each.created, each.restarts), reverse=True)
        return replace(out, sandboxes=tuple(sandboxes), containers=tuple(seen))

    async def _containers(self, wanted: dict[str, str]) -> list[tuple[str, Any]]:
        found = await self._cri.ListContainers(filter=pb.ContainerFilter(label_selector=wanted))
        out = []
        for each in found.containers:
            try:
                out.append((each.pod_sandbox_id, (await self._cri.ContainerStatus(container_id=each.id)).status))
            except CriFailed as error:
                if not error.gone:
                    raise
        return out

    async def relist(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """By pod: each sandbox and container with its state. What differs from the last time has changed."""
        sandboxes = (await self._cri.ListPodSandbox()).items
        containers = (await self._cri.ListContainers()).containers
        out: dict[str, list[tuple[str, int]]] = {}
        for each in (*sandboxes, *containers):
            if uid := each.labels.get(names.POD_UID):
                out.setdefault(uid, []).append((each.id, each.state))
        return {uid: tuple(sorted(found)) for uid, found in out.items()}


def _sandbox(status: Any) -> Sandbox:
    ips = tuple(ip for ip in (status.network.ip, *(each.ip for each in status.network.additional_ips)) if ip)
    host = status.linux.namespaces.options.network == pb.NODE
    ready = status.state == pb.SANDBOX_READY
    return Sandbox(status.id, ready, status.created_at / 1e9, status.metadata.attempt, ips, host)


def seen_of(status: Any, sandbox: str = "") -> Seen:
    """A ContainerStatus, with its termination message where it has ended."""
    notes = dict(status.annotations)
    state = _STATES[status.state]
    user = None
    if status.HasField("user") and status.user.HasField("linux"):
        linux = status.user.linux
        user = {"linux": {"uid": linux.uid, "gid": linux.gid, "supplementalGroups": list(linux.supplemental_groups)}}
    out = Seen(
        status.id,
        status.labels.get(names.CONTAINER_NAME, "") or status.metadata.name,
        state,
        sandbox,
        status.created_at / 1e9,
        status.started_at / 1e9,
        status.finished_at / 1e9,
        status.exit_code,
        status.reason,
        status.message,
        status.image.image,
        status.image_ref,
        notes.get(names.HASH, ""),
        _number(notes.get(names.RESTARTS), status.metadata.attempt),
        status.resources.linux if status.HasField("resources") else None,
        user,
        notes,
    )
    if state == "exited":
        message = termination_message(status, notes)
        return replace(out, message=message) if message else out
    return out


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdigit() else otherwise


def termination_message(status: Any, notes: Mapping[str, str]) -> str:
    """What the container wrote into its file, or the end of its log where it wants that and has failed."""
    path = notes.get(names.MESSAGE_PATH, "")
    host = next((each.host_path for each in status.mounts if path and each.container_path == path), "")
    if host:
        try:
            with Path(host).open("rb") as file:
                data = file.read(MESSAGE_BYTES)
        except OSError as error:
            return f"Error on reading termination log {host}: {error.strerror}"
        if data:
            return data.decode(errors="replace")
    if notes.get(names.MESSAGE_POLICY) == "FallbackToLogsOnError" and status.exit_code != 0 and status.log_path:
        return tail(Path(status.log_path))
    return ""


def tail(path: Path) -> str:
    """The last lines of a CRI log, without times and marks."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 32 * LOG_BYTES))
            lines = file.read().split(b"\n")
    except OSError as error:
        return f"Error reading termination message from logs: {error.strerror}"
    text = b""
    for line in lines:
        parts = line.split(b" ", 3)
        if len(parts) == 4:
            text += parts[3] + (b"\n" if parts[2].startswith(b"F") else b"")
    last = b"\n".join(text.split(b"\n")[-LOG_LINES - 1 :])
    return last[-LOG_BYTES:].decode(errors="replace")
