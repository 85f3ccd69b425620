"""A container's environment: its own variables, those of whole ConfigMaps and Secrets, and where Services are.

Later ones go before earlier ones, `env` before `envFrom`, both before Services. A container that asks for something that is not there
is not started: ConfigError says what is missing, and becomes `CreateContainerConfigError`.

Source: kubernetes pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables)
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.api.errors import StatusError
from sampan.client.errors import is_not_found
from sampan.kubelet import env_file, fields, names, service_links
from sampan.kubelet.expansion import expand
from sampan.kubelet.sources import NotSynced, Sources

Obj = dict[str, Any]


class ConfigError(Exception):
    """The container cannot be made as it is written, or not yet."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Facts:
    """What the node knows beyond the pod's specification. `volumes`: where the pod's volumes are, for variables from files."""

    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, Path] = field(default_factory=dict)


async def environment(pod: Obj, container: Obj, sources: Sources, facts: Facts) -> list[tuple[str, str]]:
    """In order, each name once. Raises ConfigError."""
    return await _Making(pod, container, sources, facts).make()


class _Making:
    def __init__(self, pod: Obj, container: Obj, sources: Sources, facts: Facts) -> None:
        self.pod, self.container, self.sources, self.facts = pod, container, sources, facts
        self.namespace = pod["metadata"]["namespace"]
        self.out: dict[str, str] = {}

    async def make(self) -> list[tuple[str, str]]:
        links = self.pod["spec"].get("enableServiceLinks")
        try:
            known = await self.sources.services(wait=not names.is_static(self.pod))
        except NotSynced as error:
            raise ConfigError(str(error)) from None
        services = service_links.variables(known, self.namespace, links is None or links)
        for each in self.container.get("envFrom") or ():
            await self._all_of(each)
        for variable in self.container.get("env") or ():
            value: str | None = variable.get("value") or ""
            if value:
                value = expand(value, self.out, services)
            elif source := variable.get("valueFrom"):
                value = await self._from(source)
            if value is not None:
                # a variable that is given again moves to where it was given last, so that the order is that of the list
                self.out.pop(variable["name"], None)
                self.out[variable["name"]] = value
        return [*self.out.items(), *((name, value) for name, value in services.items() if name not in self.out)]

    async def _all_of(self, each: Obj) -> None:
        prefix = each.get("prefix") or ""
        if ref := each.get("configMapRef"):
            found = await self._object(self.sources.config_map, ref)
            values: Mapping[str, str] = (found or {}).get("data") or {}
        elif ref := each.get("secretRef"):
            found = await self._object(self.sources.secret, ref)
            values = {key: _text(value) for key, value in ((found or {}).get("data") or {}).items()}
        else:
            return
        self.out.update((prefix + key, values[key]) for key in sorted(values))

    async def _from(self, source: Obj) -> str | None:
        """None: it is not there, and need not be."""
        try:
            if ref := source.get("fieldRef"):
                return self._field(ref["fieldPath"])
            if ref := source.get("resourceFieldRef"):
                return fields.of_resources(self.pod, self.container, ref, self.facts.allocatable)
        except fields.Unsupported as error:
            raise ConfigError(str(error)) from None
        if ref := source.get("configMapKeyRef"):
            return await self._key(self.sources.config_map, ref, "ConfigMap")
        if ref := source.get("secretKeyRef"):
            value = await self._key(self.sources.secret, ref, "Secret")
            return None if value is None else _text(value)
        if ref := source.get("fileKeyRef"):
            return self._file(ref)
        return ""

    def _field(self, path: str) -> str:
        spec, ips, hosts = self.pod["spec"], self.facts.pod_ips, self.facts.host_ips
        match path:
            case "spec.nodeName" | "spec.serviceAccountName":
                return str(spec.get(path.removeprefix("spec.")) or "")
            case "status.hostIP" | "status.podIP":
                return ((hosts if path == "status.hostIP" else ips) or ("",))[0]
            case "status.hostIPs" | "status.podIPs":
                return ",".join(hosts if path == "status.hostIPs" else ips)
        return fields.of_metadata(self.pod, path)

    async def _object(self, get: Callable[[str, str], Any], ref: Obj) -> Obj | None:
        try:
            found: Obj = await get(self.namespace, ref.get("name") or "")
        except StatusError as error:
            if is_not_found(error) and ref.get("optional"):
                return None
            raise ConfigError(error.message) from None
        except NotSynced as error:
            raise ConfigError(str(error)) from None
        return found

    async def _key(self, get: Callable[[str, str], Any], ref: Obj, kind: str) -> str | None:
        found = await self._object(get, ref)
        if found is None:
            return None
        values: Mapping[str, str] = found.get("data") or {}
        if ref["key"] not in values:
            if ref.get("optional"):
                return None
            raise ConfigError(f"couldn't find key {ref['key']} in {kind} {self.namespace}/{ref.get('name')}")
        return values[ref["key"]]

    def _file(self, ref: Obj) -> str | None:
        volume, key = ref["volumeName"], ref["key"]
        if volume not in self.facts.volumes:
            raise ConfigError(f'cannot find the volume "{volume}" referenced by FileKeyRef')
        try:
            value = env_file.value_of(self.facts.volumes[volume], ref["path"], key)
        except (OSError, ValueError):
            raise ConfigError("couldn't parse env file") from None
        if not value:
            if ref.get("optional"):
                return None
            path = self.facts.volumes[volume] / ref["path"]
            raise ConfigError(f'environment variable key "{key}" not found in file "{path}"')
        return value


def _text(value: str) -> str:
    """A Secret's bytes as a variable has them."""
    try:
        return base64.b64decode(value).decode()
    except UnicodeDecodeError:
        raise ConfigError("grpc: error while marshaling: string field contains invalid UTF-8") from None
