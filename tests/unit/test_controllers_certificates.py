"""Signing requests: approved, signed, cleaned away; bootstrap tokens: used for signing, and expired."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.times import format_time
from sampan.api.user import User
from sampan.client import Client
from sampan.cluster import certificates
from sampan.controllers.bootstrap_tokens import signature
from tests.controllers_world import World

Obj = dict[str, Any]
NAME = "certificatesigningrequests.certificates.k8s.io"
CLIENT = ["digital signature", "key encipherment", "client auth"]
ALL = [f"certificatesigningrequest-{name}-controller" for name in ("approving", "signing", "cleaner")]


async def begin(world: World, pki: certificates.Pki, *names: str) -> None:
    ca, key = pki.path("ca.crt").read_text(), pki.path("ca.key").read_text()
    world.options = dataclasses.replace(world.options, signing_cert=ca, signing_key=key)
    await world.start(*(names or ALL))


def csr(common: str, organisation: str = "", *names: x509.GeneralName) -> str:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organisation:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


async def ask(client: Client, request: str, signer: str, usages: list[str] = CLIENT, **spec: Any) -> None:
    spec = {"request": request, "signerName": f"kubernetes.io/{signer}", "usages": usages, **spec}
    await client.create(NAME, {"metadata": {"name": "r"}, "spec": spec})


async def approve(world: World) -> None:
    found = await world.admin.get(NAME, "r")
    said = {"type": "Approved", "status": "True", "reason": "Mine", "message": "yes"}
    found["status"] = {"conditions": [said]}
    await world.admin.update(NAME, found, subresource="approval")


def status(world: World) -> Obj:
    found: Obj = (world.get("certificatesigningrequests", "r", "", "certificates.k8s.io") or {}).get("status") or {}
    return found


async def issued(world: World) -> x509.Certificate:
    await world.until(lambda: status(world).get("certificate"), "a certificate", 60)
    return x509.load_pem_x509_certificate(base64.b64decode(status(world)["certificate"]))


async def test_a_kubelet_joins_with_a_bootstrap_token(world: World, pki: certificates.Pki) -> None:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
    for number, (name, group) in enumerate(
        [
            ("system:node-bootstrapper", "system:bootstrappers"),
            ("system:certificates.k8s.io:certificatesigningrequests:nodeclient", "system:bootstrappers"),
        ]
    ):
        subject = {"kind": "Group", "name": group, "apiGroup": role["apiGroup"]}
        body = {"metadata": {"name": f"b{number}"}, "roleRef": {**role, "name": name}, "subjects": [subject]}
        await world.admin.create("clusterrolebindings.rbac.authorization.k8s.io", body)
    await begin(world, pki)
    joining = world.client(User("system:bootstrap:abcdef", ("system:bootstrappers", "system:authenticated")), "kubelet")
    await ask(joining, csr("system:node:n1", "system:nodes"), "kube-apiserver-client-kubelet")
    certificate = await issued(world)
    condition = status(world)["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("Approved", "AutoApproved")
    assert condition["message"] == "Auto approving kubelet client certificate after SubjectAccessReview."
    ca = x509.load_pem_x509_certificate(pki.path("ca.crt").read_bytes())
    certificate.verify_directly_issued_by(ca)
    assert certificate.subject.rfc4514_string() == "O=system:nodes,CN=system:node:n1"
    extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [usage.dotted_string for usage in extended] == ["1.3.6.1.5.5.7.3.2"]


async def test_a_request_that_rbac_does_not_allow_waits_for_it(world: World, pki: certificates.Pki) -> None:
    await begin(world, pki)
    node = world.client(User("system:node:n1", ("system:nodes", "system:authenticated")), "kubelet")
    await ask(node, csr("system:node:n1", "system:nodes"), "kube-apiserver-client-kubelet")
    await asyncio.sleep(60)
    assert "conditions" not in status(world)
    body = {
        "metadata": {"name": "b"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        },
        "subjects": [{"kind": "Group", "name": "system:nodes", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    await world.admin.create("clusterrolebindings.rbac.authorization.k8s.io", body)
    await world.until(lambda: status(world).get("conditions"), "approval", 300)
    said = "Auto approving self kubelet client certificate after SubjectAccessReview."
    assert status(world)["conditions"][0]["message"] == said


@pytest.mark.parametrize(
    ("signer", "request_of", "usages", "why"),
    [
        ("kubelet-serving", ("system:node:n", "system:nodes"), CLIENT, "DNS or IP subjectAltName is required"),
        (
            "kubelet-serving", ("system:node:n", "system:nodes", x509.DNSName("n")), CLIENT,
            "usages did not match [digital signature key encipherment server auth]",
        ),
        ("kube-apiserver-client-kubelet", ("n", "system:nodes"), CLIENT,
         "subject common name does not begin with system:node:"),
        ("kube-apiserver-client-kubelet", ("n", "others"), CLIENT, "subject organization is not system:nodes"),
        ("kube-apiserver-client", ("n",), ["server auth"], "invalid usage for client certificate: server auth"),
        ("kube-apiserver-client", ("n",), ["digital signature"],
         "missing required usage for client certificate: client auth"),
    ],
)  # fmt: skip
async def test_what_signers_refuse(
    world: World, pki: certificates.Pki, signer: str, request_of: Any, usages: list[str], why: str
) -> None:
    await begin(world, pki, ALL[1])
    await ask(world.admin, csr(*request_of), signer, usages)
    await approve(world)
    await world.until(lambda: len(status(world).get("conditions") or ()) == 2, "refusal")
    failed = status(world)["conditions"][1]
    assert (failed["type"], failed["reason"], failed["message"]) == ("Failed", "SignerValidationFailure", why)
    assert not status(world).get("certificate")


@pytest.mark.parametrize(("asked", "given"), [(None, 365 * 86400), (600, 600), (7200, 7200), (1 << 30, 365 * 86400)])
async def test_how_long_a_certificate_is_good(
    world: World, pki: certificates.Pki, asked: int | None, given: int
) -> None:
    await begin(world, pki, ALL[1])
    more: dict[str, Any] = {} if asked is None else {"expirationSeconds": asked}
    await ask(world.admin, csr("jane", "dev"), "kube-apiserver-client", **more)
    await world.settle()
    assert not status(world).get("certificate")
    await approve(world)
    certificate = await issued(world)
    backdated = 300 if given >= 8 * 3600 else 0
    assert certificate.not_valid_after_utc.timestamp() == pytest.approx(world.clock() + given - backdated, abs=10)
    assert certificate.not_valid_before_utc.timestamp() == pytest.approx(world.clock() - 300, abs=10)


async def test_a_serving_certificate_keeps_its_names(world: World, pki: certificates.Pki) -> None:
    import ipaddress

    await begin(world, pki, ALL[1])
    names = [x509.DNSName("n1"), x509.IPAddress(ipaddress.ip_address("10.0.0.1"))]
    usages = ["digital signature", "server auth"]
    await ask(world.admin, csr("system:node:n1", "system:nodes", *names), "kubelet-serving", usages)
    await approve(world)
    certificate = await issued(world)
    assert list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == names
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and not usage.key_encipherment


@pytest.mark.parametrize(("decision", "hours"), [("", 24), ("Approved", 1), ("Denied", 1)])
async def test_old_requests_go(world: World, pki: certificates.Pki, decision: str, hours: int) -> None:
    await begin(world, pki)
    await ask(world.admin, csr("jane"), "kube-apiserver-client")
    if decision == "Approved":
        await approve(world)
        await issued(world)
    elif decision:
        found = await world.admin.get(NAME, "r")
        found["status"] = {"conditions": [{"type": decision, "status": "True", "reason": "R", "message": ""}]}
        await world.admin.update(NAME, found, subresource="approval")
    await asyncio.sleep(hours * 3600 - 60)
    assert world.get("certificatesigningrequests", "r", "", "certificates.k8s.io")
    await asyncio.sleep(120)
    assert world.get("certificatesigningrequests", "r", "", "certificates.k8s.io") is None


async def token(world: World, name: str, seconds: float, **more: str) -> None:
    data = {"token-id": name, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true", **more}
    data["expiration"] = format_time(world.clock() + seconds)
    meta = {"name": f"bootstrap-token-{name}"}
    body = {"metadata": meta, "type": "bootstrap.kubernetes.io/token", "stringData": data}
    await world.admin.create("secrets", body, "kube-system")


async def test_bootstrap_tokens(world: World) -> None:
    await world.start("token-cleaner-controller", "bootstrap-signer-controller")
    info = {"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "apiVersion: v1\n"}}
    await world.admin.create("configmaps", info, "kube-public")
    await token(world, "abcdef", 3600)
    await token(world, "uvwxyz", 7200, **{"usage-bootstrap-signing": "false"})

    def data() -> Obj:
        found: Obj = (world.get("configmaps", "cluster-info", "kube-public") or {})["data"]
        return found

    await world.until(lambda: len(data()) == 2, "a signature")
    head, _, rest = data()["jws-kubeconfig-abcdef"].partition("..")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "kid": "abcdef"}
    assert f"{head}..{rest}" == signature("apiVersion: v1\n", "abcdef", "0123456789abcdef")
    await asyncio.sleep(3700)
    assert world.get("secrets", "bootstrap-token-abcdef", "kube-system") is None
    assert data().keys() == {"kubeconfig"}
    assert world.get("secrets", "bootstrap-token-uvwxyz", "kube-system")
    await asyncio.sleep(3600)
    assert world.get("secrets", "bootstrap-token-uvwxyz", "kube-system") is None
