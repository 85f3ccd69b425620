"""Autoscaling, metrics, collection, quotas and certificates, with real kubectl on simulated nodes."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.clients.test_hollow_kubectl import Kubectl
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]


@pytest.fixture
def kubectl(hollow_up: Up, request: pytest.FixtureRequest) -> Kubectl:
    return Kubectl(hollow_up, request.node.name.removeprefix("test_").replace("_", "-")[:60])


def busy(kubectl: Kubectl, cpu: str) -> None:
    kubectl("annotate", "pod", "-l", "app=web", "--overwrite", f"hollow.sampan.io/cpu-usage={cpu}")


def test_top_and_autoscale(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=2")
    kubectl("set", "resources", "deployment/web", "--requests=cpu=100m,memory=64Mi")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    busy(kubectl, "250m")
    rows = [line.split() for line in kubectl("top", "pods", "--no-headers").splitlines()]
    assert [row[1:] for row in rows if row[1] == "250m"] == [["250m", "6Mi"]] * 2
    assert "hollow-1" in kubectl("top", "nodes")
    assert "nginx" in kubectl("top", "pods", "--containers", "--sort-by=cpu")
    kubectl("autoscale", "deployment/web", "--cpu=100%", "--min=1", "--max=5")
    # pods are believed once they have been ready for a while
    kubectl("wait", "deployment/web", "--for=jsonpath={.spec.replicas}=5", "--timeout=90s")
    assert "SuccessfulRescale" in kubectl("describe", "hpa", "web")
    assert "cpu: " in kubectl("get", "hpa", "web")


def test_cascades(kubectl: Kubectl) -> None:
    for name, how in (("a", "background"), ("b", "foreground"), ("c", "orphan")):
        kubectl("create", "deployment", name, "--image=nginx:1")
        kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
        kubectl("delete", "deployment", name, f"--cascade={how}", "--timeout=60s")

    def left(kind: str) -> set[str]:
        return {item["metadata"]["labels"]["app"] for item in kubectl.json(kind)["items"]}

    for kind in ("replicasets", "pods"):
        kubectl("wait", "--for=delete", kind, "-l", "app in (a,b)", "--timeout=60s")
        assert left(kind) == {"c"}


def test_a_namespace_goes(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=3")
    kubectl("create", "configmap", "kept")
    kubectl("patch", "configmap", "kept", "-p", '{"metadata":{"finalizers":["example.com/keep"]}}')
    kubectl("delete", "namespace", kubectl.namespace, "--wait=false")
    condition = '{.status.conditions[?(@.type=="NamespaceContentRemaining")].message}'
    said = "Some resources are remaining: configmaps. has 1 resource instances"
    kubectl("wait", f"namespace/{kubectl.namespace}", f"--for=jsonpath={condition}={said}", "--timeout=60s")
    kubectl("patch", "configmap", "kept", "-p", '{"metadata":{"finalizers":null}}')
    kubectl("wait", "--for=delete", f"namespace/{kubectl.namespace}", "--timeout=60s")


def test_quota(kubectl: Kubectl) -> None:
    kubectl("create", "quota", "q", "--hard=pods=2")
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=3")
    kubectl("wait", "quota/q", "--for=jsonpath={.status.used.pods}=2", "--timeout=60s")
    assert "exceeded quota: q" in kubectl("get", "events")
    kubectl("delete", "deployment", "web")
    kubectl("wait", "quota/q", "--for=jsonpath={.status.used.pods}=0", "--timeout=60s")


def test_certificate(kubectl: Kubectl) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    request = base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()
    manifest = f"""
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: jane}}
spec: {{request: {request}, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}}
"""
    kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("certificate", "approve", "jane")
    kubectl("wait", "csr/jane", "--for=jsonpath={.status.certificate}", "--timeout=60s")
    assert "Approved,Issued" in kubectl("get", "csr", "jane")
