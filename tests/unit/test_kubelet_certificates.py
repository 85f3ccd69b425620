"""A node's certificates: asked for, kept, renewed in time; and those of the kubelet's own server."""
# ruff: noqa: ASYNC240 - small files on the local disk

from __future__ import annotations

import asyncio
import base64
import dataclasses
import random
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from sampan.api.user import User
from sampan.client import from_kubeconfig
from sampan.cluster import certificates as pki_of
from sampan.kubelet import certificates
from sampan.kubelet.certificates import PAIR, CertificateError, Paths, Rotation
from sampan.kubelet.options import Options
from sampan.kubelet.server import tls
from tests.controllers_world import World

NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))
NAME = "certificatesigningrequests"
HOUR = 3600


def files(directory: Path) -> list[Path]:
    return list(directory.glob(f"{PAIR}-2*.pem"))


async def begin(world: World, pki: pki_of.Pki, hours: int) -> None:
    ca, key = pki.path("ca.crt").read_text(), pki.path("ca.key").read_text()
    world.options = dataclasses.replace(
        world.options, signing_cert=ca, signing_key=key, cluster_signing_duration=hours * HOUR
    )
    role = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"
    body = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "name": "system:nodes", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    await world.admin.create("clusterrolebindings.rbac.authorization.k8s.io", body)
    await world.start(*(f"certificatesigningrequest-{name}-controller" for name in ("approving", "signing")))


