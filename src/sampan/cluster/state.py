"""Where a cluster lives on disk, and whether its processes do.

$SAMPAN_HOME/clusters/NAME/   (default ~/.local/share/sampan)
    cluster.json    how it was brought up: port, store, nodes, address ranges
    pki/            certificates and keys
    state.db        the store
    PROCESS.log     the output of a process: apiserver, components
    PROCESS.pid     its id and start time, so that a reused id is not mistaken for ours
    nodes/NAME/     a node's: images and containers, the kubelet's directory, its processes' logs and ids
/run/sampan/ID/     what a reboot may take: nodes' sockets and network namespaces
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sampan.cluster import spec
from sampan.cluster.errors import ClusterError

_NAME = re.compile("[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", re.ASCII)


def home() -> Path:
    named = os.environ.get("SAMPAN_HOME", "")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_DATA_HOME", "") or Path.home() / ".local" / "share") / "sampan"


@dataclass(slots=True)
class Settings:
    """`hollow`: how many simulated nodes, `stages`: a file with how their pods live. `listen`: where the API server does, besides the bridge that joins the nodes.
    `context`: its name in the kubeconfig."""

    port: int
    store: str
    hollow: int = 0
    nodes: list[spec.Node] = field(default_factory=list)
    ranges: spec.Ranges = field(default_factory=spec.Ranges)
    listen: str = "127.0.0.1"
    context: str = ""
    stages: str = ""

    @property
    def seen_by_others(self) -> bool:
        """At an address of its own, where other machines are told to look for it."""
        return not self.listen.startswith("127.") and self.listen not in ("0.0.0.0", "localhost", "::1", "::")


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster's directory."""

    name: str
    directory: Path

    @property
    def id(self) -> str:
        """Short, and no other cluster's on this machine: for names of bridges, tables and control groups."""
        return hashlib.sha256(os.fsencode(self.directory.resolve())).hexdigest()[:8]

    @property
    def run(self) -> Path:
        return Path("/run/sampan") / self.id

    def node(self, name: str) -> Path:
        return self.directory / "nodes" / name

    def socket(self, node: str) -> Path:
        """Where the node's runtime is spoken to. Short: a socket's path has 107 bytes at most."""
        return self.run / node / "cri.sock"

    def namespace(self, node: str) -> Path:
        """The node's network namespace."""
        return self.run / "net" / node

    @property
    def host(self) -> Path:
        """A hold on the machine's own network namespace, for those who are in a node's."""
        return self.run / "host"

    @property
    def registries(self) -> Path:
        """Of its nodes: where images of which registry come from, as hosts.toml files."""
        return self.directory / "certs.d"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    def log(self, process: str = "apiserver") -> Path:
        return self.directory / f"{process}.log"

    def last_word(self, process: str) -> str:
        """What it wrote last, for a message."""
        with contextlib.suppress(OSError):
            lines = self.log(process).read_text(errors="replace").splitlines()
            return f" (its last word: {lines[-1]})" if lines else " (it has said nothing)"
        return ""

    @property
    def database(self) -> Path:
        return self.directory / "state.db"

    def exists(self) -> bool:
        return (self.directory / "cluster.json").exists()

    def settings(self) -> Settings | None:
        try:
            raw = json.loads((self.directory / "cluster.json").read_text())
            more = {name: raw[name] for name in ("hollow", "listen", "context", "stages") if name in raw}
            more["nodes"] = [spec.loaded(node) for node in raw.get("nodes", ())]
            more["ranges"] = spec.Ranges(**raw.get("ranges", {}))
            more.setdefault("context", f"sampan-{self.name}")
            return Settings(int(raw["port"]), str(raw["store"]), **more)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, settings: Settings) -> None:
        scratch = self.directory / "cluster.json.part"
        scratch.write_text(json.dumps(asdict(settings)) + "\n")
        os.replace(scratch, self.directory / "cluster.json")

    def forget(self) -> None:
        """It is no cluster any more; what else is there stays."""
        (self.directory / "cluster.json").unlink(missing_ok=True)

    def pid(self, process: str = "apiserver") -> int | None:
        """The id of a running process of this cluster."""
        try:
            pid, started = (self.directory / f"{process}.pid").read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if start_time(int(pid)) == started else None

    def note_pid(self, pid: int, process: str = "apiserver") -> None:
        (self.directory / f"{process}.pid").write_text(f"{pid} {start_time(pid)}\n")

    def forget_pid(self, process: str) -> None:
        (self.directory / f"{process}.pid").unlink(missing_ok=True)

    def known(self) -> Settings:
        """Raises ClusterError when there is no such cluster."""
        settings = self.settings()
        if settings is None:
            raise ClusterError(
                f"there is no cluster {self.name}", "`sampan status` lists those there are, `sampan up` makes one"
            )
        return settings

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one `up` or `down` at a time. A directory that then holds nothing else goes again. Raises ClusterError."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = open(self.directory / "lock", "w")  # noqa: SIM115 - closed below
        except OSError as error:
            raise ClusterError(
                f"cannot write to {self.directory}: {error.strerror}",
                "make it writable, or set SAMPAN_HOME to a directory that is",
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ClusterError(
                    f"another command is working on cluster {self.name}", "wait for it to end, then try again"
                ) from None
            try:
                yield
            finally:
                self._vanish()

    def fresh(self) -> bool:
        """Nobody has kept anything here yet."""
        return not any(path.name != "lock" for path in self.directory.iterdir())

    def empty(self) -> None:
        """Remove all but the lock, which is held."""
        for path in self.directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != "lock":
                path.unlink(missing_ok=True)

    def _vanish(self) -> None:
        with contextlib.suppress(OSError):
            if self.fresh():
                (self.directory / "lock").unlink()
                self.directory.rmdir()


def find(name: str) -> Cluster:
    """Raises ClusterError for a name that cannot be one."""
    if not _NAME.fullmatch(name):
        raise ClusterError(
            f"{name!r} cannot be the name of a cluster", "use lower case letters, digits and '-', at most 42 of them"
        )
    return Cluster(name, home() / "clusters" / name)


def all_clusters() -> list[Cluster]:
    root = home() / "clusters"
    found = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [cluster for cluster in (Cluster(path.name, path) for path in found) if cluster.exists()]


def start_time(pid: int) -> str:
    """When a process began, in ticks since boot; empty when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
