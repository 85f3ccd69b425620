"""Volumes made for claims, by us or by somebody who is told to, and the end of volumes.

Source: kubernetes/pkg/controller/volume/persistentvolume/pv_controller.go (provisionClaim*, deleteVolumeOperation,
doDeleteVolume, findDeletablePlugin, setClaimProvisioner), k8s.io/csi-translation-lib/translate.go
"""

from __future__ import annotations

import os
import re
from typing import Any

from sampan.client import StatusError
from sampan.client.errors import is_already_exists, is_not_found
from sampan.controllers.context import Context
from sampan.controllers.persistent_volumes import host_path
from sampan.controllers.persistent_volumes.matching import (
    BOUND_BY_CONTROLLER,
    PROVISIONED_BY,
    SELECTED_NODE,
    class_of,
    notes_of,
)
from sampan.controllers.persistent_volumes.writes import Writes, noted, reference_to

Obj = dict[str, Any]
BUILT_IN = "kubernetes.io/"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
OLD_STORAGE_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
#: keeps a volume of ours until its directory is gone
GUARD = "kubernetes.io/pv-controller"
#: provisioners that Kubernetes had itself: the driver that took over
MIGRATED = {
    "kubernetes.io/aws-ebs": "ebs.csi.aws.com",
    "kubernetes.io/azure-disk": "disk.csi.azure.com",
    "kubernetes.io/azure-file": "file.csi.azure.com",
    "kubernetes.io/cinder": "cinder.csi.openstack.org",
    "kubernetes.io/gce-pd": "pd.csi.storage.gke.io",
    "kubernetes.io/portworx-volume": "pxd.portworx.com",
    "kubernetes.io/vsphere-volume": "csi.vsphere.vmware.com",
}
_TEMPORARY = re.compile(r"/tmp/.+")


class NoNode(Exception):
    """The node that the scheduler chose is gone."""


class CannotDelete(Exception):
    """And it will not help to try again."""


