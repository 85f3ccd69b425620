"""Storage and network classes: defaults, finalizers, growth; trust bundles."""

from typing import Any

import pytest

from sampan.api.user import User
from sampan.apiserver.authorization.attributes import Attributes, Decision
from tests.conftest import Local

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
MERGE = "application/merge-patch+json"


def claim(name: str, size: str = "1Gi", **spec: Any) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {"metadata": {"name": name}, "spec": spec}


def storage_class(name: str, default: bool, **more: Any) -> dict[str, Any]:
    note = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": note}, "provisioner": "example.com/p", **more}


async def test_claims_get_the_default_class_and_a_finalizer(api: Local) -> None:
    _, made = await api("POST", CLAIMS, claim("before"))
    assert "storageClassName" not in made["spec"]
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    for name, default in (("b", True), ("a", True), ("other", False)):
        await api("POST", CLASSES, storage_class(name, default))
    _, made = await api("POST", CLAIMS, claim("later"))
    assert made["spec"]["storageClassName"] == "a"
    _, made = await api("POST", CLAIMS, claim("none", storageClassName=""))
    assert made["spec"]["storageClassName"] == ""
    await api("DELETE", f"{CLASSES}/a")
    await api("DELETE", f"{CLASSES}/b")
    _, made = await api("POST", CLAIMS, claim("after"))
    assert "storageClassName" not in made["spec"]


async def test_claims_grow_where_their_class_lets_them(api: Local) -> None:
    await api("POST", CLASSES, storage_class("fixed", False))
    await api("POST", CLASSES, storage_class("elastic", False, allowVolumeExpansion=True))
    more = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    for name in ("fixed", "elastic"):
        await api("POST", CLAIMS, claim(name, storageClassName=name, volumeName="v"))
        code, refused = await api("PATCH", f"{CLAIMS}/{name}", more, MERGE)
        assert code in (403, 422), refused
        await api("PATCH", f"{CLAIMS}/{name}/status", {"status": {"phase": "Bound"}}, MERGE)
    code, refused = await api("PATCH", f"{CLAIMS}/fixed", more, MERGE)
    assert (code, refused["message"]) == (
        403,
        'persistentvolumeclaims "fixed" is forbidden: only dynamically provisioned pvc can be resized and the '
        "storageclass that provisions the pvc must support resize",
    )
    assert (await api("PATCH", f"{CLAIMS}/elastic", more, MERGE))[0] == 200


async def test_ingresses_get_the_default_class(api: Local) -> None:
    note = {"ingressclass.kubernetes.io/is-default-class": "true"}
    body = {"metadata": {"name": "main", "annotations": note}, "spec": {"controller": "example.com/c"}}
    await api("POST", "/apis/networking.k8s.io/v1/ingressclasses", body)
    path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
    backend = {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}
    _, made = await api("POST", path, {"metadata": {"name": "i"}, "spec": backend})
    assert made["spec"]["ingressClassName"] == "main"
    old = {"name": "old", "annotations": {"kubernetes.io/ingress.class": "x"}}
    _, made = await api("POST", path, {"metadata": old, "spec": backend})
    assert "ingressClassName" not in made["spec"]


async def test_trust_bundles_need_the_right_to_attest(api: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    class Some:
        def authorize(self, user: User, asked: Attributes) -> Decision:
            return Decision(asked.resource != "signers" or asked.name == "good.com/*")

    monkeypatch.setattr(api.server.api, "authorizer", Some())
    ca = api.server.config.client_ca_file
    assert ca is not None
    path = "/apis/certificates.k8s.io/v1/clustertrustbundles"

    def bundle(signer: str) -> dict[str, Any]:
        name = f"{signer.replace('/', ':')}:b"
        return {"metadata": {"name": name}, "spec": {"signerName": signer, "trustBundle": ca.read_text()}}

    code, refused = await api("POST", path, bundle("bad.com/x"))
    assert code == 403 and 'user not permitted to attest for signerName "bad.com/x"' in refused["message"]
    code, made = await api("POST", path, bundle("good.com/x"))
    assert code == 201, made
