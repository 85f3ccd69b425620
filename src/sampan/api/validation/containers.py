"""Containers of all three kinds: regular, init and ephemeral.

Source: kubernetes/pkg/apis/core/validation/validation.go (validateContainers, validateInitContainers,
validateEphemeralContainers and below)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.schema.facts import enums
from sampan.api.validation.env import env, env_from
from sampan.api.validation.paths import descending
from sampan.api.validation.resources import NEGATIVE, resource_requirements
from sampan.api.validation.security import container_security
from sampan.api.validation.volumes import pull_policy

PROTOCOLS = ("SCTP", "TCP", "UDP")
RESTART = ("Always", "Never", "OnFailure")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_EPHEMERAL = frozenset({
    "name", "image", "command", "args", "workingDir", "envFrom", "env", "volumeMounts", "volumeDevices",
    "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy", "securityContext", "stdin", "stdinOnce",
    "tty", "targetContainerName",
})  # fmt: skip
_PLAIN_MOUNT = frozenset({"name", "mountPath", "readOnly"})
_NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"
_ONLY_SIDECAR = "may not be set for init containers without restartPolicy=Always"


class Containers:
    """One pod spec's: what they share while they are checked."""

    __slots__ = (
        "claims", "files", "grace", "host_users", "os", "out", "path", "restart", "spec", "volumes", "windows",
    )  # fmt: skip

    def __init__(self, spec: Obj, volumes: dict[str, Obj], path: Path, out: ErrorList) -> None:
        self.spec = spec
        self.volumes = volumes
        self.path = path
        self.out = out
        self.claims = [claim["name"] for claim in spec.get("resourceClaims") or () if claim.get("name")]
        self.grace: int | None = spec.get("terminationGracePeriodSeconds")
        self.host_users: bool = spec.get("hostUsers") is not False
        self.restart: str = spec.get("restartPolicy", "")
        self.os: str | None = (spec.get("os") or {}).get("name")
        #: what few pods have, and then other places look at too
        self.files = self.windows = False

    def check(self) -> Containers:
        seen = self._regular()
        if self.spec.get("initContainers"):
            self._init(seen)
        if self.spec.get("ephemeralContainers"):
            self._ephemeral(seen)
        return self

    def _regular(self) -> set[str]:
        out, path, seen = self.out, self.path / "containers", set[str]()
        listed = self.spec.get("containers") or ()
        if not listed:
            out.required(path, "")
        ports: set[str] = set()
        for index, container in enumerate(listed):
            here = path @ index
            self._common(container, here)
            name = container.get("name", "")
            if name in seen:
                out.duplicate(here / "name", name)
            seen.add(name)
            self._life(container, here)
            if container.get("restartPolicy") is not None or container.get("restartPolicyRules"):
                self._restart(container, here)
        for index, container in enumerate(listed):
            if container.get("ports"):
                _host_ports(container["ports"], ports, path @ index, out)
        return seen

    def _init(self, seen: set[str]) -> None:
        out, path = self.out, self.path / "initContainers"
        for index, container in enumerate(self.spec["initContainers"]):
            here, name = path @ index, container.get("name", "")
            self._common(container, here)
            sidecar = container.get("restartPolicy") == "Always"
            if container.get("restartPolicy") is not None or container.get("restartPolicyRules"):
                self._restart(container, here)
            if name in seen:
                out.duplicate(here / "name", name)
            elif name:
                seen.add(name)
            if container.get("ports"):
                # each by itself: they run one after the other; upstream counts each as the first
                _host_ports(container["ports"], set(), path @ 0, out)
            if sidecar:
                self._life(container, here)
            else:
                for field in ("lifecycle", *_PROBES):
                    if container.get(field) is not None:
                        out.forbidden(here / field, _ONLY_SIDECAR)
                for at, policy in enumerate(container.get("resizePolicy") or ()):
                    if policy.get("restartPolicy") == "RestartContainer":
                        detail = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                        out.invalid(here / "resizePolicy" @ at / "restartPolicy", "RestartContainer", detail)

    def _ephemeral(self, seen: set[str]) -> None:
        out, path, others = self.out, self.path / "ephemeralContainers", frozenset(seen)
        for index, container in enumerate(self.spec["ephemeralContainers"]):
            here, name = path @ index, container.get("name", "")
            self._common(container, here)
            image_only_for_pod(container, here, out)
            if name in seen:
                out.duplicate(here / "name", name)
            seen.add(name)
            target = container.get("targetContainerName", "")
            if target and target not in others:
                out.not_found(here / "targetContainerName", target)
            for field in container:
                if field not in _EPHEMERAL and container[field] not in (None, {}, []):
                    out.forbidden(here / field, _NOT_EPHEMERAL)
            for at, mount in enumerate(container.get("volumeMounts") or ()):
                for field in ("subPath", "subPathExpr"):
                    if mount.get(field):
                        out.forbidden(here / "volumeMounts" @ at / field, _NOT_EPHEMERAL)

    def _common(self, container: Obj, path: Path) -> None:
        out, get = self.out, container.get
        name: str = get("name", "")
        if not name:
            out.required(path / "name", "")
        elif problems := names.is_dns1123_label(name):
            out.each(path / "name", name, problems)
        if not get("image"):
            out.required(path / "image", "")
        policy = get("terminationMessagePolicy")
        if policy not in ("File", "FallbackToLogsOnError"):
            if policy:
                out.not_supported(path / "terminationMessagePolicy", policy, ("File", "FallbackToLogsOnError"))
            else:
                out.required(path / "terminationMessagePolicy", "")
        if ports := get("ports"):
            _ports(ports, path / "ports", out)
        if (variables := get("env")) and env(variables, path / "env", out):
            self.files = True
        if sources := get("envFrom"):
            env_from(sources, path / "envFrom", out)
        mounts, devices = get("volumeMounts"), get("volumeDevices")
        if mounts:
            self._mounts(container, mounts, devices or (), path / "volumeMounts")
        if devices:
            self._devices(devices, mounts or (), path / "volumeDevices")
        if get("imagePullPolicy") not in ("IfNotPresent", "Always"):
            pull_policy(get("imagePullPolicy", ""), path / "imagePullPolicy", out)
        if resources := get("resources"):
            resource_requirements(resources, path / "resources", out, self.claims)
        if policies := get("resizePolicy"):
            self._resize(policies, path / "resizePolicy")
        if context := get("securityContext"):
            if "windowsOptions" in context:
                self.windows = True
            container_security(context, path / "securityContext", out, self.host_users)

    # -- volumes -------------------------------------------------------------------------------------------------------

    def _mounts(self, container: Obj, mounts: Sequence[Obj], devices: Sequence[Obj], path: Path) -> None:
        out, known = self.out, self.volumes
        taken: set[str] = set()
        names_taken = {device.get("name", "") for device in devices} if devices else ()
        paths_taken = {device.get("devicePath", "") for device in devices} if devices else ()
        for index, mount in enumerate(mounts):
            name, where = mount.get("name", ""), mount.get("mountPath", "")
            if name in known and where and where not in taken and not devices and mount.keys() <= _PLAIN_MOUNT:
                taken.add(where)
                continue
            if not name:
                out.required(path @ index / "name", "")
            if name not in known:
                out.not_found(path @ index / "name", name)
            if not where:
                out.required(path @ index / "mountPath", "")
            if where in taken:
                out.invalid(path @ index / "mountPath", where, "must be unique")
            taken.add(where)
            if devices:
                if name in names_taken:
                    out.invalid(path @ index / "name", name, "must not already exist in volumeDevices")
                if where in paths_taken:
                    detail = "must not already exist as a path in volumeDevices"
                    out.invalid(path @ index / "mountPath", where, detail)
            # the rest is at the list, not at its item: upstream's slip
            sub, expression = mount.get("subPath", ""), mount.get("subPathExpr", "")
            if sub:
                descending(sub, path / "subPath", out)
            if expression:
                if sub:
                    detail = "subPathExpr and subPath are mutually exclusive"
                    out.invalid(path @ index / "subPathExpr", expression, detail)
                descending(expression, path / "subPathExpr", out)
            if mount.get("mountPropagation") is not None or mount.get("recursiveReadOnly") is not None:
                _propagation(mount, container, path, out)

    def _devices(self, devices: Sequence[Obj], mounts: Sequence[Obj], path: Path) -> None:
        out, seen, taken = self.out, set[str](), set[str]()
        names_taken = {mount.get("name", "") for mount in mounts}
        paths_taken = {mount.get("mountPath", "") for mount in mounts}
        for index, device in enumerate(devices):
            here, name, where = path @ index, device.get("name", ""), device.get("devicePath", "")
            volume = self.volumes.get(name)
            if not name:
                out.required(here / "name", "")
            if name in seen:
                out.invalid(here / "name", name, "must be unique")
            if volume is None:
                out.not_found(here / "name", name)
            elif "persistentVolumeClaim" not in volume and "ephemeral" not in volume:
                detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
                out.invalid(here / "name", name, detail)
            if not where:
                out.required(here / "devicePath", "")
            if where in taken:
                out.invalid(here / "devicePath", where, "must be unique")
            if ".." in where.split("/"):
                out.invalid(here / "devicePath", where, "can not contain backsteps ('..')")
            else:
                taken.add(where)
            if name in names_taken:
                out.invalid(here / "name", name, "must not already exist in volumeMounts")
            if where in paths_taken:
                out.invalid(here / "devicePath", where, "must not already exist as a path in volumeMounts")
            if name:
                seen.add(name)

    # -- life ----------------------------------------------------------------------------------------------------------

    def _life(self, container: Obj, path: Path) -> None:
        """Hooks and probes of what runs as long as the pod does."""
        out, lifecycle = self.out, container.get("lifecycle")
        if lifecycle:
            for name in ("postStart", "preStop"):
                if lifecycle.get(name) is not None:
                    _handler(lifecycle[name], self.grace, path / "lifecycle" / name, out)
            if lifecycle.get("stopSignal") is not None:
                self._stop_signal(lifecycle["stopSignal"], path / "lifecycle" / "stopSignal")
        for name in _PROBES:
            probe = container.get(name)
            if probe is not None:
                _probe(probe, name, self.grace, path, out)

    def _stop_signal(self, signal: str, path: Path) -> None:
        if self.os is None:
            self.out.forbidden(path, "may not be set for containers with empty `spec.os.name`")
            return
        windows = ("SIGKILL", "SIGTERM")
        allowed = frozenset(windows if self.os == "windows" else enums().get("core_v1.Signal") or windows)
        if signal not in allowed:
            self.out.not_supported(path, signal, allowed)

    def _restart(self, container: Obj, path: Path) -> None:
        out, policy, rules = self.out, container.get("restartPolicy"), container.get("restartPolicyRules") or ()
        if policy is None:
            if rules:
                out.required(path / "restartPolicy", "must specify restartPolicy when restart rules are used")
        elif policy not in RESTART:
            out.not_supported(path / "restartPolicy", policy, RESTART)
        here = path / "restartPolicyRules"
        if len(rules) > 20:
            out.too_many(here, len(rules), 20)
        for index, rule in enumerate(rules):
            if rule.get("action") not in ("Restart", "RestartAllContainers"):
                out.not_supported(here @ index / "action", rule.get("action", ""), ("Restart", "RestartAllContainers"))
            codes = rule.get("exitCodes")
            if codes is None:
                out.required(here @ index / "exitCodes", "must be specified")
                continue
            if codes.get("operator") not in ("In", "NotIn"):
                out.not_supported(here @ index / "exitCodes" / "operator", codes.get("operator", ""), ("In", "NotIn"))
            if len(codes.get("values") or ()) > 255:
                out.too_many(here @ index / "exitCodes" / "values", len(codes["values"]), 255)

    def _resize(self, policies: Sequence[Obj], path: Path) -> None:
        out, seen = self.out, set[str]()
        for index, item in enumerate(policies):
            name, policy = item.get("resourceName", ""), item.get("restartPolicy", "")
            if name in seen:
                out.duplicate(path @ index, name)
            seen.add(name)
            # at the list, not at its item: upstream's slip
            for value, allowed in ((name, ("cpu", "memory")), (policy, ("NotRequired", "RestartContainer"))):
                if not value:
                    out.required(path, "")
                elif value not in allowed:
                    out.not_supported(path, value, allowed)
            if self.restart == "Never" and policy != "NotRequired":
                out.invalid(path, policy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")


def image_only_for_pod(container: Obj, path: Path, out: ErrorList) -> None:
    """A template may have an image that something fills in later; a pod may not."""
    image = container.get("image", "")
    if image != image.strip():
        out.invalid(path / "image", image, "must not have leading or trailing whitespace")


# -- ports -------------------------------------------------------------------------------------------------------------


def _ports(ports: Sequence[Obj], path: Path, out: ErrorList) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name, number, host = port.get("name", ""), port.get("containerPort", 0), port.get("hostPort", 0)
        if name:
            if problems := names.is_valid_port_name(name):
                out.each(path @ index / "name", name, problems)
            elif name in seen:
                out.duplicate(path @ index / "name", name)
            seen.add(name)
        if not number:
            out.required(path @ index / "containerPort", "")
        elif not 1 <= number <= 65535:
            out.each(path @ index / "containerPort", number, names.is_valid_port_num(number))
        if host and not 1 <= host <= 65535:
            out.each(path @ index / "hostPort", host, names.is_valid_port_num(host))
        protocol = port.get("protocol", "")
        if protocol not in PROTOCOLS:
            if protocol:
                out.not_supported(path @ index / "protocol", protocol, PROTOCOLS)
            else:
                out.required(path @ index / "protocol", "")


def _host_ports(ports: Sequence[Obj], taken: set[str], path: Path, out: ErrorList) -> None:
    for index, port in enumerate(ports):
        number = port.get("hostPort", 0)
        if not number:
            continue
        key = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{number}"
        if key in taken:
            out.duplicate(path / "ports" @ index / "hostPort", key)
        taken.add(key)


def _propagation(mount: Obj, container: Obj, path: Path, out: ErrorList) -> None:
    way, recursive = mount.get("mountPropagation"), mount.get("recursiveReadOnly")
    if way is not None:
        here = path / "mountPropagation"
        if way not in ("Bidirectional", "HostToContainer", "None"):
            out.not_supported(here, way, ("Bidirectional", "HostToContainer", "None"))
        if way == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
            out.forbidden(here, "Bidirectional mount propagation is available only to privileged containers")
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            out.forbidden(path / "recursiveReadOnly", "may only be specified when readOnly is true")
        if way not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            out.forbidden(path / "recursiveReadOnly", detail)
    elif recursive not in (None, "Disabled"):
        out.not_supported(path / "recursiveReadOnly", recursive, ("Disabled", "Enabled", "IfPossible"))


# -- probes and hooks --------------------------------------------------------------------------------------------------


def _probe(probe: Obj, name: str, grace: int | None, container: Path, out: ErrorList) -> None:
    path = container / name
    _handler(probe, grace, path, out)
    get = probe.get
    for field in _NUMBERS:
        if get(field, 0) < 0:
            out.invalid(path / field, probe[field], NEGATIVE)
    own = probe.get("terminationGracePeriodSeconds")
    if own is not None and own <= 0:
        out.invalid(path / "terminationGracePeriodSeconds", own, "must be greater than 0")
    if name == "readinessProbe":
        if own is not None:
            out.invalid(path / "terminationGracePeriodSeconds", own, "must not be set for readinessProbes")
    elif probe.get("successThreshold", 0) != 1:
        out.invalid(path / "successThreshold", probe.get("successThreshold", 0), "must be 1")


_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def _handler(handler: Obj, grace: int | None, path: Path, out: ErrorList) -> None:
    first = ""
    for kind in _HANDLERS:
        if kind not in handler:
            continue
        action: Any = handler[kind]
        if first:
            out.forbidden(path / kind, "may not specify more than 1 handler type")
            continue
        first = kind
        if kind == "exec":
            if not action.get("command"):
                out.required(path / kind / "command", "")
        elif kind == "httpGet":
            _http_get(action, path / kind, out)
        elif kind == "sleep":
            seconds = action.get("seconds", 0)
            if grace is not None and not 0 <= seconds <= grace:
                detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                out.invalid(path / kind, seconds, detail)
        else:
            port_number_or_name(action.get("port", 0), path / kind / "port", out)
    if not first:
        out.required(path, "must specify a handler type")


def _http_get(action: Obj, path: Path, out: ErrorList) -> None:
    if not action.get("path"):
        out.required(path / "path", "")
    port = action.get("port", 0)
    if port.__class__ is not int or not 1 <= port <= 65535:
        port_number_or_name(port, path / "port", out)
    if action.get("scheme") not in ("HTTP", "HTTPS"):
        out.not_supported(path / "scheme", action.get("scheme", ""), ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or ():
        name = header.get("name", "")
        out.each(path / "httpHeaders", name, names.is_http_header_name(name))


def port_number_or_name(port: int | str | None, path: Path, out: ErrorList) -> None:
    if isinstance(port, str):
        if problems := names.is_valid_port_name(port):
            out.each(path, port, problems)
    elif not 1 <= (port or 0) <= 65535:
        out.each(path, port or 0, names.is_valid_port_num(port or 0))


def file_key_volumes(spec: Obj, path: Path, out: ErrorList) -> None:
    """Variables from files come from emptyDirs only."""
    volumes = {volume.get("name"): volume for volume in spec.get("volumes") or ()}
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            for at, item in enumerate(container.get("env") or ()):
                source = item.get("valueFrom")
                if not source or source.get("fileKeyRef") is None:
                    continue
                name = source["fileKeyRef"].get("volumeName", "")
                here = path / kind @ index / "env" @ at / "valueFrom" / "fileKeyRef" / "volumeName"
                if name not in volumes:
                    out.not_found(here, name)
                elif volumes[name].get("emptyDir") is None:
                    out.invalid(here, name, "referenced volume must be of type emptyDir")
