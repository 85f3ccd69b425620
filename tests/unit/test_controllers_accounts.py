"""What every namespace has comes back."""

from __future__ import annotations

import dataclasses
import hashlib

from sampan.cluster.certificates import Pki
from tests.controllers_world import World

NAMES = ("serviceaccount-controller", "root-ca-certificate-publisher-controller")


async def test_what_is_deleted_comes_back(world: World) -> None:
    world.options = dataclasses.replace(world.options, root_ca="CA")
    await world.start(*NAMES)
    await world.admin.create("namespaces", {"metadata": {"name": "n"}})
    await world.until(lambda: world.get("serviceaccounts", "default", "n"), "the account")
    for kind, name in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")):
        await world.until(lambda kind=kind, name=name: world.get(kind, name, "n"), "the first")  # type: ignore[misc]
        old = await world.admin.get(kind, name, "n")
        await world.admin.delete(kind, name, "n")
        new = await world.until(lambda kind=kind, name=name: world.get(kind, name, "n"), "the next")  # type: ignore[misc]
        assert new["metadata"]["uid"] != old["metadata"]["uid"]


async def test_another_ca_is_put_right(world: World) -> None:
    first = await world.admin.get("configmaps", "kube-root-ca.crt", "default")
    note = first["metadata"]["annotations"]["kubernetes.io/description"]
    assert note.startswith("Contains a CA bundle that can be used to verify the kube-apiserver when using internal ")
    world.options = dataclasses.replace(world.options, root_ca="CA")
    await world.start(*NAMES)

    def published() -> list[str]:
        found = world.all("configmaps")
        return [obj["data"]["ca.crt"] for obj in found if obj["metadata"]["name"] == "kube-root-ca.crt"]

    await world.until(lambda: published() == ["CA"] * 4, "the options' CA in place of the server's")
    await world.admin.patch("configmaps", "kube-root-ca.crt", {"data": {"ca.crt": "evil"}}, "default")
    await world.until(lambda: published() == ["CA"] * 4, "the CA")
    notes = world.get("configmaps", "kube-root-ca.crt")["metadata"]["annotations"]  # type: ignore[index]
    assert notes["kubernetes.io/description"] == note


async def test_nothing_new_in_a_namespace_that_goes(world: World) -> None:
    await world.start(*NAMES)
    await world.admin.create("namespaces", {"metadata": {"name": "n"}})
    await world.admin.delete("namespaces", "n")
    await world.admin.delete("serviceaccounts", "default", "n")
    await world.settle()
    assert world.get("serviceaccounts", "default", "n") is None


async def test_whom_to_believe_that_it_is_the_api_server(world: World, pki: Pki) -> None:
    ca = pki.path("ca.crt").read_text()
    world.options = dataclasses.replace(world.options, root_ca=ca)
    signer = "kubernetes.io/kube-apiserver-serving"
    name = f"{signer.replace('/', ':')}:{hashlib.sha256(ca.encode()).hexdigest()[:24]}"

    def published() -> dict[str, str]:
        found = world.all("clustertrustbundles", group="certificates.k8s.io")
        return {item["metadata"]["name"]: item["spec"]["trustBundle"] for item in found}

    old = {"metadata": {"name": name[:-1] + "x"}, "spec": {"signerName": signer, "trustBundle": ca}}
    other = {"metadata": {"name": "example.com:a:b"}, "spec": {"signerName": "example.com/a", "trustBundle": ca}}
    for bundle in (old, other):
        await world.admin.create("clustertrustbundles.certificates.k8s.io", bundle)
    await world.start("kube-apiserver-serving-clustertrustbundle-publisher-controller")
    await world.until(lambda: published() == {name: ca, "example.com:a:b": ca}, "the bundle")
    await world.admin.delete("clustertrustbundles.certificates.k8s.io", name)
    await world.until(lambda: name not in published(), "its end")
    await world.until(lambda: name in published(), "the next")


async def test_tokens_that_nobody_uses_end(world: World) -> None:
    world.options = dataclasses.replace(world.options, legacy_service_account_token_clean_up_period=2 * 86400.0)
    await world.admin.create("serviceaccounts", {"metadata": {"name": "a"}}, "default")
    notes = {"kubernetes.io/service-account.name": "a"}
    for name in ("old", "used", "mounted", "by-hand"):
        meta = {"name": name, "annotations": notes}
        await world.admin.create(
            "secrets", {"metadata": meta, "type": "kubernetes.io/service-account-token"}, "default"
        )
    named = [{"name": name} for name in ("old", "used", "mounted")]
    await world.admin.patch("serviceaccounts", "a", {"secrets": named}, "default")
    volumes = [{"name": "v", "projected": {"sources": [{"secret": {"name": "mounted"}}]}}]
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
    await world.admin.create("pods", {"metadata": {"name": "p"}, "spec": spec}, "default")
    await world.start("legacy-serviceaccount-token-cleaner-controller")
    await world.loop.advance(2.5 * 86400)
    label = {"metadata": {"labels": {"kubernetes.io/legacy-token-last-used": "2026-12-30"}}}
    await world.admin.patch("secrets", "used", label, "default")

    def invalid() -> dict[str, str]:
        found = {obj["metadata"]["name"]: obj["metadata"].get("labels") or {} for obj in world.all("secrets")}
        return {name: labels.get("kubernetes.io/legacy-token-invalid-since", "") for name, labels in found.items()}

    assert set(invalid().values()) == {""}
    await world.loop.advance(86400)
    assert invalid() == {"old": "2026-01-04", "used": "", "mounted": "", "by-hand": ""}
    await world.loop.advance(2 * 86400)
    assert len(invalid()) == 4
    await world.loop.advance(86400)
    assert set(invalid()) == {"used", "mounted", "by-hand"}
