"""Claims get volumes, found or made; volumes that nobody claims any more are reclaimed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sampan.api.times import parse_time
from sampan.api.user import User
from sampan.scheduler.scheduler import Scheduler
from tests.controllers_crash import Crashing
from tests.controllers_world import World

Obj = dict[str, Any]
NAME = "persistentvolume-binder-controller"
ALL = (NAME, "persistentvolumeclaim-protection-controller", "persistentvolume-protection-controller")
STORAGE = "storage.k8s.io"
OURS = "sampan.io/host-path"


def claim(name: str = "data", size: str = "1Gi", **spec: Any) -> Obj:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {"metadata": {"name": name}, "spec": spec}


def volume(name: str, size: str = "1Gi", labels: Obj | None = None, **spec: Any) -> Obj:
    spec = {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, "hostPath": {"path": "/tmp/x"},
        "storageClassName": "manual", **spec,
    }  # fmt: skip
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def storage_class(name: str, provisioner: str = OURS, **more: Any) -> Obj:
    return {"metadata": {"name": name}, "provisioner": provisioner, **more}


def pod(name: str, of: str = "data", **spec: Any) -> Obj:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": of}}]
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}], "volumes": volumes, **spec},
    }


async def create(world: World, resource: str, *objs: Obj) -> None:
    namespace = "" if resource in ("persistentvolumes", "storageclasses") else "default"
    for obj in objs:
        await world.admin.create(resource, obj, namespace=namespace)


def phase(world: World, name: str = "data") -> str:
    found = world.get("persistentvolumeclaims", name)
    return found["status"]["phase"] if found else "gone"


def volume_phase(world: World, name: str) -> str:
    found = world.get("persistentvolumes", name, "")
    return found["status"].get("phase", "") if found else "gone"


def bound_to(world: World, name: str = "data") -> str:
    found = world.get("persistentvolumeclaims", name)
    return found["spec"].get("volumeName", "") if found and found["status"]["phase"] == "Bound" else ""


async def bound(world: World, name: str = "data") -> str:
    out: str = await world.until(lambda: bound_to(world, name), f"{name} bound")
    return out


def notes(obj: Obj | None) -> Obj:
    assert obj is not None
    found: Obj = obj["metadata"].get("annotations", {})
    return found


# -- found -------------------------------------------------------------------------------------------------------------


async def test_the_smallest_volume_that_is_right(world: World) -> None:
    await world.start(NAME)
    wide: Obj = {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}
    await create(
        world,
        "persistentvolumes",
        volume("large", "10Gi"), volume("right", "2Gi"), volume("small", "500Mi"), volume("wide", "1Gi", **wide),
        volume("block", volumeMode="Block"), volume("other", storageClassName="other"),
    )  # fmt: skip
    await world.until(lambda: volume_phase(world, "other") == "Available")
    await create(world, "persistentvolumeclaims", claim(storageClassName="manual"))
    assert await bound(world) == "right"
    found, there = world.get("persistentvolumeclaims", "data"), world.get("persistentvolumes", "right", "")
    assert found is not None and there is not None
    yes = {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
    assert notes(found) == yes and notes(there) == {"pv.kubernetes.io/bound-by-controller": "yes"}
    assert found["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}}
    assert there["status"]["phase"] == "Bound" and there["spec"]["claimRef"]["uid"] == found["metadata"]["uid"]
    await create(world, "persistentvolumeclaims", claim("second", storageClassName="manual"))
    assert await bound(world, "second") == "large"


async def test_when_a_volume_entered_its_phase(world: World) -> None:
    await world.start(NAME)
    await create(world, "persistentvolumes", volume("v"))
    await world.until(lambda: volume_phase(world, "v") == "Available")
    await world.loop.advance(60)
    before = (world.get("persistentvolumes", "v", "") or {})["status"]["lastPhaseTransitionTime"]
    await create(world, "persistentvolumeclaims", claim(storageClassName="manual"))
    await bound(world)
    assert (world.get("persistentvolumes", "v", "") or {})["status"]["lastPhaseTransitionTime"] > before


async def test_a_claim_waits_until_there_is_a_volume(world: World) -> None:
    await world.start(NAME)
    selecting = claim(storageClassName="", selector={"matchLabels": {"tier": "fast"}})
    await create(world, "persistentvolumeclaims", selecting)
    (event,) = await world.until(lambda: world.events("FailedBinding"))
    assert event["message"] == "no persistent volumes available for this claim and no storage class is set"
    assert event["type"] == "Normal" and event["source"] == {"component": "persistentvolume-controller"}
    await create(world, "persistentvolumes", volume("slow", storageClassName=""))
    fast = volume("fast", "9Gi", {"tier": "fast"}, storageClassName="")
    await create(world, "persistentvolumes", fast)
    assert await bound(world) == "fast"


async def test_many_claims_never_share_a_volume(world: World) -> None:
    await world.start(NAME)
    count = 12
    await create(world, "persistentvolumes", *(volume(f"v{i}") for i in range(count)))
    await asyncio.gather(
        *(create(world, "persistentvolumeclaims", claim(f"c{i}", storageClassName="manual")) for i in range(count))
    )
    got = {await bound(world, f"c{i}") for i in range(count)}
    assert len(got) == count


async def test_bound_beforehand(world: World) -> None:
    await world.start(NAME)
    kept = {"claimRef": {"name": "data", "namespace": "default"}}
    await create(world, "persistentvolumes", volume("kept", "5Gi", **kept), volume("asked"), volume("free"))
    await create(world, "persistentvolumeclaims", claim(storageClassName="manual"))
    assert await bound(world) == "kept", "though others are smaller"
    assert "pv.kubernetes.io/bound-by-controller" not in notes(world.get("persistentvolumes", "kept", ""))
    await create(world, "persistentvolumeclaims", claim("asking", storageClassName="manual", volumeName="asked"))
    assert await bound(world, "asking") == "asked"
    assert "pv.kubernetes.io/bound-by-controller" not in notes(world.get("persistentvolumeclaims", "asking"))
    too_much = claim("much", "2Gi", storageClassName="manual", volumeName="free")
    await create(world, "persistentvolumeclaims", too_much)
    (event,) = await world.until(lambda: world.events("VolumeMismatch"))
    assert event["message"] == 'Cannot bind to requested volume "free": requested PV is too small'
    await create(world, "persistentvolumeclaims", claim("late", storageClassName="manual", volumeName="asked"))
    (event,) = await world.until(lambda: [e for e in world.events("FailedBinding") if e["type"] == "Warning"])
    assert event["message"] == 'volume "asked" already bound to a different claim.'
    assert phase(world, "late") == phase(world, "much") == "Pending"


async def test_a_volume_asked_for_by_name_has_the_class_of_attributes_that_the_claim_has(world: World) -> None:
    await world.start(NAME)
    await create(world, "persistentvolumes", volume("v"))
    wanted = {"storageClassName": "manual", "volumeName": "v", "volumeAttributesClassName": "gold"}
    await create(world, "persistentvolumeclaims", claim(**wanted))
    [event] = await world.until(lambda: world.events("VolumeMismatch"))
    message = 'Cannot bind to requested volume "v": volumeAttributesClassName does not match'
    assert (event["type"], event["message"]) == ("Warning", message)
    assert phase(world) == "Pending"


async def test_a_claim_whose_volume_is_gone_is_lost(world: World) -> None:
    await world.start(NAME)
    await create(world, "persistentvolumes", volume("v"))
    await create(world, "persistentvolumeclaims", claim(storageClassName="manual"))
    await bound(world)
    await world.admin.patch("persistentvolumes", "v", {"metadata": {"finalizers": None}})
    await world.admin.delete("persistentvolumes", "v")
    await world.until(lambda: phase(world) == "Lost")
    (event,) = await world.until(lambda: world.events("ClaimLost"))
    assert event["message"] == "Bound claim has lost its PersistentVolume. Data on the volume is lost!"


# -- reclaimed ---------------------------------------------------------------------------------------------------------


async def released(world: World, **spec: Any) -> None:
    await world.start(*ALL)
    await create(world, "persistentvolumes", volume("v", **spec))
    await create(world, "persistentvolumeclaims", claim(storageClassName="manual"))
    await bound(world)
    await world.admin.delete("persistentvolumeclaims", "data", "default")


async def test_retained(world: World) -> None:
    await released(world)
    await world.until(lambda: volume_phase(world, "v") == "Released")
    await create(world, "persistentvolumeclaims", claim(storageClassName="manual"))
    await world.settle()
    assert phase(world) == "Pending", "another claim of the same name is not given it"
    await world.admin.patch("persistentvolumes", "v", {"spec": {"claimRef": None}})
    assert await bound(world) == "v"


async def test_deleted(world: World) -> None:
    await released(world, persistentVolumeReclaimPolicy="Delete")
    await world.until(lambda: volume_phase(world, "v") == "gone")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"hostPath": {"path": "/data"}},
            "host_path deleter only supports /tmp/.+ but received provided /data",
        ),
        (
            {"hostPath": None, "nfs": {"server": "s", "path": "/"}},
            'error getting deleter volume plugin for volume "v": no deletable volume plugin matched',
        ),
    ],
)
async def test_what_cannot_be_deleted_has_failed(world: World, spec: Obj, message: str) -> None:
    await released(world, persistentVolumeReclaimPolicy="Delete", **spec)
    await world.until(lambda: volume_phase(world, "v") == "Failed")
    (event,) = await world.until(lambda: world.events("VolumeFailedDelete"))
    assert (
        event["message"] == message and (world.get("persistentvolumes", "v", "") or {})["status"]["message"] == message
    )


async def test_recycled(world: World) -> None:
    await released(world, persistentVolumeReclaimPolicy="Recycle")
    made = await world.until(lambda: world.get("pods", "recycler-for-v"))
    assert made["spec"]["volumes"][0]["hostPath"]["path"] == "/tmp/x" and made["spec"]["restartPolicy"] == "Never"
    ended = {"status": {"phase": "Succeeded"}}
    await world.admin.patch("pods", "recycler-for-v", ended, "default", subresource="status")
    await world.until(lambda: volume_phase(world, "v") == "Available")
    assert "claimRef" not in (world.get("persistentvolumes", "v", "") or {})["spec"]
    assert (await world.until(lambda: world.events("VolumeRecycled")))[0]["message"] == "Volume recycled"


# -- made --------------------------------------------------------------------------------------------------------------


async def test_a_cluster_without_classes_gets_one(world: World) -> None:
    await world.start(NAME)
    made = await world.until(lambda: world.get("storageclasses", "standard", "", STORAGE))
    assert made["provisioner"] == OURS and made["volumeBindingMode"] == "WaitForFirstConsumer"
    assert notes(made)["storageclass.kubernetes.io/is-default-class"] == "true"


async def test_a_claim_without_class_gets_the_one_that_becomes_the_default(world: World) -> None:
    await create(world, "storageclasses", storage_class("plain"))
    await world.start(NAME)
    await create(world, "persistentvolumeclaims", claim(), claim("none", storageClassName=""))
    await world.until(lambda: world.events("FailedBinding"))
    default = storage_class("fast")
    default["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    await create(world, "storageclasses", default)
    await bound(world)
    assert (world.get("persistentvolumeclaims", "data") or {})["spec"]["storageClassName"] == "fast"
    assert phase(world, "none") == "Pending"


async def test_made_at_once_where_the_class_says_so(world: World) -> None:
    await create(world, "storageclasses", storage_class("now", reclaimPolicy="Delete"))
    await world.start(*ALL)
    await create(world, "persistentvolumeclaims", claim(storageClassName="now"))
    name = await bound(world)
    found = world.get("persistentvolumeclaims", "data")
    assert found is not None and name == f"pvc-{found['metadata']['uid']}"
    assert notes(found)["volume.kubernetes.io/storage-provisioner"] == OURS
    made = world.get("persistentvolumes", name, "")
    assert made is not None and notes(made)["pv.kubernetes.io/provisioned-by"] == OURS
    assert made["spec"]["hostPath"]["path"].endswith(f"/{name}_default_data") and "nodeAffinity" not in made["spec"]
    assert set(made["metadata"]["finalizers"]) == {"kubernetes.io/pv-controller", "kubernetes.io/pv-protection"}
    (event,) = await world.until(lambda: world.events("ProvisioningSucceeded"))
    assert event["message"] == f"Successfully provisioned volume {name} using {OURS}"
    await world.admin.delete("persistentvolumes", name)
    await world.settle()
    assert bound_to(world) == name, "while it is claimed it stays"
    await world.admin.delete("persistentvolumeclaims", "data", "default")
    await world.until(lambda: volume_phase(world, name) == "gone", "volume deleted")


async def test_a_volume_that_is_to_be_kept_loses_its_guard(world: World) -> None:
    await create(world, "storageclasses", storage_class("now", reclaimPolicy="Delete"))
    await world.start(*ALL)
    await create(world, "persistentvolumeclaims", claim(storageClassName="now"))
    name = await bound(world)
    await world.admin.patch("persistentvolumes", name, {"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
    await world.until(
        lambda: (
            (world.get("persistentvolumes", name, "") or {})["metadata"]["finalizers"]
            == ["kubernetes.io/pv-protection"]
        )
    )


@pytest.mark.parametrize(
    ("class_", "spec", "reason", "message"),
    [
        (None, {}, "ProvisioningFailed", 'storageclass.storage.k8s.io "c" not found'),
        (
            storage_class("c", "kubernetes.io/no-provisioner"), {}, "ProvisioningFailed",
            "no volume plugin matched name: kubernetes.io/no-provisioner",
        ),
        (
            storage_class("c"), {"volumeMode": "Block"}, "ProvisioningFailed",
            f'Failed to provision volume with StorageClass "c": {OURS} does not support block volume provisioning',
        ),
        (
            storage_class("c", mountOptions=["ro"]), {}, "ProvisioningFailed",
            'Mount options are not supported by the provisioner but StorageClass "c" has mount options [ro]',
        ),
        (
            storage_class("c", "example.com/x"), {}, "ExternalProvisioning",
            "Waiting for a volume to be created either by the external provisioner 'example.com/x' or manually by the "
            "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
            "correctly registered.",
        ),
        (
            storage_class("c", volumeBindingMode="WaitForFirstConsumer"), {}, "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
        ),
    ],
)  # fmt: skip
async def test_why_a_claim_waits(world: World, class_: Obj | None, spec: Obj, reason: str, message: str) -> None:
    await create(world, "storageclasses", storage_class("other"), *([class_] if class_ else []))
    await world.start(NAME)
    await create(world, "persistentvolumeclaims", claim(storageClassName="c", **spec))
    (event,) = await world.until(lambda: world.events(reason))
    assert event["message"] == message and phase(world) == "Pending"
    await world.settle()
    assert sum(event["count"] for event in world.events()) == 1


async def test_why_a_claim_waits_is_told_as_long_as_it_does(world: World) -> None:
    await world.start(NAME)
    await create(world, "persistentvolumeclaims", claim(storageClassName="none"))
    await world.loop.advance(3 * 3600)
    (event,) = world.events("ProvisioningFailed")
    assert world.clock() - parse_time(event["lastTimestamp"]) < 600 and event["count"] > 10
    await create(world, "persistentvolumes", volume("v", storageClassName="none"))
    await bound(world)


async def test_whose_pod_waits_too_is_told(world: World) -> None:
    await world.start(NAME)
    await create(world, "persistentvolumeclaims", claim(storageClassName="standard"))
    await create(world, "pods", pod("web"))
    (event,) = await world.until(lambda: world.events("WaitForPodScheduled"))
    assert event["message"] == "waiting for pod web to be scheduled"


async def test_directories_are_made_for_real_nodes_only(world: World, tmp_path: Path) -> None:
    world.options = replace(world.options, host_path_root=str(tmp_path / "volumes"))
    now = storage_class("now", reclaimPolicy="Delete")
    await create(world, "storageclasses", now)
    await world.start(*ALL)
    await world.admin.create("nodes", {"metadata": {"name": "h", "labels": {"sampan.io/hollow": "true"}}})
    await create(world, "persistentvolumeclaims", claim("simulated", storageClassName="now"))
    await bound(world, "simulated")
    assert not (tmp_path / "volumes").exists()
    await world.admin.create("nodes", {"metadata": {"name": "real"}})
    await create(world, "persistentvolumeclaims", claim(storageClassName="now"))
    name = await bound(world)
    (made,) = (tmp_path / "volumes").iterdir()
    assert made.name == f"{name}_default_data" and made.stat().st_mode & 0o777 == 0o777
    (made / "deep" / "er").mkdir(parents=True)
    (made / "file").write_text("x")
    (made / "link").symlink_to(tmp_path)
    (tmp_path / "stays").write_text("y")
    await world.admin.delete("persistentvolumeclaims", "data", "default")
    await world.until(lambda: volume_phase(world, name) == "gone", "volume deleted")
    assert not list((tmp_path / "volumes").iterdir())
    assert (tmp_path / "stays").read_text() == "y"


async def test_a_pod_with_a_claim_of_class_standard_runs(world: World) -> None:
    """All the way: scheduler, binder and kubelet."""
    await world.start(*ALL)
    await world.hollow(3)
    scheduler = Scheduler(
        world.client(User("system:kube-scheduler", ("system:authenticated",)), "kube-scheduler"), world.informers,
        clock=world.clock, rng=world.rng,
    )  # fmt: skip
    world.tasks["scheduler"] = asyncio.create_task(scheduler.run())
    await world.until(lambda: world.get("storageclasses", "standard", "", STORAGE))
    await create(world, "persistentvolumeclaims", claim("data-web-0"))
    tolerations = [{"operator": "Exists"}]
    await create(world, "pods", pod("web-0", "data-web-0", tolerations=tolerations))
    running = await world.until(
        lambda: (p := world.get("pods", "web-0")) and p["status"].get("phase") == "Running" and p, "running"
    )
    name, node = bound_to(world, "data-web-0"), running["spec"]["nodeName"]
    found = world.get("persistentvolumes", name, "")
    assert found is not None and found["status"]["phase"] == "Bound"
    (term,) = found["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]
    assert notes(world.get("persistentvolumeclaims", "data-web-0"))["volume.kubernetes.io/selected-node"] == node
    await create(world, "pods", pod("web-1", "data-web-0", tolerations=tolerations))
    await world.until(lambda: (world.get("pods", "web-1") or {})["spec"].get("nodeName") == node, "the same node")


# -- protected, expanded, ephemeral ------------------------------------------------------------------------------------


def unused(world: World, name: str = "data") -> tuple[str, str]:
    found = world.get("persistentvolumeclaims", name)
    conditions = (found or {"status": {}})["status"].get("conditions") or ()
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == "Unused"), ("", ""))


async def test_a_claim_in_use_stays_until_its_pod_is_done(world: World) -> None:
    await world.start(*ALL)
    await create(world, "persistentvolumes", volume("v"))
    await create(world, "persistentvolumeclaims", claim(storageClassName="manual"))
    await bound(world)
    await world.until(lambda: unused(world) == ("True", "NoPodsUsingPVC"))
    await world.hollow()
    await create(world, "pods", pod("web", nodeName="n1"))
    await world.until(lambda: unused(world) == ("False", "PodUsingPVC"))
    await world.admin.delete("persistentvolumeclaims", "data", "default")
    await world.loop.advance(60)
    assert phase(world) == "Bound"
    await world.admin.delete("pods", "web", "default")
    await world.until(lambda: phase(world) == "gone")
    await world.until(lambda: volume_phase(world, "v") == "Released")
    await world.admin.delete("persistentvolumes", "v")
    await world.until(lambda: volume_phase(world, "v") == "gone")


async def test_a_pod_without_a_node_keeps_no_claim(world: World) -> None:
    await world.start(*ALL)
    await create(world, "persistentvolumes", volume("v"))
    await create(world, "persistentvolumeclaims", claim(storageClassName="standard"))
    await create(world, "persistentvolumeclaims", claim("bound", storageClassName="manual"))
    await create(world, "pods", pod("web"), pod("app", "bound"))
    await world.until(lambda: unused(world, "bound") == ("False", "PodUsingPVC"))
    await world.settle(20)
    assert phase(world) == "Pending" and unused(world) == ("", "")
    for name in ("data", "bound"):
        await world.admin.delete("persistentvolumeclaims", name, "default")
    await world.until(lambda: phase(world) == phase(world, "bound") == "gone")


async def test_a_claim_of_a_pod_of_which_nothing_runs_any_more_is_unused(world: World) -> None:
    await world.start(*ALL)
    await create(world, "persistentvolumes", volume("v"))
    await create(world, "persistentvolumeclaims", claim(storageClassName="manual"))
    await create(world, "pods", pod("web", nodeName="n1"))

    async def says(**status: Any) -> None:
        await world.admin.patch("pods", "web", {"status": status}, "default", subresource="status")

    running = [{"name": "c", "image": "i", "imageID": "i", "restartCount": 0, "ready": True, "state": {"running": {}}}]
    ended = [{**running[0], "ready": False, "state": {"terminated": {"exitCode": 0}}}]
    await says(phase="Running", containerStatuses=ended, ephemeralContainerStatuses=running)
    await world.admin.delete("pods", "web", "default", grace_seconds=1000)
    await world.until(lambda: unused(world) == ("False", "PodUsingPVC"))
    await world.settle(20)
    assert unused(world) == ("False", "PodUsingPVC")
    await says(ephemeralContainerStatuses=ended)
    await world.until(lambda: unused(world) == ("True", "NoPodsUsingPVC"), "unused", 60)


async def test_finalizers_that_somebody_took_away_are_put_back(world: World) -> None:
    await world.start(*ALL)
    await create(world, "persistentvolumes", volume("v"))
    await create(world, "persistentvolumeclaims", claim(storageClassName=""))
    for resource, name, namespace in (("persistentvolumes", "v", ""), ("persistentvolumeclaims", "data", "default")):
        await world.admin.patch(resource, name, {"metadata": {"finalizers": None}}, namespace)
        await world.settle()
        assert (world.get(resource, name, namespace) or {})["metadata"]["finalizers"]


async def test_expansion(world: World) -> None:
    classes = [
        storage_class("now", allowVolumeExpansion=True),
        storage_class("manual", "x.y/z", allowVolumeExpansion=True),
    ]
    await create(world, "storageclasses", *classes)
    await world.start(NAME, "persistentvolume-expander-controller")
    await create(world, "persistentvolumes", volume("v"))
    claims = claim(storageClassName="now"), claim("other", storageClassName="manual")
    await create(world, "persistentvolumeclaims", *claims)
    name = await bound(world)
    await bound(world, "other")
    more = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
    for each in ("data", "other"):
        await world.admin.patch("persistentvolumeclaims", each, more, "default")
    await world.until(
        lambda: (world.get("persistentvolumeclaims", "data") or {})["status"]["capacity"]["storage"] == "3Gi"
    )
    assert (world.get("persistentvolumes", name, "") or {})["spec"]["capacity"] == {"storage": "3Gi"}
    (event,) = await world.until(lambda: world.events("VolumeResizeSuccessful"))
    assert event["message"] == "ExpandVolume succeeded for volume default/data"
    (event,) = await world.until(lambda: world.events("ExternalExpanding"))
    assert event["message"] == "waiting for an external controller to expand this PVC"
    assert (world.get("persistentvolumeclaims", "other") or {})["status"]["capacity"]["storage"] == "1Gi"


def ephemeral(name: str) -> Obj:
    template = {"metadata": {"labels": {"l": "v"}}, "spec": {**claim()["spec"], "storageClassName": "now"}}
    return {
        "metadata": {"name": name},
        "spec": {
            "nodeName": "n1", "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}],
        },
    }  # fmt: skip


async def test_ephemeral_volumes(world: World) -> None:
    await create(world, "storageclasses", storage_class("now"))
    await create(world, "persistentvolumeclaims", claim("other-scratch", storageClassName=""))
    await world.start(NAME, "ephemeral-volume-controller")
    await create(world, "pods", ephemeral("web"), ephemeral("other"))
    await bound(world, "web-scratch")
    made = world.get("persistentvolumeclaims", "web-scratch")
    assert made is not None and made["metadata"]["labels"] == {"l": "v"}
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Pod", "web", True)
    about = {"kind": "Pod", "name": "other"}
    (event,) = await world.until(
        lambda: [e for e in world.events("FailedBinding") if about.items() <= e["involvedObject"].items()]
    )
    why = "PVC default/other-scratch was not created for pod default/other (pod is not owner)"
    assert event["message"] == f"ephemeral volume scratch: {why}"
    await world.admin.patch("persistentvolumeclaims", "other-scratch", {"metadata": {"finalizers": None}}, "default")
    await world.admin.delete("persistentvolumeclaims", "other-scratch", "default")
    await bound(world, "other-scratch")


async def test_classes_of_attributes_in_use_stay(world: World) -> None:
    resource = "volumeattributesclasses"
    await world.start("volumeattributesclass-protection-controller")
    await world.admin.create(resource, {"metadata": {"name": "gold"}, "driverName": "d", "parameters": {"a": "b"}})
    spec = {"storageClassName": "", "volumeAttributesClassName": "gold"}
    await create(world, "persistentvolumeclaims", claim(**spec))
    await world.admin.delete(resource, "gold")
    await world.settle()
    assert world.get(resource, "gold", "", STORAGE) is not None
    await world.admin.patch("persistentvolumeclaims", "data", {"metadata": {"finalizers": None}}, "default")
    await world.admin.delete("persistentvolumeclaims", "data", "default")
    await world.until(lambda: world.get(resource, "gold", "", STORAGE) is None)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
async def test_a_crash_at_any_write(world: World, at: int, after: bool) -> None:
    await create(world, "storageclasses", storage_class("now", reclaimPolicy="Delete"))
    await create(world, "persistentvolumes", volume("v"))
    await create(world, "persistentvolumeclaims", claim("found", storageClassName="manual"))
    world.wrap = lambda transport: Crashing(transport, at, after=after)
    await world.start(NAME)
    await create(world, "persistentvolumeclaims", claim("made", storageClassName="now"))
    await world.loop.advance(5)
    world.wrap = lambda transport: transport
    await world.stop(NAME)
    await world.start(*ALL)
    assert await bound(world, "found") == "v"
    name = await bound(world, "made")
    await world.loop.advance(5)
    assert {item["metadata"]["name"] for item in world.all("persistentvolumes")} == {"v", name}
    await world.admin.delete("persistentvolumeclaims", "made", "default")
    await world.until(lambda: volume_phase(world, name) == "gone", "volume deleted")
