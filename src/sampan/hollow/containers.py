"""Containers of simulated pods: what stages make of their statuses, and the events that are told of them.

A function of a container gets it as its pod's spec has it, with what its status said before (`old`); one of a status gets
that, with what is known besides (`about`). Both are cleaned of our notes.

Source: k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go (convertToAPIContainerStatuses), images/image_manager.go
"""

from __future__ import annotations

import hashlib
from typing import Any

from sampan.api import durations

Obj = dict[str, Any]
LOST = "The container could not be located when the pod was terminated"


def noted(pod: Obj, container: Obj, old: Obj | None, now: str, *, init: bool = False) -> Obj:
    """A container as stages see it."""
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "sidecar": init and container.get("restartPolicy") == "Always",
        "init": init,
        "spec": container,
        "old": old or {},
        "uid": pod["metadata"]["uid"],
        "now": now,
    }


# -- statuses, from the spec -------------------------------------------------------------------------------------------


def _status(container: Obj, state: Obj, *, ready: bool, started: bool) -> Obj:
    old, spec = container["old"], container["spec"]
    out = {
        "name": container["name"],
        "state": state,
        "lastState": old.get("lastState") or {},
        "ready": ready,
        "restartCount": old.get("restartCount", 0),
        "image": container["image"],
        "imageID": "",
        "started": started,
    }
    if "waiting" not in state:
        out["imageID"] = image_id(container["image"])
        out["containerID"] = _id(container["uid"], container["name"], out["restartCount"])
        out |= _resources(spec)
    if mounts := _mounts(spec):
        out["volumeMounts"] = mounts
    return out


def running(container: Obj, is_ready: bool) -> Obj:
    """One that runs already goes on."""
    if "running" in (container["old"].get("state") or {}):
        return {**container["old"], "ready": is_ready, "started": _started(container["spec"], is_ready)}
    state = {"running": {"startedAt": container["now"]}}
    return _status(container, state, ready=is_ready, started=_started(container["spec"], is_ready))


def waiting(container: Obj, reason: str, message: str) -> Obj:
    state: Obj = {"waiting": {"reason": reason}}
    if message:
        state["waiting"]["message"] = message
    return _status(container, state, ready=False, started=False)


def completed(container: Obj) -> Obj:
    """An init container that has done its work."""
    if "terminated" in (container["old"].get("state") or {}):
        return {**container["old"]}
    now = container["now"]
    made = _id(container["uid"], container["name"], 0)
    state = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now, "containerID": made}
    return _status(container, {"terminated": state}, ready=True, started=False)


def pulled(container: Obj, reason: str) -> Obj:
    """While images are pulled, and those marked `broken` do not come: those, and what waits for them, wait."""
    if container["broken"]:
        said = f'Back-off pulling image "{container["image"]}": ErrImagePull: ' if reason != "ErrImagePull" else ""
        return waiting(container, reason, said + _not_found(container["image"]))
    if container["blocked"]:
        return waiting(container, "PodInitializing", "")
    return completed(container) if container["init"] and not container["sidecar"] else running(container, True)


def _started(spec: Obj, is_ready: bool) -> bool:
    return is_ready or not spec.get("startupProbe")


def _id(uid: str, name: str, restarts: int) -> str:
    return f"hollow://{hashlib.sha256(f'{uid}/{name}/{restarts}'.encode()).hexdigest()}"


