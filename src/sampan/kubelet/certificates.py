"""The node's certificates by request: as a client of the API server, from a bootstrap token on, and for the kubelet's own server.

    await ensure_client(paths, name, clock=time.time)      # a kubeconfig that works, made by CSR from the bootstrap one
    await Rotation(paths, name, client, clock=...).run()   # a new certificate at 70 to 90 % of each one's life

A certificate is one file with its key, `kubelet-client-2026-01-02-03-04-05.pem`, and `kubelet-client-current.pem` a link to the newest:
who reads the link has always a pair that fits. Clients look at it for every new connection.

Source: client-go util/certificate/{certificate_manager,certificate_store}.go, kubernetes pkg/kubelet/certificate/{kubelet,bootstrap/bootstrap}.go
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import logging
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.errors import StatusError
from sampan.client import Client, HttpsTransport, config, resource
from sampan.http import HttpError
from sampan.http.server.tls import general_names, pem

log = logging.getLogger("sampan.kubelet")
Key = ec.EllipticCurvePrivateKey
CLIENT_SIGNER, SERVING_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"
PATIENCE_SECONDS, FIRST_RETRY, LAST_RETRY = 900.0, 2.0, 128.0
#: of a certificate's life, after which the next is asked for
EARLIEST, LATEST = 0.7, 0.9


class CertificateError(Exception):
    """The API server would not give a certificate; the message says why."""


@dataclass(frozen=True, slots=True)
class Paths:
    """`bootstrap`: a kubeconfig good for asking; `kubeconfig`: the one that is made of the answer; `directory`: of certificates."""

    directory: Path
    kubeconfig: Path
    bootstrap: Path | None = None

    def current(self, pair: str) -> Path:
        return self.directory / f"{pair}-current.pem"


# -- asking ------------------------------------------------------------------------------------------------------------


async def request(
    client: Client, node: str, *, serving: bool = False, names: Sequence[str] = (), prefix: str = "csr-"
) -> tuple[bytes, Key]:
    """A signed certificate for the node, in PEM, and its key; waits for the approval. Raises CertificateError, StatusError, HttpError."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(node))
    if serving:
        builder = builder.add_extension(x509.SubjectAlternativeName(general_names(names)), critical=False)
    signed = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    made = await client.create("certificatesigningrequests", {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"generateName": prefix},
        "spec": {
            "request": base64.b64encode(signed).decode(),
            "signerName": SERVING_SIGNER if serving else CLIENT_SIGNER,
            "usages": ["digital signature", "server auth" if serving else "client auth"],
        },
    })  # fmt: skip
    name = made["metadata"]["name"]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return base64.b64decode(await _issued(client, name)), key
    except TimeoutError:
        raise CertificateError(f"certificate signing request {name} was not signed in time") from None


async def _issued(client: Client, name: str) -> str:
    """As soon as it is. Raises CertificateError for a refusal."""
    what = resource("certificatesigningrequests")
    while True:
        async with await client.watch(what, field_selector=f"metadata.name={name}") as events:
            async for event in events:
                status = event.object.get("status") or {}
                for condition in status.get("conditions") or ():
                    if condition["type"] in ("Denied", "Failed"):
                        said = f"reason: {condition.get('reason', '')!r}, message: {condition.get('message', '')!r}"
                        raise CertificateError(
                            f"certificate signing request {name} is {condition['type'].lower()}, {said}"
                        )
                if status.get("certificate"):
                    return str(status["certificate"])
                if event.type == "DELETED":
                    raise CertificateError(f"certificate signing request {name} was deleted")


def _subject(node: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"),
    ])  # fmt: skip


# -- keeping -----------------------------------------------------------------------------------------------------------


def store(directory: Path, pair: str, certificate: bytes, key: Key, now: float) -> Path:
    """The pair in a file of its own, and the link to it; the one before stays, for whoever has it open. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%d-%H-%M-%S")
    path = directory / f"{pair}-{stamp}.pem"
    write(path, certificate.rstrip() + b"\n" + pem(key), 0o600)
    link, current = directory / f"{pair}-updated.pem", directory / f"{pair}-current.pem"
    before = current.resolve() if current.is_symlink() else None
    link.unlink(missing_ok=True)
    link.symlink_to(path.name)
    os.replace(link, current)
    for old in directory.glob(f"{pair}-2*.pem"):
        if old != path and old != before:
            old.unlink(missing_ok=True)
    return current


def life(path: Path) -> tuple[float, float] | None:
    """From when to when the certificate in the file is valid; None where there is none."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def valid(path: Path, now: float) -> bool:
    found = life(path)
    return found is not None and found[0] <= now < found[1]


