"""The CNI executable: a configuration on stdin, what to do in the environment, a result on stdout.

It is `loopback` too, which older containerds want beside every network.

Source: CNI specification 1.1.0; containernetworking/cni pkg/skel/skel.go (checks, messages), pkg/types/{020,040,100}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sampan.network.cni.addresses import HostPort
from sampan.network.cni.attachment import GATEWAY
from sampan.network.cni.errors import (
    CONFIG,
    DECODE,
    ENVIRONMENT,
    FAILED,
    INCOMPATIBLE,
    NOT_AVAILABLE,
    UNKNOWN_CONTAINER,
    CniError,
)
from sampan.network.cni.pods import Attached, Pods, Settings
from sampan.network.namespaces import inside
from sampan.network.netlink import Routing

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
LATEST = VERSIONS[-1]
STATE = "/var/lib/sampan/cni"
Config = dict[str, Any]
_NEEDS = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
    "VERSION": (),
}


def run(environment: Mapping[str, str], stdin: str) -> tuple[int, str]:
    """The exit code, and what to print."""
    version = LATEST
    try:
        command = environment.get("CNI_COMMAND", "")
        if command not in _NEEDS:
            raise CniError(ENVIRONMENT, f"unknown CNI_COMMAND: {command}")
        if missing := [name for name in _NEEDS[command] if not environment.get(name)]:
            raise CniError(ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")
        config = _decoded(stdin)
        version = config.get("cniVersion") or "0.1.0"
        if command == "VERSION":
            return 0, json.dumps({"cniVersion": version, "supportedVersions": VERSIONS})
        if version not in VERSIONS:
            raise CniError(
                INCOMPATIBLE,
                "incompatible CNI versions",
                f'config is "{version}", plugin supports {json.dumps(VERSIONS)}',
            )
        result = (
            _loopback(command, environment) if config.get("type") == "loopback" else _do(command, environment, config)
        )
    except CniError as error:
        return 1, json.dumps(
            {"cniVersion": version, "code": error.code, "msg": error.message, "details": error.details}
        )
    return 0, json.dumps({"cniVersion": version, **result}) if command == "ADD" else ""


def _decoded(stdin: str) -> Config:
    try:
        found = json.loads(stdin)
    except ValueError as error:
        raise CniError(DECODE, "error unmarshall network config", str(error)) from None
    if not isinstance(found, dict):
        raise CniError(DECODE, "error unmarshall network config", "it is not an object")
    return found


def _do(command: str, environment: Mapping[str, str], config: Config) -> Config:
    pods = Pods(settings(config))
    sandbox, interface = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    namespace = Path(environment.get("CNI_NETNS", ""))
    try:
        if command == "ADD":
            if not namespace.exists():
                raise CniError(FAILED, f'failed to open netns "{namespace}": no such file or directory')
            return result_of(pods.attach(sandbox, namespace, interface, _ports(config)), str(namespace), config)
        if command == "DEL":
            pods.detach(sandbox, interface)
        elif command == "CHECK":
            pods.check(sandbox, namespace, interface)
        elif command == "GC":
            valid = config.get("cni.dev/valid-attachments") or []
            pods.collect({(each["containerID"], each["ifname"]) for each in valid})
        else:
            _available(pods)
    finally:
        pods.close()
    return {}


def _available(pods: Pods) -> None:
    """STATUS."""
    try:
        pods.prepare()
    except CniError as error:
        raise CniError(NOT_AVAILABLE, error.message, error.details) from None


def settings(config: Config) -> Settings:
    """Raises CniError."""
    try:
        cidr = IPv4Network(config["podCIDR"])
        whole = IPv4Network(config["clusterCIDR"]) if config.get("clusterCIDR") else None
        state = Path(config.get("stateDir") or STATE) / str(config["name"])
        return Settings(state, cidr, whole, bool(config.get("masquerade", True)), int(config.get("mtu") or 0))
    except (KeyError, TypeError, ValueError) as error:
        raise CniError(CONFIG, f"invalid network configuration: {error}") from None


def _ports(config: Config) -> tuple[HostPort, ...]:
    """Those of the capability `portMappings`. Names in any case: containerd writes them as Go's fields."""
    given = (config.get("runtimeConfig") or {}).get("portMappings") or []
    every = [{name.lower(): value for name, value in each.items()} for each in given]
    return tuple(
        HostPort(
            (each.get("protocol") or "tcp").lower(), each.get("hostip") or "", each["hostport"], each["containerport"]
        )
        for each in every
        if each.get("hostport")
    )


def result_of(attached: Attached, namespace: str, config: Config) -> Config:
    interfaces = [
        {"name": attached.host.name, "mac": attached.host.mac},
        {"name": attached.pod.name, "mac": attached.pod.mac, "sandbox": namespace},
    ]
    address: Config = {"address": f"{attached.address}/32", "gateway": str(GATEWAY), "interface": 1}
    if config["cniVersion"].startswith("0."):
        address = {"version": "4", **address}
    routes = [{"dst": "0.0.0.0/0", "gw": str(GATEWAY)}]
    return {"interfaces": interfaces, "ips": [address], "routes": routes, "dns": config.get("dns") or {}}


def _loopback(command: str, environment: Mapping[str, str]) -> Config:
    if command not in ("ADD", "CHECK"):
        return {}
    namespace = environment["CNI_NETNS"]
    try:
        with inside(Path(namespace)), Routing() as routing:
            routing.set_link(1, up=True)
    except FileNotFoundError:
        raise CniError(UNKNOWN_CONTAINER, f'failed to open netns "{namespace}"') from None
    except OSError as error:
        raise CniError(FAILED, "failed to set up loopback", str(error)) from None
    return {"interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": namespace}],
            "ips": [{"version": "4", "address": "127.0.0.1/8", "interface": 0}], "dns": {}}  # fmt: skip


def conflist(config: Config) -> str:
    """A network configuration list with this plugin alone; `config`: its keys, as `podCIDR`."""
    plugin = {"type": "sampan", **config, "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "sampan", "plugins": [plugin]}, indent=2) + "\n"