def _named(image: str) -> str:
    """With the registry and the tag that are meant."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif not ("." in first or ":" in first or first == "localhost"):
        image = f"docker.io/{image}"
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def image_id(image: str) -> str:
    """As a runtime names what it has pulled: by its digest."""
    name, _, digest = _named(image).partition("@")
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}@{digest or 'sha256:' + hashlib.sha256(image.encode()).hexdigest()}"


def _not_found(image: str) -> str:
    name = _named(image)
    why = f'failed to pull and unpack image "{name}": failed to resolve image: {name}: not found'
    return f"rpc error: code = NotFound desc = {why}"


def _resources(spec: Obj) -> Obj:
    given = spec.get("resources") or {}
    out: Obj = {"resources": {key: given[key] for key in ("limits", "requests") if given.get(key)}}
    return {"allocatedResources": given["requests"], **out} if given.get("requests") else out


def _mounts(spec: Obj) -> list[Obj]:
    out = []
    for each in spec.get("volumeMounts") or ():
        made = {"name": each["name"], "mountPath": each["mountPath"]}
        if each.get("readOnly"):
            recursive = "Enabled" if each.get("recursiveReadOnly") == "Enabled" else "Disabled"
            made |= {"readOnly": True, "recursiveReadOnly": recursive}
        out.append(made)
    return out


# -- statuses, from what they were -------------------------------------------------------------------------------------


def _clean(status: Obj, **changed: Any) -> Obj:
    """Without our notes."""
    return {key: value for key, value in {**status, **changed}.items() if key != "about"}


def _terminated(status: Obj, reason: str, code: int) -> Obj:
    now = status["about"]["now"]
    began = (status["state"].get("running") or {}).get("startedAt") or now
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "startedAt": began,
            "finishedAt": now,
            "containerID": status.get("containerID", ""),
        }
    }


def ended(status: Obj, reason: str, code: int) -> Obj:
    """For good. What has ended before stays as it ended, and what never ran is lost."""
    state, last = status["state"], status.get("lastState") or {}
    if "terminated" in state:
        return _clean(status)
    if "running" in state:
        return _clean(status, ready=False, started=False, state=_terminated(status, reason, code))
    if "terminated" in last:
        return _clean(status, ready=False, started=False, state=last)
    lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": LOST, "startedAt": None, "finishedAt": None}
    return _clean(status, ready=False, started=False, state={"terminated": lost})


def crashed(status: Obj, reason: str, code: int) -> Obj:
    """Ended, to be started again."""
    if "running" not in status["state"]:
        return _clean(status)
    return _clean(status, ready=False, started=False, state=_terminated(status, reason, code))


def backed_off(status: Obj) -> Obj:
    about = status["about"]
    if "terminated" not in status["state"]:
        return _clean(status)
    wait = durations.text(int(about["backoff"]) * 1_000_000_000)
    said = f"back-off {wait} restarting failed container={status['name']} pod={about['pod']}"
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": said}}
    return _clean(status, lastState=status["state"], state=state)


def restarted(status: Obj, is_ready: bool) -> Obj:
    about, count = status["about"], status["restartCount"] + 1
    if "running" in status["state"]:
        return _clean(status)
    last = status["state"] if "terminated" in status["state"] else status.get("lastState") or {}
    return _clean(
        status, ready=is_ready, started=_started(about["spec"], is_ready), restartCount=count, lastState=last,
        state={"running": {"startedAt": about["now"]}}, containerID=_id(about["uid"], status["name"], count),
    )  # fmt: skip


def ready(status: Obj) -> Obj:
    return _clean(status, ready=True, started=True) if "running" in status["state"] else _clean(status)


def unready(status: Obj) -> Obj:
    return _clean(status, ready=False)


def followed(status: Obj, is_ready: bool) -> Obj:
    """What has been changed in the spec: resources are given at once, another image is another container."""
    spec = status["about"]["spec"]
    out = _clean({key: value for key, value in status.items() if key != "allocatedResources"}, **_resources(spec))
    if "running" not in status["state"] or status["image"] == spec.get("image", ""):
        return out if "running" in status["state"] else _clean(status)
    last = _terminated(status, "Completed", 0)
    image = spec["image"]
    return restarted(
        {**out, "about": status["about"], "state": last, "image": image, "imageID": image_id(image)}, is_ready
    )


# -- events ------------------------------------------------------------------------------------------------------------


def _event(name: str, kind: str, reason: str, message: str, field: str = "spec.containers") -> Obj:
    return {"type": kind, "reason": reason, "message": message, "field": f"{field}{{{name}}}"}


def begun(containers: list[Obj], field: str) -> list[Obj]:
    """What a kubelet tells of containers whose images are there, one after the other; not of those that have begun."""
    out: list[Obj] = []
    for each in containers:
        state = (each.get("old") or {}).get("state", {})
        if "running" in state or ("terminated" in state and each.get("init")):
            continue
        image = f'Container image "{each["image"]}" already present on machine and can be accessed by the pod'
        for reason, message in (("Pulled", image), ("Created", "Container created"), ("Started", "Container started")):
            out.append(_event(each["name"], "Normal", reason, message, field))
    return out


def killing(statuses: list[Obj]) -> list[Obj]:
    """Of those that run."""
    return [
        _event(each["name"], "Normal", "Killing", f"Stopping container {each['name']}", each["about"]["field"])
        for each in statuses
        if "running" in each["state"]
    ]


def backing_off(statuses: list[Obj]) -> list[Obj]:
    out = []
    for each in statuses:
        message = f"Back-off restarting failed container {each['name']} in pod {each['about']['pod']}"
        out.append(_event(each["name"], "Warning", "BackOff", message))
    return out


def replaced(statuses: list[Obj]) -> list[Obj]:
    """Of containers whose image is another now."""
    out = []
    for each in statuses:
        if "running" in each["state"] and each["image"] != each["about"]["spec"].get("image", ""):
            message = f"Container {each['name']} definition changed, will be restarted"
            out.append(_event(each["name"], "Normal", "Killing", message))
            out += begun([each["about"]["spec"]], "spec.containers")
    return out


def not_pulled(containers: list[Obj], reason: str) -> list[Obj]:
    out = []
    for each in containers:
        image, field = each["image"], "spec.initContainers" if each["init"] else "spec.containers"
        if not each["broken"]:
            out += [] if each["blocked"] else begun([each], field)
            continue
        told = [("Normal", "BackOff", f'Back-off pulling image "{image}"')]
        if reason == "ErrImagePull":
            told = [("Normal", "Pulling", f'Pulling image "{image}"'),
                    ("Warning", "Failed", f'Failed to pull image "{image}": {_not_found(image)}')]  # fmt: skip
        for kind, why, message in (*told, ("Warning", "Failed", f"Error: {reason}")):
            out.append(_event(each["name"], kind, why, message, field))
    return out