def write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all; never readable by others for a moment."""
    scratch = path.with_name(path.name + ".part")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


# -- the client's ------------------------------------------------------------------------------------------------------

PAIR = "kubelet-client"


async def ensure_client(paths: Paths, node: str, *, clock: Callable[[], float]) -> None:
    """Until `paths.kubeconfig` is good for a client of the node. Raises CertificateError, ConfigError, OSError."""
    if paths.kubeconfig.exists() and (not paths.current(PAIR).exists() or valid(paths.current(PAIR), clock())):
        return
    if paths.bootstrap is None:
        if paths.kubeconfig.exists():
            return  # it may know better
        raise CertificateError(f"there is no {paths.kubeconfig}, and no bootstrap kubeconfig to make it with")
    found = config.from_kubeconfig(paths.bootstrap)
    delay = FIRST_RETRY
    while True:
        try:
            async with Client(HttpsTransport(found), user_agent="kubelet") as client:
                certificate, key = await request(client, node, prefix="node-csr-")
            break
        except (StatusError, HttpError) as error:
            log.warning("cannot ask for a client certificate: %s; trying again in %.0f s", error, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_RETRY)
    store(paths.directory, PAIR, certificate, key, clock())
    write(paths.kubeconfig, _kubeconfig(paths), 0o600)


def _kubeconfig(paths: Paths) -> bytes:
    """The bootstrap one's cluster, with the certificate's link for the user."""
    assert paths.bootstrap is not None
    old: dict[str, Any] = yaml.safe_load(paths.bootstrap.read_text())
    context = next(each["context"] for each in old["contexts"] if each["name"] == old["current-context"])
    cluster: dict[str, Any] = dict(
        next(each["cluster"] for each in old["clusters"] if each["name"] == context["cluster"])
    )
    if ca := cluster.get("certificate-authority"):
        cluster["certificate-authority"] = str((paths.bootstrap.parent / ca).resolve())
    link = str(paths.current(PAIR).absolute())
    out = {
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "default-cluster", "cluster": cluster}],
        "users": [{"name": "default-auth", "user": {"client-certificate": link, "client-key": link}}],
        "contexts": [{"name": "default-context", "context": {"cluster": "default-cluster", "namespace": "default", "user": "default-auth"}}],
        "current-context": "default-context",
    }  # fmt: skip
    return yaml.safe_dump(out, sort_keys=False).encode()


class Rotation:
    """A new pair in time, over and over. `names` and `serving`: of the server's. `stored` is told of each."""

    def __init__(
        self,
        directory: Path,
        pair: str,
        client: Client,
        node: str,
        *,
        clock: Callable[[], float],
        serving: bool = False,
        names: Sequence[str] = (),
        stored: Callable[[Path], None] = lambda _: None,
        rng: random.Random | None = None,
    ) -> None:
        self._directory = directory
        self._pair = pair
        self._client = client
        self._node = node
        self._clock = clock
        self._serving = serving
        self._names = names
        self._stored = stored
        self._rng = rng or random.Random()

    async def run(self) -> None:
        """Until cancelled."""
        current = self._directory / f"{self._pair}-current.pem"
        while True:
            found = life(current)
            if found is None and not self._serving:
                # the kubeconfig has a certificate of its own, or none at all: nothing to rotate
                return
            if found is not None:
                share = self._rng.uniform(EARLIEST, LATEST)
                await self._sleep(found[0] + (found[1] - found[0]) * share - self._clock())
            self._stored(await self._renewed())

    async def _renewed(self) -> Path:
        delay = FIRST_RETRY
        while True:
            try:
                certificate, key = await request(self._client, self._node, serving=self._serving, names=self._names)
                return store(self._directory, self._pair, certificate, key, self._clock())
            except (CertificateError, StatusError, HttpError, OSError) as error:
                log.warning("cannot renew the certificate %s: %s; trying again in %.0f s", self._pair, error, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_RETRY)

    async def _sleep(self, seconds: float) -> None:
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:  # noqa: ASYNC110 - the clock may be set meanwhile, and tells nobody
            await asyncio.sleep(min(left, 3600.0))
