"""What the kubelet is put together from, as those who start and end pods use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampan.client import EventRecorder, reference
from sampan.kubelet import names
from sampan.kubelet.backoff import Backoffs
from sampan.kubelet.cgroups import Cgroups
from sampan.kubelet.cri import Cri
from sampan.kubelet.images import Images
from sampan.kubelet.machine import MachineInfo
from sampan.kubelet.observed import Reader, Sandbox
from sampan.kubelet.options import Options
from sampan.kubelet.probes import Probes
from sampan.kubelet.statuses import Statuses
from sampan.kubelet.volumes import Mounted, Volumes

Obj = dict[str, Any]
Tell = Callable[[str, str, str], None]


@dataclass(slots=True)
class Runtime:
    """What is known of the runtime: its name, and since when it does not answer. Problems are empty when there is none."""

    name: str = ""
    version: str = ""
    network: str = "container runtime status check may not have completed yet"
    problem: str = "container runtime status check may not have completed yet"
    driver: str = ""
    handlers: list[Obj] = field(default_factory=list)
    supplemental_groups: bool = False
    recursive_read_only: bool = False
    #: by the loop's clock, when it last answered, and when all containers were last looked at
    answered: float = 0.0
    looked: float = 0.0


@dataclass(slots=True)
class Parts:
    """`clock`: seconds since 1970."""

    options: Options
    cri: Cri
    reader: Reader
    recorder: EventRecorder
    statuses: Statuses
    images: Images
    restarts: Backoffs
    cgroups: Cgroups
    machine: MachineInfo
    runtime: Runtime
    clock: Callable[[], float]
    host_ips: tuple[str, ...]
    volumes: Volumes
    probes: Probes
    environment: Callable[[Obj, Obj, Sandbox, Mapping[str, Mounted]], Awaitable[list[tuple[str, str]]]]
    dns: Callable[[Obj], Any]
    #: of its RuntimeClass; empty: the runtime's own choice
    handler: Callable[[Obj], Awaitable[str]]
    #: by the kubelet's uid: the pod at the API server that stands for a static one
    shown: Callable[[Obj], Obj | None]

    def tell(self, pod: Obj, kind: str, reason: str, message: str) -> None:
        self.recorder.event(pod, kind, reason, message)

    def teller(self, pod: Obj, container: str) -> Tell:
        """For events of a container."""
        about = reference(pod, names.field_path(pod, container))
        return lambda kind, reason, message: self.recorder.event(about, kind, reason, message)

    async def run(self, container: str, command: Sequence[str], timeout: float) -> tuple[int, bytes]:
        """A command in a container: its exit code and what it wrote. Raises CriFailed."""
        done = await self.cri.ExecSync(container_id=container, cmd=list(command), timeout=max(0, round(timeout)))
        return int(done.exit_code), bytes(done.stdout) + bytes(done.stderr)
