"""One container started, one container ended; each step as upstream does it, with its events and its words.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go (startContainer, killContainer), kubelet_pods.go GenerateRunContainerOptions
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sampan.cri import pb
from sampan.kubelet import backoff, hosts, names, resources, security
from sampan.kubelet.cri import CriFailed, whole
from sampan.kubelet.environment import ConfigError
from sampan.kubelet.expansion import expand
from sampan.kubelet.hooks import HookFailed, run_hook
from sampan.kubelet.images import Image, ImageFailed
from sampan.kubelet.observed import Observed, Sandbox, Seen
from sampan.kubelet.parts import Parts
from sampan.kubelet.volumes import Extra, Mounted, VolumeError

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
LEAST_GRACE = 2
BACK_OFF, SHOWN = "ImagePullBackOff", 2.0


class StartFailed(Exception):
    """`reason` is the container's waiting state. `wait`: seconds until it is worth another try; None: the usual time."""

    def __init__(self, reason: str, message: str, wait: float | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.wait = wait


class Containers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # -- starting ------------------------------------------------------------------------------------------------------

    async def start(
        self,
        pod: Obj,
        container: Obj,
        seen: Observed,
        sandbox: Sandbox,
        sandbox_config: Any,
        mounted: Mapping[str, Mounted],
    ) -> str:
        """The new container's id. Raises StartFailed."""
        parts = self._parts
        tell = parts.teller(pod, container["name"])
        self._back_off(pod, container, seen)
        try:
            image = await parts.images.ensure(pod, container, tell, sandbox_config)
        except ImageFailed as error:
            tell("Warning", "Failed", f"Error: {error.reason}")
            # a pull that went wrong is to be seen for a moment before it is a back-off
            wait = error.wait if error.reason == BACK_OFF else SHOWN if error.wait else None
            raise StartFailed(error.reason, error.message, wait) from None
        restarts = self._restarts(pod, container, seen)
        try:
            config = await self._config(pod, container, restarts, image, seen, sandbox, mounted)
        except (ConfigError, security.ConfigRefused, VolumeError, OSError) as error:
            tell("Warning", "Failed", f"Error: {error}")
            raise StartFailed("CreateContainerConfigError", str(error)) from None
        try:
            made = await whole(
                parts.cri.CreateContainer(pod_sandbox_id=sandbox.id, config=config, sandbox_config=sandbox_config)
            )
        except CriFailed as error:
            tell("Warning", "Failed", f"Error: {error.message}")
            raise StartFailed("CreateContainerError", error.message) from None
        key = str(made.container_id)
        tell("Normal", "Created", "Container created")
        try:
            await whole(parts.cri.StartContainer(container_id=key))
        except CriFailed as error:
            tell("Warning", "Failed", f"Error: {error.message}")
            raise StartFailed("RunContainerError", error.message) from None
        tell("Normal", "Started", "Container started")
        self._link_log(pod, container, key, restarts)
        post_start = (container.get("lifecycle") or {}).get("postStart")
        if post_start:
            await self._post_start(pod, container, post_start, key, sandbox)
        return key

    def _back_off(self, pod: Obj, container: Obj, seen: Observed) -> None:
        """Raises StartFailed while a container that failed is let be."""
        found = seen.latest(container["name"])
        if found is None or found.state != "exited":
            return
        restarts = self._parts.restarts
        key = (names.uid_of(pod), container["name"], names.hash_of(container))
        left = restarts.left(key, found.finished)
        if left > 0:
            text, name = names.pod_text(pod), container["name"]
            self._parts.teller(pod, name)(
                "Warning", "BackOff", f"Back-off restarting failed container {name} in pod {text}"
            )
            message = f"back-off {backoff.text(restarts.delay(key))} restarting failed container={name} pod={text}"
            raise StartFailed("CrashLoopBackOff", message, left)
        restarts.next(key, found.finished)

    def _restarts(self, pod: Obj, container: Obj, seen: Observed) -> int:
        """How often it was started before; where the runtime knows none, its logs tell."""
        found = seen.latest(container["name"])
        if found is not None:
            return found.restarts + 1
        directory = self._parts.options.logs / names.log_directory(pod) / container["name"]
        numbers = [int(each.stem) for each in directory.glob("*.log") if each.stem.isdigit()]
        return max(numbers) + 1 if numbers else 0

    async def _config(
        self,
        pod: Obj,
        container: Obj,
        restarts: int,
        image: Image,
        seen: Observed,
        sandbox: Sandbox,
        mounted: Mapping[str, Mounted],
    ) -> Any:
        """Raises ConfigError, ConfigRefused, VolumeError, OSError."""
        parts = self._parts
        options = parts.options
        security.check_user(pod, container, image.uid, image.username)
        variables = await parts.environment(pod, container, sandbox, mounted)
        known = dict(variables)
        target = container.get("targetContainerName", "")
        if target:
            found = seen.latest(target)
            if found is None:
                raise ConfigError(f"unable to find target container {target}")
            target = found.id
        hostname, domain = hosts.names_of(pod, options.cluster_domain)
        extra = Extra(known, sandbox.ips, hostname, domain, parts.runtime.recursive_read_only)
        context = security.for_container(
            pod, container, uid=image.uid, username=image.username, seccomp_root=options.root / "seccomp", target=target
        )
        lifecycle = container.get("lifecycle") or {}
        return pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=container["name"], attempt=restarts),
            image=pb.ImageSpec(image=image.ref, user_specified_image=container["image"]),
            command=[expand(each, known) for each in container.get("command") or ()],
            args=[expand(each, known) for each in container.get("args") or ()],
            working_dir=container.get("workingDir", ""),
            envs=[pb.KeyValue(key=key, value=value) for key, value in variables],
            mounts=parts.volumes.container_mounts(pod, container, mounted, extra),
            labels=names.container_labels(pod, container),
            annotations=names.container_annotations(pod, container, restarts),
            log_path=names.log_path(container["name"], restarts),
            stdin=bool(container.get("stdin")),
            stdin_once=bool(container.get("stdinOnce")),
            tty=bool(container.get("tty")),
            stop_signal=pb.Signal.index(lifecycle["stopSignal"]) if lifecycle.get("stopSignal") in pb.Signal else 0,
            linux=pb.LinuxContainerConfig(
                security_context=context,
                resources=resources.of_container(
                    pod,
                    container,
                    parts.machine.memory,
                    cpu_quota=options.cpu_quota,
                    unified=parts.machine.cgroup_version == 2,
                ),
            ),
        )

    def _link_log(self, pod: Obj, container: Obj, key: str, restarts: int) -> None:
        """Where collectors of logs look."""
        options, meta = self._parts.options, pod["metadata"]
        target = options.logs / names.log_directory(pod) / names.log_path(container["name"], restarts)
        links = options.logs.parent / "containers"
        link = links / f"{meta['name']}_{meta['namespace']}_{container['name']}-{key}.log"
        try:
            links.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(target)
        except OSError as error:
            log.warning("cannot link the log of %s: %s", key, error)

    async def _post_start(self, pod: Obj, container: Obj, handler: Obj, key: str, sandbox: Sandbox) -> None:
        """Raises StartFailed; the container has then been killed."""
        parts = self._parts
        try:
            await run_hook(handler, pod, container, key, sandbox.ips[0] if sandbox.ips else "", parts.run)
        except HookFailed as error:
            message = str(error)
            parts.teller(pod, container["name"])("Warning", "FailedPostStartHook", "PostStartHook failed")
            seen = Seen(key, container["name"], "running", annotations={})
            await self.kill(pod, seen, "FailedPostStartHook")
            raise StartFailed("PostStartHookError", message) from None

    # -- ending --------------------------------------------------------------------------------------------------------

    async def kill(
        self, pod: Obj | None, seen: Seen, message: str = "", *, why: str = "", grace: int | None = None,
        ip: str = "", until: Sequence[asyncio.Event] = (),
    ) -> None:  # fmt: skip
        """PreStop hook, then the stop signal, then SIGKILL, all within the grace period. `pod`: None for one that nothing is known of any
        more but what is written on the container. `until`: others that must have ended before. Raises CriFailed."""
        parts = self._parts
        container = _container(pod, seen)
        about = pod or {}
        left = float(_grace(about, container, seen, why) if grace is None else grace)
        if pod is not None:
            parts.teller(pod, seen.name)("Normal", "Killing", message or f"Stopping container {seen.name}")
        loop = asyncio.get_running_loop()
        began = loop.time()
        pre_stop = (container.get("lifecycle") or {}).get("preStop")
        if pre_stop and pod is not None and left > 0:
            try:
                async with asyncio.timeout(left):
                    await run_hook(pre_stop, pod, container, seen.id, ip, parts.run)
            except HookFailed as error:
                log.warning("PreStop hook of %s failed: %s", seen.id, error)
                parts.teller(pod, seen.name)("Warning", "FailedPreStopHook", "PreStopHook failed")
            except TimeoutError:
                log.warning("PreStop hook of %s did not end within its grace period", seen.id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left - (loop.time() - began))):
                for each in until:
                    await each.wait()
        left -= loop.time() - began
        try:
            await parts.cri.StopContainer(container_id=seen.id, timeout=max(LEAST_GRACE, round(left)))
        except CriFailed as error:
            if not error.gone:
                raise


def _container(pod: Obj | None, seen: Seen) -> Obj:
    """As its pod says, or as is written on it."""
    if pod is not None:
        for each in names.containers_of(pod):
            if each["name"] == seen.name:
                return each
    out: Obj = {"name": seen.name}
    if text := seen.annotations.get(names.PRE_STOP):
        out["lifecycle"] = {"preStop": json.loads(text)}
    return out


def _grace(pod: Obj, container: Obj, seen: Seen, why: str) -> int:
    found = (pod.get("metadata") or {}).get("deletionGracePeriodSeconds")
    if found is not None:
        return int(found)
    probe = {"LivenessProbe": "livenessProbe", "StartupProbe": "startupProbe"}.get(why)
    if probe and (own := (container.get(probe) or {}).get("terminationGracePeriodSeconds")) is not None:
        return int(own)
    if pod:
        return int(pod["spec"].get("terminationGracePeriodSeconds") or 0)
    for name in (names.POD_DELETION_GRACE, names.POD_GRACE):
        if (text := seen.annotations.get(name, "")).isdigit():
            return int(text)
    return LEAST_GRACE
