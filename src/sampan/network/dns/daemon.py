"""The process: a Corefile from a file, again when it changes, until a signal says stop. Its log is CoreDNS's.

Source: github.com/coredns/coredns coremain/run.go, plugin/reload/{reload,setup}.go, plugin/health/setup.go;
github.com/coredns/caddy sigtrap_posix.go
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sampan.client import Client, Config, HttpsTransport, in_cluster
from sampan.network.dns.corefile import CorefileError
from sampan.network.dns.instance import Instance, Service, build
from sampan.network.dns.metrics import Metrics
from sampan.network.dns.plugin import Fatal
from sampan.network.dns.setup import PORT, drafts
from sampan.network.dns.setup.draft import Surroundings

log = logging.getLogger("sampan.dns")
reloading = logging.getLogger("sampan.dns.reload")
health = logging.getLogger("sampan.dns.health")


def connect(config: Config | None) -> Client:
    """Raises ConfigError."""
    return Client(HttpsTransport(config or in_cluster(), max_connections=8), user_agent="coredns")


def own_addresses() -> list[str]:
    """That from which the API server is reached: a pod's only one."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((host, 9))
        except OSError:
            return []
        return [sock.getsockname()[0]]


class Daemon:
    """`tell` prints what is not a log's line; `clock`: seconds since 1970."""

    def __init__(
        self,
        file: Path,
        *,
        port: int = PORT,
        tell: Callable[[str], None] = print,
        connect: Callable[[Config | None], Client] = connect,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.file = file
        self.port = port
        self.metrics = Metrics()
        self.service = Service(self.metrics)
        self._tell = tell
        self._rng = rng or random.Random()
        self._around = Surroundings(self.metrics, self._rng, clock, connect, own_addresses)
        self._text = ""
        self._died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._watching: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._failed = self.metrics.counter(
            "coredns_reload_failed_total", "Counter of the number of failed reload attempts.", ()
        )

    # -- a Corefile in service -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Raises CorefileError, Fatal."""
        try:
            self._text = self.file.read_text(errors="replace")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CorefileError(f"loading Caddyfile via flag: open {self.file}: {reason}") from None
        await self._use(self._text)
        instance = self._instance()
        for zone in instance.zones():
            self._tell(zone)
        self._tell_hash()
        self._tell_version()
        self._watch()

    def _tell_version(self) -> None:
        import importlib.metadata  # when questions are answered already

        self._tell(f"Sampan-{importlib.metadata.version('sampan')}")
        python = ".".join(map(str, sys.version_info[:3]))
        self._tell(f"{sys.platform}/{os.uname().machine}, python{python}")

    def _instance(self) -> Instance:
        assert self.service.instance is not None
        return self.service.instance

    async def _use(self, text: str) -> None:
        found = drafts(text, str(self.file), self._around, self.port)
        await self.service.use(build(found, self.metrics, self._rng, self._die))

    def _die(self, message: str) -> None:
        if not self._died.done():
            self._died.set_result(message)

    def _tell_hash(self) -> None:
        if self._instance().reload is not None:
            reloading.info("Running configuration SHA512 = %s", hashlib.sha512(self._text.encode()).hexdigest())

    async def reload(self) -> None:
        """If the file says something else. A bad one is told of once, and what was goes on."""
        async with self._lock:
            try:
                text = self.file.read_text(errors="replace")
            except OSError:
                return  # it is being put in place
            if text == self._text:
                return
            self._text = text
            log.info("Reloading")
            try:
                await self._use(text)
            except (CorefileError, Fatal) as error:
                self._failed.add(())
                log.error("Restart failed: %s", error)
                reloading.error("Corefile changed but reload failed: %s", error)
                return
            self._tell_hash()
            log.info("Reloading complete")
            if self._watching is None or self._watching.done():
                self._watch()

    def _watch(self) -> None:
        self._watching = asyncio.create_task(self._look(), name="dns reload")

    async def _look(self) -> None:
        """As often as the Corefile says that is in service; one without `reload` is the last."""
        while (every := self._instance().reload) is not None:
            # many that start together do not reload together
            await asyncio.sleep(every.interval + (self._rng.random() * 2 - 1) * every.jitter)
            await self.reload()

    # -- its end -------------------------------------------------------------------------------------------------------

    async def run(self, told: asyncio.Event) -> int:
        """Serve until told to stop. The process's exit code."""
        waiting = asyncio.ensure_future(told.wait())
        await asyncio.wait((waiting, self._died), return_when=asyncio.FIRST_COMPLETED)
        if self._died.done():
            waiting.cancel()
            log.critical("%s", self._died.result())
            await self.stop()
            return 1
        if (lameduck := self._instance().lameduck) > 0:
            health.info("Going into lameduck mode for %s", _shown(lameduck))
            await asyncio.wait((self._died,), timeout=lameduck)
        await self.stop()
        return 0

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self.service.stop()


def _shown(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"


async def serve(file: Path, port: int, quiet: bool) -> int:
    """The process's exit code."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        rest = "Shutting down servers then terminating" if number == signal.SIGTERM else "Shutting down"
        log.info("%s: %s", number.name, rest)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    daemon = Daemon(file, port=port, tell=(lambda _: None) if quiet else lambda line: print(line, flush=True))
    tasks: set[asyncio.Task[None]] = set()

    def again() -> None:
        log.info("SIGUSR1: Reloading")
        task = loop.create_task(daemon.reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGUSR1, again)
    try:
        await daemon.start()
    except (CorefileError, Fatal) as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return await daemon.run(told)


class Format(logging.Formatter):
    """`[INFO] plugin/forward: ...`"""

    _NAMES = {"CRITICAL": "FATAL"}

    def format(self, record: logging.LogRecord) -> str:
        name = record.name
        plugin = name.removeprefix("sampan.dns").lstrip(".") if name.startswith("sampan.dns") else ""
        if name.startswith("sampan.client"):
            plugin = "kubernetes"
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        # what ends the process says itself which plugin it is of
        where = f"plugin/{plugin}: " if plugin else ""
        return f"[{self._NAMES.get(record.levelname, record.levelname)}] {where}{text}"


def log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Format())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
