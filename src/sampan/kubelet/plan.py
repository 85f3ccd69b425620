"""What is to be done next for a pod, from what it should be and what the runtime has. Pure: nothing is asked, nothing is changed.

The kubelet calls this again and again and carries out what it says; a plan that is empty means that all is as it should be.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go computePodActions, kuberuntime_container.go
computeInitContainerActions, kubelet/container/helpers.go ShouldContainerBeRestarted, kuberuntime/util/util.go PodSandboxChanged
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from sampan.kubelet import names
from sampan.kubelet.observed import Observed, Sandbox, Seen

Obj = dict[str, Any]
Why = Literal["", "LivenessProbe", "StartupProbe", "Unknown"]


@dataclass(frozen=True, slots=True)
class Probed:
    """What probes found; None: not yet. By container id."""

    live: Callable[[str], bool | None] = lambda _: None
    started: Callable[[str], bool | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Kill:
    seen: Seen
    message: str
    why: Why = ""


@dataclass(slots=True)
class Plan:
    """`kill_pod` comes first, then `kill`, then the sandbox, then what is to start."""

    kill_pod: bool = False
    new_sandbox: bool = False
    attempt: int = 0
    sandbox: Sandbox | None = None
    kill: list[Kill] = field(default_factory=list)
    init: list[Obj] = field(default_factory=list)
    start: list[Obj] = field(default_factory=list)
    ephemeral: list[Obj] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.kill_pod or self.new_sandbox or self.kill or self.init or self.start or self.ephemeral)


def host_network(pod: Obj) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def sandbox_changed(pod: Obj, seen: Observed) -> tuple[bool, int, Sandbox | None]:
    """Is another sandbox needed, under which number, and which one is there?"""
    if not seen.sandboxes:
        return True, 0, None
    ready = [each for each in seen.sandboxes if each.ready]
    newest = seen.sandboxes[0]
    if len(ready) > 1 or not newest.ready or newest.host_network != host_network(pod):
        return True, newest.attempt + 1, newest
    # DEVIATION: a sandbox without an address is kept: where the network has none to give, another one would have none either
    return False, newest.attempt, newest


def should_restart(pod: Obj, container: Obj, seen: Observed) -> bool:
    """Is a container that does not run to be started (again)?"""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    found = seen.latest(container["name"])
    if found is None or found.state in ("unknown", "created"):
        return True
    if found.state == "running":
        return False
    return restarts_after(pod, container, found.exit_code)


def restarts_after(pod: Obj, container: Obj, code: int) -> bool:
    """Is a container started again after it ended with `code`?"""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        matches = (code in (codes.get("values") or ())) == (codes.get("operator", "In") == "In")
        if matches and rule.get("action") in ("Restart", "RestartAllContainers"):
            return True
    policy = container.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always")
    return bool(policy == "Always" or (policy == "OnFailure" and code != 0))


def may_restart(pod: Obj) -> bool:
    """Can anything of it be started again once it has failed?"""
    if pod["spec"].get("restartPolicy", "Always") != "Never":
        return True
    return any(each.get("restartPolicyRules") or each.get("restartPolicy") in ("Always", "OnFailure")
               for each in pod["spec"]["containers"])  # fmt: skip


def initialized(pod: Obj, seen: Observed) -> bool:
    """Has any of its containers proper been started in the sandbox that is there?"""
    newest = seen.sandboxes[0] if seen.sandboxes else None
    for container in pod["spec"]["containers"]:
        found = seen.latest(container["name"])
        if found is None:
            continue
        if found.state in ("running", "created"):
            return True
        if found.state == "exited" and (newest is None or found.created >= newest.created):
            return True
    return False


def plan(pod: Obj, seen: Observed, probed: Probed | None = None) -> Plan:
    probed = probed or Probed()
    changed, attempt, sandbox = sandbox_changed(pod, seen)
    out = Plan(kill_pod=changed and bool(seen.sandboxes), new_sandbox=changed, attempt=attempt, sandbox=sandbox)
    spec = pod["spec"]
    if changed:
        if not may_restart(pod) and attempt != 0 and seen.containers:
            # it ran, its sandbox is gone, and it must not run again
            out.new_sandbox = False
            return out
        succeeded = [each for each in spec["containers"] if _succeeded(pod, each, seen)]
        wanted = [each for each in spec["containers"] if each not in succeeded]
        if not wanted:
            out.new_sandbox = False
            return out
        if spec.get("initContainers"):
            out.init = [spec["initContainers"][0]]
        else:
            out.start = wanted
        return out
    out.ephemeral = [each for each in spec.get("ephemeralContainers") or () if seen.latest(each["name"]) is None]
    if not _init(pod, seen, probed, out) or out.kill_pod:
        return out
    kept = 0
    for container in spec["containers"]:
        found = seen.latest(container["name"])
        if found is None or found.state != "running":
            if should_restart(pod, container, seen):
                out.start.append(container)
                if found is not None and found.state == "unknown":
                    text = f'Container is in "{found.state}" state, try killing it before restart'
                    out.kill.append(Kill(found, text, "Unknown"))
            continue
        kill = _wrong(container, found, probed)
        if kill is None:
            kept += 1
            continue
        again = restarts_after(pod, container, 137) or "definition changed" in kill.message
        if again:
            out.start.append(container)
            kill = Kill(found, f"{kill.message}, will be restarted", kill.why)
        out.kill.append(kill)
    if not kept and not out.start:
        out.kill_pod = True
        out.init = [each for each in out.init if not names.is_sidecar(each)]
    return out


def _succeeded(pod: Obj, container: Obj, seen: Observed) -> bool:
    """It has done what it was to do, and is not started again in another sandbox."""
    found = seen.latest(container["name"])
    return found is not None and found.state == "exited" and not restarts_after(pod, container, found.exit_code)


def _wrong(container: Obj, found: Seen, probed: Probed, kind: str = "Container") -> Kill | None:
    """Why a container that runs must not."""
    name = container["name"]
    if kind == "Container" and found.hash and found.hash != names.hash_of(container):
        return Kill(found, f"Container {name} definition changed")
    if probed.live(found.id) is False:
        return Kill(found, f"{kind} {name} failed liveness probe", "LivenessProbe")
    if probed.started(found.id) is False and container.get("startupProbe"):
        return Kill(found, f"{kind} {name} failed startup probe", "StartupProbe")
    return None


def _init(pod: Obj, seen: Observed, probed: Probed, out: Plan) -> bool:
    """The init containers' part of the plan. True: the containers proper may start."""
    containers: list[Obj] = pod["spec"].get("initContainers") or []
    if not containers:
        return True
    done = initialized(pod, seen)
    newest = seen.sandboxes[0] if seen.sandboxes else None

    def found_of(container: Obj) -> Seen | None:
        found = seen.latest(container["name"])
        # what ran in a sandbox before does not count
        if found is not None and newest is not None and found.created < newest.created and found.state != "running":
            return None
        return found

    # the furthest that was begun: all before it has been passed
    begun = [index for index, each in enumerate(containers) if found_of(each) is not None]
    front = len(containers) if done else max(begun, default=-1)
    ready = done
    starts: list[int] = []
    if front < 0:
        starts.append(0)
    for index, container in enumerate(containers):
        if index > front:
            break
        found = found_of(container)
        if names.is_sidecar(container):
            passed = _sidecar(container, found, probed, out)
            if found is None or found.state != "running" or passed is None:
                starts.append(index)
            if index == front and passed:
                if index == len(containers) - 1:
                    ready = True
                else:
                    starts.append(index + 1)
            continue
        if done or index < front or found is None:
            continue
        match found.state:
            case "running":
                pass
            case "exited" if found.exit_code == 0:
                if index == len(containers) - 1:
                    ready = True
                else:
                    starts.append(index + 1)
            case "exited" if not _again(pod, container, found.exit_code):
                out.kill_pod = True
                out.init = []
                return False
            case "unknown":
                text = f'Init container is in "{found.state}" state, try killing it before restart'
                out.kill.append(Kill(found, text, "Unknown"))
                if _again(pod, container, 137):
                    starts.append(index)
                else:
                    out.kill_pod = True
            case _:
                starts.append(index)
    out.init = [containers[index] for index in dict.fromkeys(starts)]
    return ready


def _again(pod: Obj, container: Obj, code: int) -> bool:
    """An init container is tried again until it succeeds, where the pod's policy is not Never."""
    if container.get("restartPolicyRules") or container.get("restartPolicy"):
        return restarts_after(pod, container, code)
    return bool(pod["spec"].get("restartPolicy", "Always") != "Never")


def _sidecar(container: Obj, found: Seen | None, probed: Probed, out: Plan) -> bool | None:
    """Has it started, so that the next may? None: it is to be killed and started anew."""
    if found is None or found.state != "running":
        if found is not None and found.state == "unknown":
            text = f'Init container is in "{found.state}" state, try killing it before restart'
            out.kill.append(Kill(found, text, "Unknown"))
        return False
    kill = _wrong(container, found, probed, "Init container")
    if kill is not None:
        out.kill.append(Kill(found, f"{kill.message}, will be restarted", kill.why))
        return None
    return not container.get("startupProbe") or probed.started(found.id) is True