@pytest.mark.slow
async def test_it_is_renewed_at_70_to_90_percent_of_its_life(world: World, pki: pki_of.Pki, tmp_path: Path) -> None:
    await begin(world, pki, hours=2)
    client = world.client(NODE, "kubelet")
    pem, key = await certificates.request(client, "n1")
    path = certificates.store(tmp_path, PAIR, pem, key, world.clock())
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path)
    told: list[tuple[float, Path]] = []
    start = world.clock()
    rotation = Rotation(
        tmp_path,
        PAIR,
        client,
        "n1",
        clock=world.clock,
        stored=lambda path: told.append((world.clock(), path)),
        rng=random.Random(1),
    )
    task = asyncio.create_task(rotation.run())
    await asyncio.sleep(8 * HOUR)
    task.cancel()
    ages = [
        (after - before) / HOUR
        for before, after in zip([start, *(when for when, _ in told)], [when for when, _ in told], strict=False)
    ]
    assert len(ages) >= 4 and all(1.3 < age < 1.9 for age in ages)
    assert (
        len(list(tmp_path.glob(f"{PAIR}-2*.pem"))) == 2
    )  # the newest, and the one before for whoever reads it just now
    newest = x509.load_pem_x509_certificate(path.read_bytes())
    assert newest.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    assert newest.not_valid_after_utc.timestamp() > world.clock()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_refusal_is_told(world: World, pki: pki_of.Pki) -> None:
    asking = asyncio.create_task(certificates.request(world.client(NODE, "kubelet"), "n1"))
    await world.until(lambda: world.all(NAME, 1, "certificates.k8s.io"), "the request")
    (found,) = world.all(NAME, 1, "certificates.k8s.io")
    condition = {"type": "Denied", "status": "True", "reason": "No", "message": "not you"}
    denied = {**found, "status": {"conditions": [condition]}}
    await world.admin.update(
        NAME,
        {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", **denied},
        subresource="approval",
    )
    with pytest.raises(CertificateError, match="is denied, reason: 'No', message: 'not you'"):
        await asking


async def test_a_serving_certificate_has_the_nodes_names(world: World, pki: pki_of.Pki, tmp_path: Path) -> None:
    """Nobody approves one by himself."""
    await begin(world, pki, hours=1)
    stored = asyncio.Event()
    rotation = Rotation(
        tmp_path, tls.SERVING, world.client(NODE, "kubelet"), "n1", clock=world.clock, serving=True, names=["n1", "10.0.0.7"],
        stored=lambda _: stored.set(),
    )  # fmt: skip
    task = asyncio.create_task(rotation.run())
    await asyncio.sleep(60)
    assert not stored.is_set()
    (found,) = world.all(NAME, 1, "certificates.k8s.io")
    found = {**found, "status": {"conditions": [{"type": "Approved", "status": "True", "reason": "x", "message": "y"}]}}
    await world.admin.update(
        NAME,
        {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", **found},
        subresource="approval",
    )
    await stored.wait()
    task.cancel()
    made = x509.load_pem_x509_certificate((tmp_path / f"{tls.SERVING}-current.pem").read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]


def bootstrap(pki: pki_of.Pki, path: Path, server: str = "https://127.0.0.1:1") -> Path:
    cluster = {
        "server": server,
        "certificate-authority-data": base64.b64encode(pki.path("ca.crt").read_bytes()).decode(),
    }
    config: dict[str, Any] = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}], "users": [{"name": "u", "user": {"token": "abcdef.0123456789abcdef"}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    return path


async def test_a_kubeconfig_that_is_good_is_left_alone(pki: pki_of.Pki, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "pki", tmp_path / "kubeconfig", bootstrap(pki, tmp_path / "bootstrap"))
    paths.kubeconfig.write_text("{}")
    await certificates.ensure_client(paths, "n1", clock=lambda: 0.0)
    assert paths.kubeconfig.read_text() == "{}"
    paths.kubeconfig.unlink()
    with pytest.raises(CertificateError, match="no bootstrap kubeconfig"):
        await certificates.ensure_client(Paths(paths.directory, paths.kubeconfig), "n1", clock=lambda: 0.0)


async def test_the_kubeconfig_names_the_link(pki: pki_of.Pki, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "pki", tmp_path / "kubeconfig", bootstrap(pki, tmp_path / "bootstrap"))
    paths.kubeconfig.write_bytes(certificates._kubeconfig(paths))
    paths.directory.mkdir()
    (paths.directory / "kubelet-client-current.pem").touch()
    found = from_kubeconfig(paths.kubeconfig)
    assert found.server == "https://127.0.0.1:1" and found.ca == pki.path("ca.crt").read_bytes() and not found.token
    assert found.certificate_file == found.key_file == tmp_path / "pki" / "kubelet-client-current.pem"


def test_the_servers_own_certificate_is_kept_while_it_is_good(tmp_path: Path) -> None:
    options = Options(name="n1", root=tmp_path)
    file, now = tmp_path / "pki" / "kubelet.crt", 1_700_000_000.0
    tls.server_context(options, ["10.0.0.7"], now)
    first = file.read_bytes()
    tls.server_context(options, ["10.0.0.7"], now + 100 * 86400)
    assert file.read_bytes() == first
    tls.server_context(options, ["10.0.0.7"], now + 340 * 86400)  # it ends within a month
    second = file.read_bytes()
    tls.server_context(options, ["10.0.0.8"], now + 340 * 86400)
    assert len({first, second, file.read_bytes()}) == 3
    assert (tmp_path / "pki" / "kubelet.key").stat().st_mode & 0o777 == 0o600


async def test_a_certificate_from_elsewhere_is_read_again(pki: pki_of.Pki, tmp_path: Path) -> None:
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    cert.write_bytes(pki.path("apiserver.crt").read_bytes())
    key.write_bytes(pki.path("apiserver.key").read_bytes())
    options = Options(name="n1", root=tmp_path, cert=cert, key=key)
    context = tls.server_context(options, [], 0.0)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    task = asyncio.create_task(tls.reread(context, cert, key))
    await asyncio.sleep(0)

    async def shown() -> bytes:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=trusting)
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return found

    before = await shown()
    cert.write_bytes(pki.path("admin.crt").read_bytes())  # no pair with the key that is there
    assert await shown() == before
    key.write_bytes(pki.path("admin.key").read_bytes())
    async with asyncio.timeout(5):
        while await shown() == before:
            continue
    task.cancel()
    server.close()


def test_who_has_a_client_ca_asks_for_certificates(tmp_path: Path, pki: pki_of.Pki) -> None:
    options = Options(
        name="n1",
        root=tmp_path,
        client_ca=pki.path("ca.crt"),
        cert=pki.path("apiserver.crt"),
        key=pki.path("apiserver.key"),
    )
    assert tls.server_context(options, [], 0.0).verify_mode == ssl.CERT_OPTIONAL
    assert not (tmp_path / "pki").exists()
