"""One step of a pod towards what it should be: look, say how it stands, do what the plan says. Called again until nothing is left to do.

Source: kubernetes pkg/kubelet/kubelet.go (SyncPod), kuberuntime/kuberuntime_manager.go (SyncPod, killPodWithSyncResult)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.client import HttpError, StatusError
from sampan.kubelet import names, resources, sandbox, security
from sampan.kubelet.containers import Containers, StartFailed
from sampan.kubelet.cri import CriFailed, whole
from sampan.kubelet.observed import Observed, Sandbox, Seen
from sampan.kubelet.parts import Parts
from sampan.kubelet.plan import Plan, Probed, host_network, plan
from sampan.kubelet.status import Facts, status
from sampan.kubelet.volumes import Mounted, VolumeError

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
#: seconds until what could not be done is tried again
RETRY, NETWORK_RETRY, VOLUME_RETRY = 10.0, 2.0, 2.0
#: into a step that takes long, until its state is told
FIRST_WORD, NEXT_WORD = 2.0, 5.0


@dataclass(slots=True)
class Memory:
    """What a pod's worker keeps between two steps: why containers could not be started, by their names."""

    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    ended: tuple[str, str, str] | None = None
    more: tuple[Obj, ...] = ()
    seen: Observed | None = None
    mounted: bool = False


