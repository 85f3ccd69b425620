"""Volumes that are mounts, without a kubelet: made, brought up to date, found again, and gone without a trace."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.api.errors import StatusError
from sampan.kubelet.volumes import Extra, VolumeError, Volumes, mounts, ownership, subpath

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")]
Obj = dict[str, Any]


class Api:
    """What the API server would say."""

    def __init__(self) -> None:
        self.client = self
        self.now = 1_700_000_000.0
        self.tokens = 0
        self.objects: dict[str, Obj] = {"n1": {"metadata": {"name": "n1", "labels": {"disk": "fast"}}}}

    def listen(self, changed: Any) -> None: ...

    def register(self, pod: Obj) -> None: ...

    def unregister(self, uid: str) -> None: ...

    async def token(self, pod: Obj, audience: str, seconds: int) -> str:
        if not self.tokens:
            raise StatusError(403, "Forbidden", 'serviceaccounts "default" is forbidden: no')
        return f"{audience}-{self.tokens}"

    async def get(self, what: str, name: str, namespace: str = "") -> Obj:
        if name not in self.objects:
            raise StatusError(404, "NotFound", f'{what} "{name}" not found')
        return self.objects[name]

    async def secret(self, namespace: str, name: str) -> Obj:
        return await self.get("secret", name)

    async def config_map(self, namespace: str, name: str) -> Obj:
        return await self.get("configmap", name)

    async def claim(self, namespace: str, name: str) -> Obj:
        return await self.get("persistentvolumeclaims", name)

    async def volume(self, name: str) -> Obj:
        return await self.get("persistentvolumes", name)

    async def items(self, what: str, *, field_selector: str = "") -> list[Obj]:
        return [
            each
            for each in self.objects.values()
            if "spec" in each and field_selector.endswith(each["spec"].get("signerName", "?"))
        ]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Nothing of it is mounted in the end."""
    yield tmp_path / "kubelet"
    left = [each.point for each in mounts.mounted() if each.point.startswith(str(tmp_path))]
    for point in reversed(left):
        mounts.unmount(point)
    assert left == []


def volumes_of(root: Path, api: Api) -> Volumes:
    known: Any = api
    return Volumes(root, known, known, node="n1", clock=lambda: api.now, warn=lambda *_: None)


def pod(*volumes: Obj, **spec: Any) -> Obj:
    meta = {"name": "web", "namespace": "shop", "uid": "u-1"}
    return {"metadata": meta, "spec": {"containers": [{"name": "c"}], "volumes": list(volumes), **spec}}


def is_memory(path: Path) -> bool:
    return any(each.point == str(path) and each.kind == "tmpfs" for each in mounts.mounted())


