"""The Node object: made, kept true, and kept alive by a Lease.

The status is looked at every ten seconds and written when something has changed, or after five minutes; the Lease is renewed every ten
seconds. While the API server is away both are tried again, and nothing else on the node minds.

Source: kubernetes pkg/kubelet/kubelet_node_status.go, pkg/kubelet/nodestatus/setters.go, component-helpers/apimachinery/lease
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from sampan.api.core_v1.node_resources import extended_of, taken_back
from sampan.api.times import format_micro_time, format_time
from sampan.client import Client, EventRecorder, HttpError, StatusError, errors
from sampan.cri import pb
from sampan.kubelet import machine
from sampan.kubelet.cri import Cri, CriFailed
from sampan.kubelet.machine import MachineInfo
from sampan.kubelet.options import Options
from sampan.kubelet.parts import Runtime

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
VERSION = "v1.37.0"
LEASES = "kube-node-lease"
MAX_IMAGES, MAX_NAMES = 50, 5
RUNTIME_DOWN_SECONDS, LOOKED_SECONDS = 30.0, 180.0
FIRST_RETRY, LAST_RETRY = 0.1, 7.0
#: signal, reason and message when it holds, and when it does not
PRESSURES = (
    ("MemoryPressure", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available",
     "KubeletHasSufficientMemory", "kubelet has sufficient memory available", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
    ("DiskPressure", "KubeletHasDiskPressure", "kubelet has disk pressure",
     "KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
    ("PIDPressure", "KubeletHasInsufficientPID", "kubelet has insufficient PID available",
     "KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasInsufficientPID", "NodeHasSufficientPID"),
)  # fmt: skip


class Node:
    """`pressures`: which of the pressure conditions hold. `port`: where the kubelet's own server listens. `clock`: since 1970."""

    def __init__(
        self, client: Client, cri: Cri, runtime: Runtime, options: Options, info: MachineInfo, *, recorder: EventRecorder,
        clock: Callable[[], float], pressures: Callable[[], set[str]] = set, port: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        self._client = client
        self._cri = cri
        self._runtime = runtime
        self._options = options
        self._info = info
        self._recorder = recorder
        self._clock = clock
        self._pressures = pressures
        self._port = port
        self._changed = asyncio.Event()
        self._reported: float | None = None
        self._given = ""
        self.capacity = info.capacity(options.max_pods)
        self._own = machine.allocatable(
            self.capacity, options.eviction_hard, options.system_reserved, options.kube_reserved
        )
        self._extended: dict[str, str] = {}
        self.addresses = machine.addresses(options.name, options.node_ips)
        #: the Node as it was last seen at the API server
        self.object: Obj | None = None
        self.registered = asyncio.Event()

    @property
    def reference(self) -> Obj:
        uid = ((self.object or {}).get("metadata") or {}).get("uid") or self._options.name
        return {"kind": "Node", "apiVersion": "v1", "name": self._options.name, "uid": uid}

    @property
    def allocatable(self) -> dict[str, str]:
        """What pods may have of the machine, and of what somebody says that there is besides."""
        return {**self._own, **self._extended}

    def changed(self) -> None:
        """Something of the status is different: say so now."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled: there, true and alive."""
        await self.register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.keep())
            group.create_task(self.renew())

    # -- registration --------------------------------------------------------------------------------------------------

    async def register(self) -> None:
        """Until the API server knows the node."""
        delay = FIRST_RETRY
        while True:
            try:
                self.object = await self._registered()
                self._extended = extended_of(self.object)
                self.registered.set()
                return
            except (StatusError, HttpError) as error:
                log.warning("unable to register node with API server: %s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_RETRY)

    async def _registered(self) -> Obj:
        options = self._options
        made = self._made()
        if not options.register:
            return await self._client.get("nodes", options.name)
        try:
            return await self._client.create("nodes", made)
        except StatusError as error:
            if not errors.is_already_exists(error):
                raise
        there = await self._client.get("nodes", options.name)
        old = there["metadata"].get("labels") or {}
        # what somebody has made of a label since stays, but for those that say what the machine is
        own = self._options.labels
        new = {key: value for key, value in made["metadata"]["labels"].items()
               if old.get(key) != value and not (key in own and key in old)}  # fmt: skip
        if new:
            there = await self._client.patch("nodes", options.name, {"metadata": {"labels": new}})
        return there

    def _made(self) -> Obj:
        options, architecture = self._options, self._info.architecture
        labels = {
            "beta.kubernetes.io/arch": architecture,
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture,
            "kubernetes.io/hostname": options.name,
            "kubernetes.io/os": "linux",
            **options.labels,
        }
        meta = {"name": options.name, "labels": labels,
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}}  # fmt: skip
        spec: Obj = {"taints": [dict(each) for each in options.taints]} if options.taints else {}
        return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec}

    # -- status --------------------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """The status, until cancelled."""
        while True:
            self._changed.clear()
            try:
                await self._report()
            except (StatusError, HttpError, CriFailed) as error:
                log.warning("error updating node status, will retry: %s", error)
                if errors.is_not_found(error):
                    await self.register()
                await asyncio.sleep(1.0)
                continue
            try:
                async with asyncio.timeout(self._options.status_seconds):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _report(self) -> None:
        status = await self._status()
        now = asyncio.get_running_loop().time()
        old = (self.object or {}).get("status") or {}
        same = self._reported is not None and _bare(old) == _bare({**old, **status})
        if same and self._reported is not None and now - self._reported < self._options.report_seconds:
            return
        body = {**status, "addresses": [*status["addresses"], {"$patch": "replace"}]}
        # who says that there is something besides the machine may take it back meanwhile
        body["capacity"] = self.capacity
        body["allocatable"] = {**status["allocatable"], **taken_back(old.get("allocatable") or {}, self._extended)}
        events = self._turned(old, status)
        self.object = await self._client.patch(
            "nodes", self._options.name, {"status": body}, type="strategic", subresource="status"
        )
        self._reported = now
        for reason in events:
            self._recorder.event(self.reference, "Normal", reason, f"Node {self._options.name} status is now: {reason}")

    async def _status(self) -> Obj:
        """Raises CriFailed never: what the runtime does not say stays as it was."""
        info, runtime = self._info, self._runtime
        out: Obj = {
            "capacity": {**self.capacity, **self._extended},
            "allocatable": self.allocatable,
            "addresses": self.addresses,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port() or self._options.port}},
            "conditions": self._conditions(),
            "nodeInfo": {
                "machineID": info.machine_id, "systemUUID": info.system_uuid, "bootID": info.boot_id,
                "kernelVersion": info.kernel, "osImage": info.os_image,
                "containerRuntimeVersion": f"{runtime.name or 'unknown'}://{runtime.version or 'Unknown'}",
                "kubeletVersion": VERSION, "kubeProxyVersion": "", "operatingSystem": "linux",
                "architecture": info.architecture,
            },
        }  # fmt: skip
        if info.swap:
            out["nodeInfo"]["swap"] = {"capacity": info.swap}
        if runtime.handlers:
            out["runtimeHandlers"] = runtime.handlers
        out["features"] = {"supplementalGroupsPolicy": runtime.supplemental_groups}
        try:
            out["images"] = _images((await self._cri.ListImages()).images)
        except CriFailed as error:
            log.debug("the runtime does not list its images: %s", error)
        boot = (((self.object or {}).get("status") or {}).get("nodeInfo") or {}).get("bootID")
        if boot and boot != info.boot_id:
            name = self._options.name
            self._recorder.event(
                self.reference, "Warning", "Rebooted", f"Node {name} has been rebooted, boot id: {info.boot_id}"
            )
        return out

    def problems(self) -> list[str]:
        """Why the node is not ready; none if it is."""
        runtime, now = self._runtime, asyncio.get_running_loop().time()
        out = []
        if runtime.answered and now - runtime.answered > RUNTIME_DOWN_SECONDS:
            out.append("container runtime is down")
        elif runtime.problem:
            out.append(runtime.problem)
        if not runtime.looked:
            out.append("PLEG is not healthy: pleg has yet to be successful")
        elif now - runtime.looked > LOOKED_SECONDS:
            ago = _go(now - runtime.looked)
            out.append(f"PLEG is not healthy: pleg was last seen active {ago} ago; threshold is 3m0s")
        if runtime.network and runtime.network not in out:
            out.append(runtime.network)
        return out

    def _conditions(self) -> list[Obj]:
        now = format_time(self._clock())
        there = {each["type"]: each for each in ((self.object or {}).get("status") or {}).get("conditions") or ()}
        pressures = self._pressures()
        out = []
        for kind, bad, bad_text, good, good_text, _, _ in PRESSURES:
            held = kind in pressures
            out.append((kind, "True" if held else "False", bad if held else good, bad_text if held else good_text))
        problems = self.problems()
        if problems:
            text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
            out.append(("Ready", "False", "KubeletNotReady", text))
        else:
            out.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
        made = []
        for kind, state, reason, message in out:
            old = there.get(kind)
            since = old["lastTransitionTime"] if old and old["status"] == state else now
            made.append({"type": kind, "status": state, "lastHeartbeatTime": now, "lastTransitionTime": since,
                         "reason": reason, "message": message})  # fmt: skip
        return made

    def _turned(self, old: Obj, new: Obj) -> list[str]:
        """Events' reasons for the conditions that are not as they were."""
        before = {each["type"]: each["status"] for each in old.get("conditions") or ()}
        after = {each["type"]: each["status"] for each in new["conditions"]}
        out = [
            (yes if after[kind] == "True" else no)
            for kind, _, _, _, _, yes, no in PRESSURES
            if before.get(kind) != after[kind]
        ]
        if before.get("Ready") != after["Ready"] and ("Ready" in before or after["Ready"] == "True"):
            out.append("NodeReady" if after["Ready"] == "True" else "NodeNotReady")
        return out

    # -- lease ---------------------------------------------------------------------------------------------------------

    async def renew(self) -> None:
        """The Lease, until cancelled."""
        delay = FIRST_RETRY
        while True:
            try:
                await self._renew()
            except (StatusError, HttpError) as error:
                log.warning("failed to renew the lease: %s", error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_RETRY)
                continue
            delay = FIRST_RETRY
            await asyncio.sleep(self._options.renew_seconds)

    async def _renew(self) -> None:
        name = self._options.name
        spec = {"holderIdentity": name, "leaseDurationSeconds": self._options.lease_seconds,
                "renewTime": format_micro_time(self._clock())}  # fmt: skip
        try:
            await self._client.patch("leases", name, {"spec": spec}, LEASES)
        except StatusError as error:
            if not errors.is_not_found(error):
                raise
            meta: Obj = {"name": name, "namespace": LEASES}
            if self.object is not None:
                uid = self.object["metadata"]["uid"]
                meta["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}]
            await self._client.create(
                "leases",
                {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec},
                LEASES,
            )

    # -- the range of pods' addresses ----------------------------------------------------------------------------------

    async def seen(self, node: Obj, *, again: bool = False) -> None:
        """The Node as somebody changed it: what they say that it has besides the machine, pods may have; the runtime's
        network is told which addresses pods have here. Raises CriFailed."""
        extended = extended_of(node)
        if extended != self._extended:
            self._extended = extended
            self.changed()
        spec = node.get("spec") or {}
        cidr = (
            ",".join(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []))
            or self._options.pod_cidr
        )
        if cidr and (again or cidr != self._given):
            config = pb.RuntimeConfig(network_config=pb.NetworkConfig(pod_cidr=cidr))
            await self._cri.UpdateRuntimeConfig(runtime_config=config)
            self._given = cidr


def _bare(status: Obj) -> Obj:
    """Without what changes each time."""
    conditions = [{**each, "lastHeartbeatTime": ""} for each in status.get("conditions") or ()]
    return {**status, "conditions": sorted(conditions, key=lambda each: each["type"])}


def _images(found: Any) -> list[Obj]:
    largest = sorted(found, key=lambda each: (-each.size, each.id))[:MAX_IMAGES]
    out = []
    for each in largest:
        names = [*each.repo_digests, *each.repo_tags][:MAX_NAMES]
        if names:
            out.append({"names": names, "sizeBytes": int(each.size)})
    return out


def _go(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text
