"""Where the API server is and who we are to it: from a kubeconfig, or as a pod finds it.

    config = load()                        # $KUBECONFIG or ~/.kube/config, else the service account of this pod
    config = from_kubeconfig(path, context="kind-dev")
    config = in_cluster()

Source: client-go/tools/clientcmd/{loader,client_config}.go, client-go/rest/config.go (InClusterConfig)
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.client import kubeconfig
from sampan.http import HttpError
from sampan.http.proxies import ProxyError, parse

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NOT_IN_CLUSTER = (
    "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
)


class ConfigError(HttpError):
    """What was found cannot be used; the message says where and why. An HttpError, as credentials are also fetched
    between two requests."""


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A command that prints an ExecCredential."""

    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    api_version: str = "client.authentication.k8s.io/v1"
    install_hint: str = ""
    provide_cluster_info: bool = False
    #: Never, IfAvailable, Always: whether it may ask on the terminal
    interactive: str = "IfAvailable"


@dataclass(frozen=True, slots=True)
class Config:
    """Certificates are PEM bytes, or files, which are read again when they change."""

    server: str
    ca: bytes = b""
    ca_file: Path | None = None
    insecure: bool = False
    server_name: str = ""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    certificate_file: Path | None = None
    key_file: Path | None = None
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    exec: ExecPlugin | None = None
    impersonate: tuple[tuple[str, str], ...] = ()
    namespace: str = "default"
    #: URL of an HTTP proxy. DEVIATION: the environment's are not asked: clusters of this machine are not behind them
    proxy: str = ""


def load(environ: Mapping[str, str] = os.environ) -> Config:
    """Raises ConfigError."""
    if environ.get("KUBECONFIG") or (_home_config(environ)).exists():
        return from_kubeconfig(environ=environ)
    return in_cluster(environ)


def in_cluster(environ: Mapping[str, str] = os.environ, directory: Path = SERVICE_ACCOUNT) -> Config:
    """As the service account of the pod we are in. Raises ConfigError."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    token = directory / "token"
    if not host or not port:
        raise ConfigError(NOT_IN_CLUSTER)
    if not token.exists():
        raise ConfigError(f"open {token}: no such file or directory")
    namespace = directory / "namespace"
    shown = f"[{host}]" if ":" in host else host
    return Config(
        f"https://{shown}:{port}",
        ca_file=directory / "ca.crt" if (directory / "ca.crt").exists() else None,
        token_file=token,
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


def from_kubeconfig(path: Path | None = None, *, context: str = "", environ: Mapping[str, str] = os.environ) -> Config:
    """`path`, else all files of $KUBECONFIG, the first to say a thing being right. Raises ConfigError."""
    named = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if path is not None and not path.exists():
        raise ConfigError(f"stat {path}: no such file or directory")
    files = [path] if path is not None else (named or [_home_config(environ)])
    merged = _Merged([(file, _read(file)) for file in files if file.exists()])
    context = context or merged.current
    if not context:
        where = ", ".join(f"{file}{'' if file.exists() else ' (which is not there)'}" for file in files)
        raise ConfigError(f"invalid configuration: no configuration has been provided: no current-context in {where}")
    chosen, _ = merged.entry("contexts", "context", context)
    cluster, cluster_at = merged.entry("clusters", "cluster", chosen.get("cluster", ""))
    user, user_at = merged.entry("users", "user", chosen["user"]) if chosen.get("user") else ({}, Path())
    wrong = kubeconfig.wrong_cluster(chosen.get("cluster", ""), cluster, cluster_at)
    wrong += kubeconfig.wrong_user(chosen.get("user", ""), user, user_at)
    if wrong:
        said = wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]"
        raise ConfigError(f"invalid configuration: {said}")
    return Config(
        kubeconfig.url(cluster, user),
        ca=_data(cluster, "certificate-authority-data"),
        ca_file=_file(cluster, "certificate-authority", cluster_at),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=cluster.get("tls-server-name", ""),
        proxy=_proxy(cluster.get("proxy-url", "")),
        certificate=_data(user, "client-certificate-data"),
        key=_data(user, "client-key-data"),
        certificate_file=_file(user, "client-certificate", user_at),
        key_file=_file(user, "client-key", user_at),
        token=user.get("token", ""),
        token_file=_file(user, "tokenFile", user_at),
        username=user.get("username", ""),
        password=user.get("password", ""),
        exec=_exec(user.get("exec"), user_at),
        impersonate=_impersonation(user),
        namespace=chosen.get("namespace") or "default",
    )


def _proxy(url: str) -> str:
    try:
        return url if not url or parse(url) else ""
    except ProxyError as error:
        raise ConfigError(f"invalid configuration: proxy-url: {error}") from None


def _home_config(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home()) / ".kube" / "config"


class _Merged:
    def __init__(self, files: list[tuple[Path, dict[str, Any]]]) -> None:
        self.files = files
        self.current = next((str(c["current-context"]) for _, c in files if c.get("current-context")), "")

    def entry(self, section: str, kind: str, name: str) -> tuple[dict[str, Any], Path]:
        """The entry and the directory its relative paths start from."""
        for file, config in self.files:
            for item in config.get(section) or ():
                if isinstance(item, dict) and item.get("name") == name:
                    found = item.get(kind) or {}
                    if not isinstance(found, dict):
                        raise ConfigError(f"error loading config file {str(file)!r}: {kind} {name!r} is no mapping")
                    return found, file.parent
        if kind == "context":
            raise ConfigError(f'context "{name}" does not exist')
        raise ConfigError(f'invalid configuration: {kind} "{name}" was not found')


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"error loading config file {str(path)!r}: {error}") from None
    if not isinstance(found or {}, dict):
        raise ConfigError(f"error loading config file {str(path)!r}: it is not a kubeconfig")
    return found or {}


def _data(entry: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(entry.get(name) or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ConfigError(f"invalid configuration: {name} is not base64") from None


def _file(entry: dict[str, Any], name: str, base: Path) -> Path | None:
    return base / entry[name] if entry.get(name) else None


def _exec(entry: dict[str, Any] | None, base: Path) -> ExecPlugin | None:
    if not entry:
        return None
    command = entry["command"]
    if "/" in command and not command.startswith("/"):
        command = str(base / command)
    return ExecPlugin(
        command,
        tuple(entry.get("args") or ()),
        tuple((pair["name"], str(pair.get("value", ""))) for pair in entry.get("env") or ()),
        entry["apiVersion"],
        entry.get("installHint", ""),
        bool(entry.get("provideClusterInfo")),
        entry.get("interactiveMode") or "IfAvailable",
    )


def _impersonation(user: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    out: list[tuple[str, str]] = []
    if user.get("as"):
        out.append(("Impersonate-User", user["as"]))
    if user.get("as-uid"):
        out.append(("Impersonate-Uid", user["as-uid"]))
    out.extend(("Impersonate-Group", group) for group in user.get("as-groups") or ())
    for key, values in (user.get("as-user-extra") or {}).items():
        out.extend((f"Impersonate-Extra-{key}", value) for value in values)
    return tuple(out)