async def test_secrets_are_in_memory_and_leave_no_trace(root: Path) -> None:
    api = Api()
    api.objects["s"] = {"data": {"k": base64.b64encode(b"v").decode()}}
    volumes = volumes_of(root, api)
    spec = pod(
        {"name": "s", "secret": {"secretName": "s"}}, {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        securityContext={"fsGroup": 4242},
    )  # fmt: skip
    found = await volumes.mount(spec)
    assert is_memory(found["s"].path) and is_memory(found["m"].path)
    assert (found["s"].path / "k").stat().st_gid == 4242
    assert (found["m"].path.stat().st_mode & 0o7777, found["m"].path.stat().st_gid) == (0o2777, 4242)
    space = os.statvfs(found["m"].path)
    assert space.f_blocks * space.f_frsize == 1 << 20
    (found["m"].path / "f").write_text("kept")
    # another kubelet finds them, whatever it calls their place, and mounts nothing twice
    before = mounts.below(root.parent)
    (other := root.parent / "other").symlink_to(root)
    again = volumes_of(other, api)
    assert await again.mount(spec) == found
    assert mounts.below(root.parent) == before
    assert (found["m"].path / "f").read_text() == "kept"
    # also when somebody has a file open
    with (found["m"].path / "f").open():
        await volumes_of(other, api).orphans(())
    assert os.listdir(root / "pods") == []


async def test_tokens_are_exchanged_where_they_are(root: Path) -> None:
    api = Api()
    volumes = volumes_of(root, api)
    source = {"serviceAccountToken": {"path": "token", "audience": "vault"}}
    spec = pod({"name": "p", "projected": {"sources": [source, {"configMap": {"name": "absent"}}]}})
    with pytest.raises(VolumeError) as caught:
        await volumes.mount(spec)
    assert caught.value.message == (
        'MountVolume.SetUp failed for volume "p" : [failed to fetch token: serviceaccounts "default" is forbidden: no, '
        'configmap "absent" not found]'
    )
    api.tokens = 1
    spec = pod({"name": "p", "projected": {"sources": [source]}}, securityContext={"runAsUser": 4242})
    volumes = volumes_of(root, api)
    token = (await volumes.mount(spec))["p"].path / "token"
    assert token.read_text() == "vault-1"
    assert (token.stat().st_uid, token.stat().st_mode & 0o777) == (4242, 0o600)
    api.tokens = 2
    await volumes.refresh(spec)
    assert token.read_text() == "vault-2"
    # the old one serves while there is no other
    api.tokens = 0
    await volumes.refresh(spec)
    assert token.read_text() == "vault-2"
    await volumes.remove("u-1")


async def test_bundles_of_authorities(root: Path) -> None:
    def pem(*ders: bytes) -> str:
        body = (base64.b64encode(der).decode() for der in ders)
        return "".join(f"# note\n-----BEGIN CERTIFICATE-----\n{each}\n-----END CERTIFICATE-----\n" for each in body)

    api = Api()
    api.objects = {
        "a": {"metadata": {"name": "a", "labels": {"live": "1"}}, "spec": {"trustBundle": pem(b"two", b"one")}},
        "b": {
            "metadata": {"name": "b", "labels": {"live": "1"}},
            "spec": {"signerName": "x/y", "trustBundle": pem(b"one")},
        },
        "c": {"metadata": {"name": "c"}, "spec": {"signerName": "x/y", "trustBundle": pem(b"three")}},
    }

    async def shown(**source: Any) -> str:
        volumes = volumes_of(root, api)
        projected = {"sources": [{"clusterTrustBundle": {"path": "ca.pem", **source}}]}
        found = await volumes.mount(pod({"name": "p", "projected": projected}))
        text = (found["p"].path / "ca.pem").read_text()
        await volumes.remove("u-1")
        return text

    assert await shown(name="a") == pem(b"one", b"two").replace("# note\n", "")
    assert await shown(signerName="x/y", labelSelector={"matchLabels": {"live": "1"}}) == pem(b"one").replace(
        "# note\n", ""
    )
    assert await shown(signerName="x/y", labelSelector={"matchLabels": {"live": "2"}}, optional=True) == ""
    with pytest.raises(
        VolumeError, match="combination of signerName and labelSelector matched zero ClusterTrustBundles"
    ):
        await shown(signerName="x/z")
    await volumes_of(root, api).remove("u-1")


async def test_a_full_disk_is_said_and_an_update_all_or_nothing(root: Path) -> None:
    os.mkdir(root)
    mounts.tmpfs(root, 256 << 10)
    api = Api()
    api.objects["c"] = {"data": {"k": "1" * 1000}}
    spec = pod({"name": "c", "configMap": {"name": "c"}})
    volumes = volumes_of(root, api)
    found = await volumes.mount(spec)
    api.objects["c"] = {"data": {"k": "2" * 1000, "m": "3" * (300 << 10)}}
    await volumes.refresh(spec)
    assert (found["c"].path / "k").read_text() == "1" * 1000
    await volumes.remove("u-1")
    with pytest.raises(VolumeError, match=r'^MountVolume\.SetUp failed for volume "c" : .*no space left on device$'):
        await volumes.mount(spec)
    assert os.listdir(root / "pods/u-1/volumes/kubernetes.io~configmap/c") == []
    await volumes.remove("u-1")
    mounts.unmount(root)


def claimed(api: Api, name: str, phase: str = "Bound", **spec: Any) -> Obj:
    api.objects[name] = {
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": {"volumeName": f"pv-{name}"},
        "status": {"phase": phase},
    }
    api.objects[f"pv-{name}"] = {
        "metadata": {"name": f"pv-{name}"},
        "spec": {"claimRef": {"uid": f"uid-{name}"}, **spec},
    }
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


async def test_local_volumes_are_let_go_of_not_emptied(root: Path, tmp_path: Path) -> None:
    api, disk = Api(), tmp_path / "disk"
    (disk / "d").mkdir(parents=True)
    (disk / "d" / "f").write_text("precious")
    volumes = volumes_of(root, api)
    spec = pod(claimed(api, "data", local={"path": str(disk)}, **needs("fast")), securityContext={"fsGroup": 4242})
    found = await volumes.mount(spec)
    assert found["data"].path == root / "pods/u-1/volumes/kubernetes.io~local-volume/pv-data"
    assert (found["data"].path / "d/f").read_text() == "precious"
    assert (disk / "d" / "f").stat().st_gid == 4242
    container = {"name": "c", "volumeMounts": [{"name": "data", "mountPath": "/d", "subPath": "d"}]}
    part = volumes.container_mounts(spec, container, found, Extra({}))[0]
    assert part.host_path == str(root / "pods/u-1/volume-subpaths/pv-data/c/0")
    assert (Path(part.host_path) / "f").read_text() == "precious"
    assert await volumes_of(root, api).orphans(()) == ["u-1"]
    assert (disk / "d" / "f").read_text() == "precious"


def needs(disk: str) -> Obj:
    """Of the node a volume is on."""
    terms = [{"matchExpressions": [{"key": "disk", "operator": "In", "values": [disk]}]}]
    return {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"phase": "Pending"}, "error processing PVC shop/data: PVC is not bound"),
        (
            {"local": {"path": "/no/such/disk"}},
            'MountVolume.NewMounter initialization failed for volume "pv-data" : path "/no/such/disk" does not exist',
        ),
        ({"local": {"path": "/etc/hostname"}}, "only directory and block device are supported"),
        ({"nfs": {"server": "s", "path": "/"}}, 'volumeSpec for volume "pv-data" err=no volume plugin matched'),
        (
            {"local": {"path": "/tmp"}, **needs("slow")},
            'MountVolume.NodeAffinity check failed for volume "pv-data" : no matching NodeSelectorTerms',
        ),
        ({"claimRef": {"uid": "other"}}, "its pv.Spec.ClaimRef.UID other does not point to claim.UID uid-data"),
        ({"volumeMode": "Block"}, "volume data has volumeMode Block, but block volumes are not supported"),
    ],
)
async def test_claims_that_do_not_work(root: Path, change: Obj, why: str) -> None:
    api = Api()
    spec = pod(claimed(api, "data", **change))
    with pytest.raises(VolumeError) as caught:
        await volumes_of(root, api).mount(spec)
    assert why in caught.value.message