class Provision:
    def __init__(self, context: Context, writes: Writes) -> None:
        self.writes = writes
        self.recorder = writes.recorder
        self.root = context.options.host_path_root
        self.classes = context.informers.get("storageclasses.storage.k8s.io").cache
        self.nodes = context.informers.get("nodes").cache

    # -- making --------------------------------------------------------------------------------------------------------

    async def provision(self, claim: Obj) -> None:
        """By the provisioner of the claim's class."""
        name = class_of(claim)
        found = self.classes.get(name)
        if found is None:
            self._failed(claim, f'storageclass.storage.k8s.io "{name}" not found')
            return
        provisioner: str = found["provisioner"]
        if provisioner == host_path.NAME:
            await self._here(claim, found)
        elif provisioner.startswith(BUILT_IN) and provisioner not in MIGRATED:
            self._failed(claim, f"no volume plugin matched name: {provisioner}")
        else:
            provisioner = MIGRATED.get(provisioner, provisioner)
            if await self._tell_provisioner(claim, provisioner):
                return
            message = (
                f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by "
                "the system administrator. If volume creation is delayed, please verify that the provisioner is running "
                "and correctly registered."
            )
            self.recorder.event(claim, "Normal", "ExternalProvisioning", message)

    def _failed(self, claim: Obj, message: str) -> None:
        self.recorder.event(claim, "Warning", "ProvisioningFailed", message)

    async def _tell_provisioner(self, claim: Obj, provisioner: str) -> bool:
        """Whose turn it is. True: that had to be written, and brings the claim here again."""
        if notes_of(claim).get(STORAGE_PROVISIONER) == provisioner:
            return False
        both = {STORAGE_PROVISIONER: provisioner, OLD_STORAGE_PROVISIONER: provisioner}
        await self.writes.update_claim(noted(claim, both))
        return True

    async def _here(self, claim: Obj, storage_class: Obj) -> None:
        if claim["spec"].get("dataSource") is not None:
            only = "Only CSI plugin can provision a claim with a datasource"
            self._failed(claim, f'plugin "{host_path.NAME}" is not a CSI plugin. {only}')
            return
        if await self._tell_provisioner(claim, host_path.NAME):
            return
        name = f"pvc-{claim['metadata']['uid']}"
        if self.writes.volumes.get(name) is not None:
            return  # and it is about to find the claim
        if options := storage_class.get("mountOptions"):
            what = f'StorageClass "{storage_class["metadata"]["name"]}" has mount options [{" ".join(options)}]'
            self._failed(claim, f"Mount options are not supported by the provisioner but {what}")
            return
        node = self._node(claim)
        path = os.path.join(self.root, f"{name}_{claim['metadata']['namespace']}_{claim['metadata']['name']}")
        try:
            host_path.check(claim)
            if host_path.is_real(node) if node is not None else any(map(host_path.is_real, self.nodes.list())):
                host_path.make(path)
        except (host_path.Refused, OSError) as error:
            if SELECTED_NODE in notes_of(claim):
                # the scheduler shall look for another node
                claim = await self.writes.update_claim(noted(claim, {SELECTED_NODE: None}))
            class_name = storage_class["metadata"]["name"]
            self._failed(claim, f'Failed to provision volume with StorageClass "{class_name}": {error}')
            return
        await self._save(claim, name, host_path.spec_of(claim, storage_class, node, path))

    def _node(self, claim: Obj) -> Obj | None:
        """The one that the scheduler chose, if it was asked. Raises NoNode."""
        name = notes_of(claim).get(SELECTED_NODE)
        if name is None:
            return None
        node = self.nodes.get(name)
        if node is None:
            self._failed(claim, f'Failed to get target node: node "{name}" not found')
            raise NoNode(name)
        return node

    async def _save(self, claim: Obj, name: str, spec: Obj) -> None:
        notes = {BOUND_BY_CONTROLLER: "yes", PROVISIONED_BY: host_path.NAME}
        meta: Obj = {"name": name, "annotations": notes}
        if spec["persistentVolumeReclaimPolicy"] == "Delete":
            meta["finalizers"] = [GUARD]
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta}
        try:
            made = await self.writes.client.create(
                "persistentvolumes", {**volume, "spec": {**spec, "claimRef": reference_to(claim)}}
            )
        except StatusError as error:
            if not is_already_exists(error):
                raise
        else:
            self.writes.volumes.wrote(made)
        message = f"Successfully provisioned volume {name} using {host_path.NAME}"
        self.recorder.event(claim, "Normal", "ProvisioningSucceeded", message)

    # -- unmaking ------------------------------------------------------------------------------------------------------

    async def guarded(self, volume: Obj) -> Obj:
        """A volume of ours that will be deleted has a finalizer, so that its directory is not forgotten."""
        meta = volume["metadata"]
        finalizers = meta.get("finalizers") or []
        if notes_of(volume).get(PROVISIONED_BY) != host_path.NAME or "deletionTimestamp" in meta:
            return volume
        wanted = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        if wanted == (GUARD in finalizers):
            return volume
        new = [*finalizers, GUARD] if wanted else [item for item in finalizers if item != GUARD]
        return await self.writes.update_volume({**volume, "metadata": {**meta, "finalizers": new}})

    async def delete(self, volume: Obj) -> None:
        """The directory, then the object; or nothing, where that is another's work."""
        try:
            if not await self._delete_storage(volume):
                return
        except (CannotDelete, host_path.Refused) as error:
            await self.writes.volume_phase(volume, "Failed", str(error), "VolumeFailedDelete")
            return
        except OSError as error:
            await self.writes.volume_phase(volume, "Failed", str(error), "VolumeFailedDelete")
            raise
        meta = volume["metadata"]
        try:
            if GUARD in (meta.get("finalizers") or ()):
                finalizers = [item for item in meta["finalizers"] if item != GUARD]
                await self.writes.update_volume({**volume, "metadata": {**meta, "finalizers": finalizers}})
            if "deletionTimestamp" not in meta:
                await self.writes.client.delete("persistentvolumes", meta["name"], uid=meta["uid"])
        except StatusError as error:
            if not is_not_found(error):
                raise

    async def _delete_storage(self, volume: Obj) -> bool:
        """False: somebody else will. Raises CannotDelete, OSError, Refused."""
        by, spec = notes_of(volume).get(PROVISIONED_BY, ""), volume["spec"]
        if by == host_path.NAME:
            await host_path.remove(self.root, spec["hostPath"]["path"])
            return True
        if by.startswith(BUILT_IN) and by not in MIGRATED:
            raise CannotDelete(f"no volume plugin matched name: {by}")
        if by or "csi" in spec:
            return False
        path = (spec.get("hostPath") or {}).get("path")
        if path is None:
            what = f'error getting deleter volume plugin for volume "{volume["metadata"]["name"]}"'
            raise CannotDelete(f"{what}: no deletable volume plugin matched")
        if not _TEMPORARY.match(path):
            raise CannotDelete(f"host_path deleter only supports /tmp/.+ but received provided {path}")
        # DEVIATION: of a hostPath volume that was not provisioned here the object goes, its files on the nodes stay
        return True
