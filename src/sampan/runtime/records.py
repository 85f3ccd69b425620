"""What we must know again after a restart: for each sandbox and container the request it was made by, and its state.

    sandboxes/ID/config.pb, state.json      containers/ID/config.pb, state.json

Both files of a new one come in by the rename of their directory. A change of state is one write of one page in place, which no
`kill -9` can cut in two, and which costs a tenth of what a new file does. What cannot be read (the machine lost its power in
between) is as good as gone, and its directory is given to whoever cleans up.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError

S = TypeVar("S")
PAGE = 4096
log = logging.getLogger("runtime")


@dataclass(frozen=True, slots=True)
class SandboxState:
    """Times are nanoseconds since 1970."""

    created: int
    ready: bool = True
    #: not told to anybody yet: who finds it so after a restart takes it away
    making: bool = False
    ips: tuple[str, ...] = ()
    host_network: bool = False
    #: given to the network, and not taken back since
    attached: bool = False
    #: the cgroup parent, ours to remove if the caller named none
    cgroup: str = ""
    own_cgroup: bool = False
    #: as asked for, and which OCI runtime that is
    handler: str = ""
    oci: str = ""
    #: the process that holds the process namespace of the pod, where it has one; its group, and its start time
    init: int = 0
    init_start: int = 0
    init_cgroup: str = ""
    #: the start of the machine it ran on: after another there is nothing left of it
    boot: str = ""


@dataclass(frozen=True, slots=True)
class ContainerState:
    sandbox: str
    created: int
    image_id: str
    layers: tuple[str, ...]
    cgroup: str
    oci: str = ""
    log: str = ""
    stop_signal: str = "SIGTERM"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    #: between the first step of a start and its success: who finds it so after a restart begins anew
    starting: bool = False
    started: int = 0
    finished: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    pid: int = 0
    #: the kernel's start time of that pid: the number alone may be somebody else's by now
    pid_start: int = 0
    boot: str = ""
    #: resources as they were last updated, a serialized LinuxContainerResources in hexadecimal
    resources: str = ""


@dataclass(slots=True)
class Record(Generic[S]):
    id: str
    directory: Path
    config: Any
    state: S
    #: of the request, which never change: a message's own are slow to look at
    labels: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.labels = dict(self.config.labels)

    def change(self, **fields: Any) -> None:
        self.state = replace(self.state, **fields)  # type: ignore[type-var]  # S is one of the two above
        _write_state(self.directory, self.state)

    def note(self, **fields: Any) -> None:
        """As `change`; but a full disk must not keep anything from its end, which alone would empty it. We know, and should we be
        killed before it can be written, it is found out again.
        """
        try:
            self.change(**fields)
        except OSError as error:
            log.warning("the state of %s is not written: %s", self.id, error)

    def save(self) -> None:
        """The request, after a change."""
        _write(self.directory / "config.pb", self.config.SerializeToString())


def _write_state(directory: Path, state: Any) -> None:
    found = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    data = json.dumps(found).encode().ljust(PAGE)
    file = os.open(directory / "state.json", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if len(data) == PAGE >= os.fstat(file).st_size:
            os.pwrite(file, data, 0)
        else:
            _write(directory / "state.json", data)
    finally:
        os.close(file)


def _write(path: Path, data: bytes) -> None:
    """Replaced, but not forced to the disk: of what runs nothing is left after a power failure."""
    made = path.with_suffix(".new")
    made.write_bytes(data)
    made.rename(path)


def create(top: Path, key: str, config: Any, state: S) -> Record[S]:
    made = top / f".{key}"
    made.mkdir(parents=True)
    (made / "config.pb").write_bytes(config.SerializeToString())
    _write_state(made, state)
    made.rename(top / key)
    return Record(key, top / key, config, state)


def load(top: Path, message: Any, kind: type[S]) -> tuple[list[Record[S]], list[Path]]:
    """The records, and the directories that are none."""
    found: list[Record[S]] = []
    broken: list[Path] = []
    top.mkdir(parents=True, exist_ok=True)
    for directory in sorted(top.iterdir()):
        try:
            config = message.FromString((directory / "config.pb").read_bytes())
            fields = json.loads((directory / "state.json").read_bytes())
            values = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
            if directory.name.startswith("."):
                raise ValueError("half made")
            found.append(Record(directory.name, directory, config, kind(**values)))
        except (OSError, ValueError, TypeError, AttributeError, DecodeError):
            broken.append(directory)
    return found, broken


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def pid_start(pid: int) -> int:
    """0 if there is no such process, or it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in ("Z", "X") else int(fields[19])


def new_id() -> str:
    return os.urandom(32).hex()
