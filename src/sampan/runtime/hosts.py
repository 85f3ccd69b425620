"""Where the images of a registry are fetched from: containerd's `hosts.toml`, so that existing set-ups work unchanged.

    certs.d/docker.io/hosts.toml        server = "https://registry-1.docker.io"
                                        [host."http://mirror.local:5000"]
                                          capabilities = ["pull", "resolve"]

`_default/hosts.toml` is for all registries without a directory of their own. The hosts are asked in order, the server last.
Registries on this machine speak plain HTTP unless told otherwise.

Source: https://github.com/containerd/containerd/blob/main/docs/hosts.md
"""

from __future__ import annotations

import ssl
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sampan.runtime.errors import Invalid


@dataclass(frozen=True, slots=True)
class Host:
    """`base` ends in `/v2`, or in whatever the configuration overrides that with."""

    base: str
    resolves: bool = True
    context: ssl.SSLContext | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    mirror: bool = False


class Hosts:
    def __init__(self, *directories: Path) -> None:
        """The first that knows a registry is the one that counts."""
        self._directories = directories
        self._known: dict[str, tuple[int, tuple[Host, ...]]] = {}

    def of(self, domain: str) -> tuple[Host, ...]:
        """In the order to be asked. The file is read again when it has changed. Raises Invalid."""
        file = self._file(domain)
        stamp = file.stat().st_mtime_ns if file else 0
        known = self._known.get(domain)
        if known is None or known[0] != stamp:
            known = self._known[domain] = stamp, self._read(domain, file)
        return known[1]

    def _file(self, domain: str) -> Path | None:
        for name in (domain, domain.replace(":", "_") + "_" if ":" in domain else domain, "_default"):
            for directory in self._directories:
                if (found := directory / name / "hosts.toml").is_file():
                    return found
        return None

    def _read(self, domain: str, file: Path | None) -> tuple[Host, ...]:
        default = f"{'http' if is_local(domain) else 'https'}://{_official(domain)}"
        if file is None:
            return (Host(default + "/v2"),)
        try:
            found: dict[str, Any] = tomllib.loads(file.read_text())
            out = [_host(url, table, file.parent, True) for url, table in found.get("host", {}).items()]
            out.append(_host(found.get("server", default), found, file.parent, False))
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise Invalid(f"{file}: {error}") from None
        return tuple(out)


def _host(url: str, table: dict[str, Any], directory: Path, mirror: bool) -> Host:
    url = url if "://" in url else f"https://{url}"
    base = url.rstrip("/")
    if not table.get("override_path") and not base.endswith("/v2"):
        base += "/v2"
    capabilities = table.get("capabilities", ["pull", "resolve"])
    headers = tuple(
        (name, each)
        for name, value in table.get("header", {}).items()
        for each in (value if isinstance(value, list) else [value])
    )
    context = _context(table, directory) if url.startswith("https://") else None
    return Host(base, "resolve" in capabilities, context, headers, mirror)


def _context(table: dict[str, Any], directory: Path) -> ssl.SSLContext | None:
    """None: the system's authorities."""
    authorities, clients = _list(table.get("ca")), _list(table.get("client"))
    if not (authorities or clients or table.get("skip_verify")):
        return None
    context = ssl.create_default_context()
    for each in authorities:
        context.load_verify_locations(directory / each)
    for pair in clients:
        certificate, key = pair if isinstance(pair, list) else (pair, None)
        context.load_cert_chain(directory / certificate, directory / key if key else None)
    if table.get("skip_verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def is_local(domain: str) -> bool:
    host = urlsplit(f"//{domain}").hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _official(domain: str) -> str:
    return "registry-1.docker.io" if domain == "docker.io" else domain