class Syncer:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.containers = Containers(parts)

    # -- telling -------------------------------------------------------------------------------------------------------

    def tell(self, pod: Obj, seen: Observed, memory: Memory, *, terminal: bool = False) -> Obj:
        """The pod's status now, told to the API server."""
        parts = self.parts
        uid = names.uid_of(pod)
        before = parts.statuses.get(pod)
        if not terminal:
            parts.probes.add(pod)  # they know what an earlier kubelet found
        facts = Facts(
            now=parts.clock(), runtime=parts.runtime.name, host_ips=parts.host_ips,
            ready=lambda key: parts.probes.ready(uid, key), started=lambda key: parts.probes.started(uid, key),
            failures=memory.failures, terminal=terminal, ended=memory.ended, more=memory.more,
            supplemental_groups=parts.runtime.supplemental_groups,
        )  # fmt: skip
        made = status(pod, seen, before, facts)
        parts.statuses.set(uid, parts.shown(pod), made)
        if not terminal:
            parts.probes.add(pod)  # and hear what there is to be asked now
        return made

    # -- towards running -----------------------------------------------------------------------------------------------

    async def step(self, pod: Obj, memory: Memory) -> tuple[bool, float]:
        """Has anything been done, and in how many seconds is there something to do that nobody will tell of? Raises CriFailed."""
        parts = self.parts
        memory.seen = seen = await parts.reader.pod(names.uid_of(pod))
        for found in seen.containers:
            if found.state == "running" and (latest := seen.latest(found.name)) is found:
                memory.failures.pop(latest.name, None)
        made = self.tell(pod, seen, memory)
        if made["phase"] in ("Failed", "Succeeded"):
            return False, parts.options.sync_seconds
        if parts.runtime.network and not host_network(pod):
            parts.tell(pod, "Warning", "NetworkNotReady", f"network is not ready: {parts.runtime.network}")
            if not seen.sandboxes:
                return False, NETWORK_RETRY
        wanted = plan(pod, seen, Probed(parts.probes.live, parts.probes.startup))
        if wanted.empty and memory.mounted:
            return False, parts.options.sync_seconds
        try:
            cgroup = await parts.cgroups.ensure(pod)
        except OSError as error:
            parts.tell(pod, "Warning", "FailedCreatePodContainer", f"unable to ensure pod container exists: {error}")
            return False, RETRY
        try:
            mounted = await parts.volumes.mount(pod)
        except VolumeError as error:
            for message in error.messages:
                parts.tell(pod, "Warning", error.reason, message)
            return False, VOLUME_RETRY
        memory.mounted = True
        return await self._act(pod, seen, wanted, memory, cgroup, mounted)

    async def _act(
        self, pod: Obj, seen: Observed, wanted: Plan, memory: Memory, cgroup: str, mounted: Mapping[str, Mounted]
    ) -> tuple[bool, float]:
        acted = bool(wanted.kill or (wanted.kill_pod and (seen.running or seen.ready_sandbox)))
        if wanted.kill_pod:
            if wanted.new_sandbox and wanted.sandbox is not None:
                self.parts.tell(
                    pod, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
                )
            await self.stop(pod, seen)
            if not wanted.new_sandbox:
                return acted, RETRY
        elif wanted.kill:
            await asyncio.gather(
                *(self.containers.kill(pod, each.seen, each.message, why=each.why) for each in wanted.kill)
            )
        try:
            config = self._config(pod, wanted.attempt, cgroup)
            box = await self._sandbox(pod, wanted, config)
        except (CriFailed, StatusError, HttpError, security.ConfigRefused, OSError) as error:
            text = error.message if isinstance(error, CriFailed) else str(error)
            self.parts.tell(
                pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {_rpc(error, text)}"
            )
            return False, RETRY
        meanwhile = asyncio.create_task(self._meanwhile(pod, memory))
        try:
            started, wait = await self._start(pod, seen, wanted, memory, box, config, mounted)
        finally:
            meanwhile.cancel()
            await asyncio.gather(meanwhile, return_exceptions=True)
        return acted or started, wait

    async def _start(
        self,
        pod: Obj,
        seen: Observed,
        wanted: Plan,
        memory: Memory,
        box: Sandbox,
        config: Any,
        mounted: Mapping[str, Mounted],
    ) -> tuple[bool, float]:
        """All that the plan names. Has any been started, and when are the others worth another try?"""
        started, wait = False, self.parts.options.sync_seconds
        for container in (*wanted.ephemeral, *wanted.init, *wanted.start):
            name = container["name"]
            try:
                await self.containers.start(pod, container, seen, box, config, mounted)
            except StartFailed as error:
                memory.failures[name] = error.reason, error.message
                wait = min(wait, RETRY if error.wait is None else error.wait)
                memory.seen = now = await self.parts.reader.pod(names.uid_of(pod))
                self.tell(pod, now, memory)
            else:
                started = True
                memory.failures.pop(name, None)
        return started, wait

    async def _meanwhile(self, pod: Obj, memory: Memory) -> None:
        """Images may take long, and hooks: what is there already is told."""
        delay = FIRST_WORD
        while True:
            await asyncio.sleep(delay)
            delay = NEXT_WORD
            with contextlib.suppress(CriFailed):
                self.tell(pod, await self.parts.reader.pod(names.uid_of(pod)), memory)

    def _config(self, pod: Obj, attempt: int, cgroup: str) -> Any:
        """Raises ConfigRefused."""
        options = self.parts.options
        overhead, together = resources.of_sandbox(pod, cpu_quota=options.cpu_quota)
        made = sandbox.config(
            pod, attempt, logs=options.logs, dns=self.parts.dns(pod), cgroup=cgroup, cluster_domain=options.cluster_domain,
            seccomp_root=options.root / "seccomp", resources=together,
        )  # fmt: skip
        made.linux.overhead.CopyFrom(overhead)
        return made

    async def _sandbox(self, pod: Obj, wanted: Plan, config: Any) -> Sandbox:
        """Raises CriFailed, StatusError, HttpError."""
        if not wanted.new_sandbox:
            assert wanted.sandbox is not None
            return wanted.sandbox
        os.makedirs(config.log_directory, exist_ok=True)
        cri = self.parts.cri
        handler = await self.parts.handler(pod)
        key = str((await whole(cri.RunPodSandbox(config=config, runtime_handler=handler))).pod_sandbox_id)
        found = (await cri.PodSandboxStatus(pod_sandbox_id=key)).status
        ips = tuple(ip for ip in (found.network.ip, *(each.ip for each in found.network.additional_ips)) if ip)
        if host_network(pod):
            ips = self.parts.host_ips
        return Sandbox(key, True, found.created_at / 1e9, wanted.attempt, ips, host_network(pod))

    # -- towards the end -----------------------------------------------------------------------------------------------

    async def stop(self, pod: Obj | None, seen: Observed, grace: int | None = None) -> None:
        """All containers, in order, then the sandboxes. Raises CriFailed."""
        running = [each for each in seen.containers if each.state in ("running", "unknown")]
        ends = _Order(pod, running)
        ip = seen.ready_sandbox.ips[0] if seen.ready_sandbox and seen.ready_sandbox.ips else ""

        async def end(found: Seen) -> None:
            try:
                await self.containers.kill(pod, found, grace=grace, ip=ip, until=ends.before(found))
            finally:
                ends.ended(found)

        results = await asyncio.gather(*(end(each) for each in running), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        for box in seen.sandboxes:
            if box.ready:
                await self.parts.cri.StopPodSandbox(pod_sandbox_id=box.id)

    async def remove(self, seen: Observed, logs: Path | None = None) -> None:
        """What is left of a pod that is over: its containers, sandboxes and logs. Raises CriFailed."""
        cri = self.parts.cri
        for found in seen.containers:
            await cri.RemoveContainer(container_id=found.id)
        for box in seen.sandboxes:
            await cri.RemovePodSandbox(pod_sandbox_id=box.id)
        if logs is not None:
            links = self.parts.options.logs.parent / "containers"
            for found in seen.containers:
                (links / f"{seen.name}_{seen.namespace}_{found.name}-{found.id}.log").unlink(missing_ok=True)
            shutil.rmtree(logs, ignore_errors=True)


class _Order:
    """Sidecars end after the containers proper, each after those that were started after it."""

    def __init__(self, pod: Obj | None, running: list[Seen]) -> None:
        self._done: dict[str, asyncio.Event] = {each.name: asyncio.Event() for each in running}
        self._after: Mapping[str, list[str]] = {}
        if pod is None:
            return
        sidecars = [each["name"] for each in pod["spec"].get("initContainers") or () if names.is_sidecar(each)]
        others = [name for name in self._done if name not in sidecars]
        here = [name for name in sidecars if name in self._done]
        self._after = {name: others + here[index + 1 :] for index, name in enumerate(here)}

    def before(self, found: Seen) -> list[asyncio.Event]:
        """Set one by one as those end that must end before."""
        return [self._done[name] for name in self._after.get(found.name, ())]

    def ended(self, found: Seen) -> None:
        self._done[found.name].set()


def _rpc(error: Exception, text: str) -> str:
    if not isinstance(error, CriFailed):
        return text
    code = "".join(part.capitalize() for part in error.code.split("_"))
    return f"rpc error: code = {code} desc = {text}"