async def test_claims_of_a_pod_itself(root: Path, tmp_path: Path) -> None:
    api = Api()
    claimed(api, "web-scratch", hostPath={"path": str(tmp_path)})
    spec = pod({"name": "scratch", "ephemeral": {}})
    with pytest.raises(
        VolumeError, match=r"PVC shop/web-scratch was not created for pod shop/web \(pod is not owner\)"
    ):
        await volumes_of(root, api).mount(spec)
    api.objects["web-scratch"]["metadata"]["ownerReferences"] = [{"uid": "u-1", "controller": True}]
    assert (await volumes_of(root, api).mount(spec))["scratch"].path == tmp_path


def test_parts_are_what_they_were_when_they_were_looked_at(root: Path, tmp_path: Path) -> None:
    base, target = tmp_path / "volume", root / "volume-subpaths/v/c/0"
    (base / "d").mkdir(parents=True)
    (base / "d" / "f").write_text("1")
    (base / "file").write_text("one")
    assert subpath.bind(base, "d", target) == target
    before = mounts.below(root.parent)
    subpath.bind(base, "d", target)
    assert mounts.below(root.parent) == before
    # what is exchanged for a link afterwards does no harm
    (base / "d").rename(base / "e")
    (base / "d").symlink_to("/etc")
    assert (target / "f").read_text() == "1"
    with pytest.raises(subpath.Escapes):
        subpath.bind(base, "d", target)
    # the same place for something else: a file where a directory was
    subpath.bind(base, "file", target)
    assert target.read_text() == "one"
    mounts.unmount(target)
    ownership.give(base, None)


def test_any_name_is_found(tmp_path: Path) -> None:
    odd = tmp_path / "a b\\040c\td\ne"
    odd.mkdir()
    mounts.tmpfs(odd)
    assert mounts.is_mounted(odd)
    assert mounts.below(tmp_path) == [odd]
    assert odd in [Path(each.point) for each in mounts.mounted()]
    mounts.unmount(odd)
    assert not mounts.below(tmp_path)


def test_mounts_are_passed_on_where_they_were_private(root: Path, tmp_path: Path) -> None:
    around = tmp_path / "around"
    around.mkdir()
    mounts.bind(around, around)
    mounts.mount("", around, flags=1 << 18)  # private, as `/` is on some machines
    api = Api()
    kubelet = around / "kubelet"
    first = volumes_of(kubelet, api)
    first.start()
    (mine,) = [each for each in mounts.mounted() if each.point == str(kubelet)]
    assert any(each.startswith("shared:") for each in mine.optional)
    # a second one finds it done, and undoes it in the end
    second = volumes_of(kubelet, api)
    second.start()
    assert len([each for each in mounts.mounted() if each.point == str(kubelet)]) == 1
    (kubelet / "pods" / "u-1").mkdir(parents=True)
    second.stop()
    assert mounts.is_mounted(kubelet)
    (kubelet / "pods" / "u-1").rmdir()
    second.stop()
    assert not mounts.is_mounted(kubelet)
    mounts.unmount(around)
