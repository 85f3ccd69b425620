"""The `kubernetes` directive.

Source: github.com/coredns/coredns plugin/kubernetes/setup.go
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sampan.api.selectors import parse_label_selector
from sampan.client import Client, Config, ConfigError, from_kubeconfig
from sampan.network.dns import names
from sampan.network.dns.corefile import CorefileError, Dispenser
from sampan.network.dns.kubernetes import SYNC_SECONDS, Kubernetes
from sampan.network.dns.mirror import Mirror, Watched
from sampan.network.dns.setup.draft import Draft, number, once, seconds
from sampan.network.dns.world import World
from sampan.network.dns.zone import Options

PODS = ("disabled", "verified", "insecure")


@dataclass(slots=True)
class _Said:
    zones: list[str]
    pods: str = "disabled"
    ttl: int = 5
    pod_names: bool = False
    namespaces: set[str] = field(default_factory=set)
    ignore_empty: bool = False
    endpoints: bool = True
    labels: str = ""
    namespace_labels: str = ""
    through: tuple[str, ...] = ()
    server: str = ""
    files: tuple[str, ...] = ()
    kubeconfig: tuple[str, ...] = ()
    wait: float = SYNC_SECONDS


def kubernetes(c: Dispenser, draft: Draft) -> None:
    for _ in once(c):
        said = _Said(names.all_zones(c.args()) or list(draft.zones))
        if all(names.is_reverse(zone) for zone in said.zones):
            raise CorefileError("non-reverse zone name must be used")
        while c.next_block():
            _property(c, said)
        if said.namespaces and said.namespace_labels:
            raise c.error("namespaces and namespace_labels cannot both be set")
        _build(draft, said)


def _property(c: Dispenser, said: _Said) -> None:
    name = c.val
    args = c.args()
    if name == "fallthrough":
        said.through = tuple(names.all_zones(args)) or (".",)
    elif name in ("endpoint_pod_names", "noendpoints"):
        if args:
            raise c.wrong_arguments()
        said.pod_names |= name == "endpoint_pod_names"
        said.endpoints &= name != "noendpoints"
    elif name == "ignore":
        if args and args[0] != "empty_service":
            raise CorefileError(f"unable to parse ignore value: '{args[0]}'")
        said.ignore_empty = bool(args)
    elif name not in _WITH_ARGUMENTS:
        raise c.error(f"unknown property '{name}'")
    elif not args:
        raise c.wrong_arguments()
    elif name == "pods":
        if len(args) != 1:
            raise c.wrong_arguments()
        if args[0] not in PODS:
            raise CorefileError(f"wrong value for pods: {args[0]},  must be one of: disabled, verified, insecure")
        said.pods = args[0]
    elif name == "ttl":
        said.ttl = number(args[0])
        if not 0 <= said.ttl <= 3600:
            raise c.error(f"ttl must be in range [0, 3600]: {said.ttl}")
    elif name == "namespaces":
        said.namespaces.update(args)
    elif name in ("labels", "namespace_labels"):
        text = " ".join(args)
        try:
            parse_label_selector(text)
        except ValueError as error:
            which = "label" if name == "labels" else "namespace_label"
            raise CorefileError(f"unable to parse {which} selector value: '{text}': {error}") from None
        if name == "labels":
            said.labels = text
        else:
            said.namespace_labels = text
    else:
        _connection(c, name, args, said)


_WITH_ARGUMENTS = frozenset({
    "pods", "ttl", "namespaces", "labels", "namespace_labels", "endpoint", "tls", "kubeconfig", "startup_timeout",
})  # fmt: skip


def _connection(c: Dispenser, name: str, args: list[str], said: _Said) -> None:
    if name == "endpoint":
        said.server = args[0]
    elif name == "startup_timeout":
        said.wait = seconds(args[0])
    elif name == "tls":
        if len(args) != 3:
            raise c.wrong_arguments()
        said.files = tuple(args)
    else:
        if len(args) > 2:
            raise c.wrong_arguments()
        said.kubeconfig = tuple(args)


def _build(draft: Draft, said: _Said) -> None:
    around = draft.around
    try:
        client = around.connect(_config(said))
    except ConfigError as error:
        raise CorefileError(str(error)) from None
    draft.clients.append(client)
    world = World(around.clock)
    draft.worlds.append(world)
    options = Options(
        tuple(said.zones), said.pods, said.ttl, said.pod_names, frozenset(said.namespaces), said.ignore_empty,
        around.addresses(),
    )  # fmt: skip
    watched = Watched(said.endpoints, said.pods == "verified", said.labels, said.namespace_labels)

    def mirror(world: World, client: Client = client) -> Mirror:
        return Mirror(client, world, watched)

    made = Kubernetes(world, options, through=said.through, lookup=draft.ask, mirror=mirror, wait=said.wait)
    draft.plugins["kubernetes"] = [made]


def _config(said: _Said) -> Config | None:
    """None: as the pod finds it. Raises ConfigError."""
    if said.kubeconfig:
        return from_kubeconfig(Path(said.kubeconfig[0]), context="".join(said.kubeconfig[1:]))
    if said.server:
        certificate, key, ca = (Path(each) for each in said.files) if said.files else (None, None, None)
        return Config(said.server.rstrip("/"), ca_file=ca, certificate_file=certificate, key_file=key)
    return None
