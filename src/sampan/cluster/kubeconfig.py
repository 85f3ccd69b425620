"""The user's kubeconfig: our context in, our context out, and nothing else touched.

The file is read, changed and replaced in one step under a lock, and keeps what it holds of other clusters. Comments are
lost, as with `kubectl config`.

Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sampan.cluster.errors import ClusterError

if TYPE_CHECKING:
    from sampan.cluster.certificates import Pki

Config = dict[str, Any]


def context_name(cluster: str) -> str:
    return f"sampan-{cluster}"


def default_path() -> Path:
    """The first file of $KUBECONFIG, else ~/.kube/config: of the calling user under sudo."""
    named = next((part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part), "")
    return Path(named) if named else _home() / ".kube" / "config"


def _home() -> Path:
    user = os.environ.get("SUDO_USER", "")
    if os.geteuid() == 0 and user and user != "root":
        with contextlib.suppress(KeyError):
            return Path(pwd.getpwnam(user).pw_dir)
    return Path.home()


def add(path: Path, name: str, server: str, pki: Pki) -> None:
    """Write the context and make it the current one. Raises ClusterError; then the file is as it was."""

    def data(file: str) -> str:
        return base64.b64encode(pki.path(file).read_bytes()).decode()

    with _edited(path) as config:
        _put(config, "clusters", name, {"cluster": {"certificate-authority-data": data("ca.crt"), "server": server}})
        user = {"client-certificate-data": data("admin.crt"), "client-key-data": data("admin.key")}
        _put(config, "users", name, {"user": user})
        _put(config, "contexts", name, {"context": {"cluster": name, "user": name}})
        config["current-context"] = name


def remove(path: Path, name: str) -> None:
    """Take the context out again. Raises ClusterError."""
    if not path.exists():
        return
    with _edited(path) as config:
        for section in ("clusters", "users", "contexts"):
            config[section] = [item for item in config.get(section) or [] if item.get("name") != name]
        if config.get("current-context") == name:
            config["current-context"] = ""


def standalone(pki: Pki, name: str, server: str) -> str:
    """A kubeconfig of this cluster alone, for its administrator, as text."""
    return whole(pki, name, server, pki.path("admin.crt").read_bytes(), pki.path("admin.key").read_bytes())


def whole(pki: Pki, name: str, server: str, certificate: bytes, key: bytes) -> str:
    """A kubeconfig of one cluster and one user, as text."""

    def data(content: bytes) -> str:
        return base64.b64encode(content).decode()

    cluster = {"certificate-authority-data": data(pki.path("ca.crt").read_bytes()), "server": server}
    user = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return yaml.safe_dump(config, sort_keys=False)


def write(path: Path, text: str) -> None:
    """For its owner alone, whole or not at all. Raises OSError."""
    scratch = path.with_name(path.name + ".part")
    scratch.unlink(missing_ok=True)
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(scratch, path)


def _put(config: Config, section: str, name: str, entry: dict[str, Any]) -> None:
    items = config.setdefault(section, None) or []
    config[section] = [item for item in items if item.get("name") != name] + [{"name": name, **entry}]


@contextlib.contextmanager
def _edited(path: Path) -> Iterator[Config]:
    existed = path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_name(path.name + ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                config = _load(path)
                yield config
                _replace(path, yaml.safe_dump(config, sort_keys=False))
                if not existed:
                    _give_to_caller(path.parent)
            finally:
                path.with_name(path.name + ".lock").unlink(missing_ok=True)
    except OSError as error:
        raise ClusterError(
            f"cannot write the kubeconfig {path}: {error.strerror}",
            "make it writable, or set KUBECONFIG to another file",
        ) from None


def _load(path: Path) -> Config:
    if not path.exists() or not path.read_text().strip():
        return {"apiVersion": "v1", "kind": "Config"}
    try:
        config = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        config = None
    sections = ("clusters", "users", "contexts")
    lists_of_objects = isinstance(config, dict) and all(
        isinstance(config.get(key) or [], list) and all(isinstance(item, dict) for item in config.get(key) or [])
        for key in sections
    )
    if not isinstance(config, dict) or not lists_of_objects:
        raise ClusterError(
            f"the kubeconfig {path} is not one: nothing was changed", "repair it, or set KUBECONFIG to another file"
        )
    return config


def _replace(path: Path, text: str) -> None:
    target = path.resolve()
    scratch = target.with_name(target.name + ".part")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if target.exists():
        before = target.stat()
        with contextlib.suppress(PermissionError):
            os.chown(scratch, before.st_uid, before.st_gid)
    else:
        _give_to_caller(scratch)
    os.replace(scratch, target)


def _give_to_caller(path: Path) -> None:
    """Under sudo the file belongs to whoever called."""
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and uid.isdigit() and gid.isdigit():
        os.chown(path, int(uid), int(gid))
