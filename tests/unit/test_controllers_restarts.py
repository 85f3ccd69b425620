"""Controllers that die at any of their writes, before or after it took effect, and are started again: the same end."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sampan.cluster import certificates
from tests.controllers_crash import Crashing
from tests.controllers_world import World
from tests.unit import test_controllers_certificates as csrs
from tests.unit import test_controllers_hpa as hpas
from tests.unit import test_controllers_quota as quotas

pytestmark = pytest.mark.slow


async def crash_everywhere(
    world: World, names: tuple[str, ...], begin: Callable[[], Awaitable[Any]], end: Callable[[], Any], after: bool
) -> None:
    """`begin` makes the work; `end` says that it is done and, with it, undone for the next round."""
    for at in range(1, 5):
        world.wrap = lambda inner, at=at: Crashing(inner, at, after=after)  # type: ignore[misc]
        await world.start(*names)
        await begin()
        await world.settle(20)
        for name in names:
            await world.stop(name)
        world.wrap = lambda inner: inner
        await world.start(*names)
        await world.until(end, f"recovery from call {at}", 600)
        for name in names:
            await world.stop(name)


@pytest.mark.parametrize("after", [False, True])
async def test_autoscaler(world: World, after: bool) -> None:
    await hpas.deployment(world)
    await hpas.running(world, 2, "900m")
    await hpas.autoscaler(world, metrics=hpas.cpu(50))

    async def begin() -> None:
        await world.admin.set_scale("deployments.apps", "web", "default", 2)

    def end() -> bool:
        return hpas.replicas(world) == 4 and hpas.status(world).get("desiredReplicas") == 4

    await crash_everywhere(world, (hpas.NAME,), begin, end, after)


@pytest.mark.parametrize("after", [False, True])
async def test_quota(world: World, after: bool) -> None:
    await quotas.quota(world, pods="9")

    async def begin() -> None:
        for name in ("a", "b"):
            await quotas.pod(world, name)
        for name in ("a", "b"):
            await world.admin.delete("pods", name, "default")

    await crash_everywhere(world, (quotas.NAME,), begin, lambda: quotas.used(world) == {"pods": "0"}, after)


@pytest.mark.parametrize("after", [False, True])
async def test_certificates(world: World, pki: certificates.Pki, after: bool) -> None:
    ca, key = pki.path("ca.crt").read_text(), pki.path("ca.key").read_text()
    world.options = dataclasses.replace(world.options, signing_cert=ca, signing_key=key)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
    role["name"] = "system:certificates.k8s.io:certificatesigningrequests:nodeclient"
    subject = {"kind": "User", "name": "admin", "apiGroup": role["apiGroup"]}
    body = {"metadata": {"name": "b"}, "roleRef": role, "subjects": [subject]}
    await world.admin.create("clusterrolebindings.rbac.authorization.k8s.io", body)
    made = csrs.csr("system:node:n1", "system:nodes")

    async def begin() -> None:
        if world.all("certificatesigningrequests", group="certificates.k8s.io"):
            await world.admin.delete(csrs.NAME, "r")
        await csrs.ask(world.admin, made, "kube-apiserver-client-kubelet")

    def end() -> bool:
        return bool(csrs.status(world).get("certificate")) and len(csrs.status(world)["conditions"]) == 1

    await crash_everywhere(world, tuple(csrs.ALL), begin, end, after)


@pytest.mark.parametrize("after", [False, True])
async def test_accounts(world: World, after: bool) -> None:
    world.options = dataclasses.replace(world.options, root_ca="CA")

    async def begin() -> None:
        await world.admin.delete("serviceaccounts", "default", "default")
        await world.admin.delete("configmaps", "kube-root-ca.crt", "default")

    def end() -> bool:
        found = world.get("configmaps", "kube-root-ca.crt") or {}
        return found.get("data") == {"ca.crt": "CA"} and world.get("serviceaccounts", "default") is not None

    names = ("serviceaccount-controller", "root-ca-certificate-publisher-controller")
    await crash_everywhere(world, names, begin, end, after)
