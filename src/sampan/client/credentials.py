"""What goes into the `Authorization` header, and when it is fetched anew.

A token file is read again every minute (kubelet replaces it long before it expires), an exec plugin runs when it has
not yet or when what it gave has expired; both once more after a 401.

Source: client-go/transport/token_source.go, client-go/plugin/pkg/client/auth/exec/exec.go
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import orjson

from sampan.api.times import parse_time
from sampan.client.config import Config, ConfigError, ExecPlugin
from sampan.client.tls import TlsContexts

TOKEN_FILE_SECONDS = 60.0
Header = tuple[str, str]


class Credentials:
    """`clock` gives seconds since the epoch. `tls` gets the certificates of an exec plugin."""

    def __init__(self, config: Config, tls: TlsContexts, clock: Callable[[], float]) -> None:
        self.config = config
        self.tls = tls
        self.clock = clock
        self._headers: tuple[Header, ...] = config.impersonate
        self._good_until: float | None = None
        self._lock = asyncio.Lock()
        #: counts fetches, so that of many that see a 401 at once only the first fetches again
        self.generation = 0
        if config.token and not config.token_file:
            self._headers += (("Authorization", f"Bearer {config.token}"),)
        elif config.username:
            pair = base64.b64encode(f"{config.username}:{config.password}".encode()).decode()
            self._headers += (("Authorization", f"Basic {pair}"),)
        self._static = config.token_file is None and config.exec is None

    async def headers(self) -> tuple[Header, ...]:
        """Raises ConfigError."""
        if self._static or (self._good_until is not None and self.clock() < self._good_until):
            return self._headers
        async with self._lock:
            if self._good_until is None or self.clock() >= self._good_until:
                await self._fetch()
        return self._headers

    async def renew(self, generation: int) -> bool:
        """After a 401 with what `generation` gave: whether there is something else to try."""
        if self._static:
            return False
        before = self._headers
        async with self._lock:
            if self.generation == generation:
                await self._fetch()
        return self.config.exec is not None or self._headers != before

    async def _fetch(self) -> None:
        if self.config.token_file is not None:
            try:
                token = self.config.token_file.read_text().strip()
            except OSError as error:
                raise ConfigError(f"failed to read token file {self.config.token_file}: {error.strerror}") from None
            self._headers = (*self.config.impersonate, ("Authorization", f"Bearer {token}"))
            self._good_until = self.clock() + TOKEN_FILE_SECONDS
            self.generation += 1
            return
        assert self.config.exec is not None
        status = await run_plugin(self.config.exec, self.config)
        token = status.get("token", "")
        self._headers = self.config.impersonate + ((("Authorization", f"Bearer {token}"),) if token else ())
        certificate, key = status.get("clientCertificateData", ""), status.get("clientKeyData", "")
        if certificate and (certificate.encode(), key.encode()) != (self.tls.certificate, self.tls.key):
            self.tls.use(certificate.encode(), key.encode())
        expires = status.get("expirationTimestamp")
        self._good_until = parse_time(expires) if expires else float("inf")
        self.generation += 1


async def run_plugin(plugin: ExecPlugin, config: Config) -> dict[str, Any]:
    """The plugin's `status`. Raises ConfigError."""
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if plugin.interactive == "Always" and not terminal:
        raise ConfigError(
            "getting credentials: exec plugin cannot support interactive mode: standard input is not a terminal"
        )
    interactive = terminal and plugin.interactive != "Never"
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.provide_cluster_info:
        cluster: dict[str, Any] = {"server": config.server}
        ca = config.ca or (config.ca_file.read_bytes() if config.ca_file else b"")
        if ca:
            cluster["certificate-authority-data"] = base64.b64encode(ca).decode()
        if config.insecure:
            cluster["insecure-skip-tls-verify"] = True
        if config.server_name:
            cluster["tls-server-name"] = config.server_name
        spec["cluster"] = cluster
    info = {"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec}
    env = {**os.environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": orjson.dumps(info).decode()}
    if shutil.which(plugin.command) is None:
        hint = f"\n\n{plugin.install_hint}" if plugin.install_hint else ""
        raise ConfigError(f"getting credentials: exec: executable {plugin.command} not found{hint}")
    process = await asyncio.create_subprocess_exec(
        plugin.command, *plugin.args, env=env, stdin=None if interactive else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise ConfigError(
            f"getting credentials: exec: executable {plugin.command} failed with exit code {process.returncode}"
        )
    try:
        found = orjson.loads(said)
        status = found["status"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise ConfigError(f"getting credentials: decoding stdout of {plugin.command}: no ExecCredential") from None
    if found.get("apiVersion") != plugin.api_version:
        raise ConfigError(
            f"getting credentials: exec plugin is configured to use API version {plugin.api_version}, "
            f"plugin returned version {found.get('apiVersion')}"
        )
    if not isinstance(status, dict) or not (status.get("token") or status.get("clientCertificateData")):
        raise ConfigError("getting credentials: exec plugin didn't return a token or cert/key pair")
    return status
