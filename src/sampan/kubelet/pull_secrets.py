"""Credentials for registries: which of a pod's imagePullSecrets fit an image, most specific first.

A secret's entry is for a host, a host and the beginning of a path, or (`*.example.com`) any host of that shape; several that fit are
tried one after the other, so that they can be exchanged without a gap.

Source: kubernetes pkg/credentialprovider/{keyring,config}.go, secrets/secrets.go
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sampan.api.errors import StatusError
from sampan.cri import pb
from sampan.kubelet.cri import CriFailed
from sampan.kubelet.sources import NotSynced, Sources

Obj = dict[str, Any]
_FILES = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}
_DEFAULT = "index.docker.io"
MISSING = "FailedToRetrieveImagePullSecret"


@dataclass(frozen=True, slots=True)
class Login:
    username: str
    password: str


async def credentials(
    pod: Obj, image: str, sources: Sources, warn: Callable[[str, str], object] = lambda reason, message: None
) -> list[Any]:
    """`pb.AuthConfig`s to try in order; none: no secret is for this image. `image` as it is to be pulled; `warn(reason, message)`:
    an event about the pod. Raises CriFailed, as a pull does, where a secret cannot be read."""
    secrets, missing = [], []
    namespace = pod["metadata"]["namespace"]
    for each in pod["spec"].get("imagePullSecrets") or ():
        # entries without a name came past validation once, and mean nothing
        if not (name := each.get("name")):
            continue
        try:
            secrets.append(await sources.secret(namespace, name))
        except (StatusError, NotSynced):
            missing.append(name)
    if missing:
        text = f"Unable to retrieve some image pull secrets ({', '.join(missing)}); attempting to pull the image may not succeed."
        warn(MISSING, text)
    try:
        found = matching(keyring(secrets), image)
    except ValueError as error:
        raise CriFailed("UNKNOWN", str(error)) from None
    return [pb.AuthConfig(username=each.username, password=each.password) for each in found]


def keyring(secrets: Iterable[Obj]) -> dict[str, list[Login]]:
    """By what they are for, the most specific first. Raises ValueError."""
    out: dict[str, list[Login]] = {}
    for secret in secrets:
        file = _FILES.get(secret.get("type", ""), "")
        data = base64.b64decode((secret.get("data") or {}).get(file, ""))
        if not data:
            continue
        try:
            found = json.loads(data)
            entries = (found.get("auths") or {}) if file == ".dockerconfigjson" else found
            logins = [(_key(place), _login(entry)) for place, entry in entries.items()]
        except AttributeError:
            raise ValueError(f"{file} of secret {secret['metadata']['name']} holds no credentials") from None
        for key, login in logins:
            if key is not None:
                out.setdefault(key, []).append(login)
    return dict(sorted(out.items(), reverse=True))


def _key(place: str) -> str | None:
    """Host and path, without what says that it is a registry. None: it is no place."""
    try:
        url = urlsplit(place if place.startswith(("https://", "http://")) else f"https://{place}")
    except ValueError:
        return None
    path = url.path[3:] if url.path.startswith(("/v1/", "/v2/")) else url.path
    return url.netloc + (path if path != "/" else "")


def _login(entry: Obj) -> Login:
    auth = entry.get("auth")
    if not auth:
        return Login(entry.get("username") or "", entry.get("password") or "")
    try:
        text = base64.b64decode(auth + "=" * (-len(auth) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    name, colon, password = text.partition(":")
    if not colon:
        raise ValueError("unable to parse auth field, must be formatted as base64(username:password)")
    return Login(name, password)


def matching(known: dict[str, list[Login]], image: str) -> list[Login]:
    repository = _repository(image)
    found = [login for key, logins in known.items() if _fits(key, repository) for login in logins]
    if not found and repository.partition("/")[0] == "docker.io":
        found = known.get(_DEFAULT, [])
    return found


def _repository(image: str) -> str:
    """Without tag and digest, with its registry."""
    name = image.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    name = head + slash + tail.partition(":")[0]
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return f"docker.io/{rest}" if first == _DEFAULT else name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _fits(pattern: str, repository: str) -> bool:
    """Part by part of the host: a star is for (a piece of) one part, never for several. Ports must be the same, and the path begin
    alike."""
    host, _, path = pattern.partition("/")
    own_host, _, own_path = repository.partition("/")
    parts, port = _split(host)
    own_parts, own_port = _split(own_host)
    if port != own_port or len(parts) != len(own_parts) or not own_path.startswith(path):
        return False
    return all(fnmatch.fnmatchcase(own, part) for own, part in zip(own_parts, parts, strict=True))


def _split(host: str) -> tuple[list[str], str]:
    name, _, port = host.partition(":")
    return name.split("."), port
