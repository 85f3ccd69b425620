"""A cluster's nodes on this machine: each a network namespace, with a runtime and a node process (kubelet and service proxy)
that live in it.

What a node keeps is under the cluster's directory (images, containers' files, the kubelet's own), what a reboot may take
under /run. A node that stops takes its containers along; its processes alone may be killed without harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.hollow import is_hollow
from sampan.client import Client, HttpError, HttpsTransport, Informers
from sampan.client.errors import is_not_found
from sampan.cluster import (
    addons,
    certificates,
    control_plane,
    doctor,
    groups,
    kubeconfig,
    local_registry,
    processes,
    spec,
)
from sampan.cluster.components import Credentials
from sampan.cluster.errors import ClusterError
from sampan.cluster.mounts import detach_below, hold_network
from sampan.cluster.state import Cluster, Settings, all_clusters, home
from sampan.network.host_rules import Published
from sampan.network.nodes import ClusterNetwork
from sampan.network.ranges import NoRoom, Ranges, choose, in_use
from sampan.network.resolver import for_nodes
from sampan.runtime.cgroups import by_systemd

RUNTIME, NODE = "runtime", "node"
REGISTRIES = Path("/etc/containerd/certs.d")
KUBELET_PORT = 10250
#: between two looks whether a kubelet listens yet
LOOK_SECONDS = 0.02
#: for a runtime that is asked to stop its pods
ANSWER_SECONDS = 20.0
Progress = Callable[[str], None]


def network(cluster: Cluster, settings: Settings) -> ClusterNetwork:
    ranges = settings.ranges
    parsed = Ranges(*(IPv4Network(text) for text in (ranges.nodes, ranges.pods, ranges.services, ranges.balancers)))
    return ClusterNetwork(cluster.id, parsed, run=cluster.run / "net")


def prepare(cluster: Cluster, settings: Settings) -> None:
    """Choose address ranges, once, and make the bridge. Raises ClusterError."""
    lacking = doctor.lacking(spec.runtime(settings.nodes))
    if lacking:
        worst = lacking[0]
        raise ClusterError(f"this machine cannot run nodes: {worst.what}: {worst.said}", worst.hint)
    with _told(), _alone(cluster.run.parent):
        if not settings.ranges.nodes:
            settings.ranges = _chosen(settings.ranges)
        found = network(cluster, settings)
        if rival := found.rival():
            raise ClusterError(
                f"cluster {rival} is up and has the same addresses",
                "`sampan down` it first, or create this one with networking.podSubnet and serviceSubnet of its own",
            )
        local = [port] if (port := local_registry.port()) else []
        found.create(_published(cluster, settings), for_nodes(found.ranges.gateway)[1], local)
        hold_network(cluster.host)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """No other cluster of this machine chooses addresses before this one's bridge shows what it has."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "addresses.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _chosen(wanted: spec.Ranges) -> spec.Ranges:
    default = spec.Ranges()
    # what was asked for is taken as it is
    pods, services = (
        None if text == usual else IPv4Network(text)
        for text, usual in ((wanted.pods, default.pods), (wanted.services, default.services))
    )
    others = [found.ranges for cluster in all_clusters() if (found := cluster.settings()) and found.ranges.nodes]
    texts = [text for each in others for text in (each.nodes, each.pods, each.services, each.balancers)]
    taken = [*in_use(), *map(IPv4Network, texts)]
    picked = choose(taken, pods=pods, services=services)
    return spec.Ranges(*(str(each) for each in (picked.pods, picked.services, picked.nodes, picked.balancers)))


def _published(cluster: Cluster, settings: Settings) -> list[Published]:
    found = network(cluster, settings)
    return [
        Published(found.node(node.name, node.index).address, port.node, port.host, port.protocol.lower(),
                  "" if port.listen == "0.0.0.0" else port.listen)
        for node in settings.nodes
        for port in node.ports
    ]  # fmt: skip


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """The machine's refusals as ClusterError."""
    from sampan.network.nft import NftError

    try:
        yield
    except (OSError, NftError) as error:
        raise ClusterError(
            f"the network cannot be set up: {error}", "`sampan doctor` says what the machine lacks"
        ) from None
    except NoRoom as error:
        raise ClusterError(
            str(error), "give ranges in a configuration file: networking.podSubnet, serviceSubnet"
        ) from None


# -- their processes ---------------------------------------------------------------------------------------------------


def start(cluster: Cluster, settings: Settings) -> None:
    """Those that should run and do not. Raises ClusterError."""
    _start(cluster, settings, [node for node in settings.nodes if not node.stopped])
    asyncio.run(furnish(cluster, settings))


def _start(cluster: Cluster, settings: Settings, nodes: Sequence[spec.Node]) -> None:
    for node in nodes:
        _start_runtime(cluster, settings, node)
    foreign = [node.name for node in nodes if node.runtime == spec.CONTAINERD]
    if foreign:
        from sampan.cluster import containerd

        containerd.furnish(cluster, foreign, home() / "images")
    for node in nodes:
        _start_agent(cluster, settings, node)


def _start_runtime(cluster: Cluster, settings: Settings, node: spec.Node) -> None:
    with _told():
        there = network(cluster, settings).add(node.name, node.index)
    if cluster.pid(_process(node, RUNTIME)) is not None:
        return
    kept, socket = cluster.node(node.name), cluster.socket(node.name)
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    registries = (cluster.registries, REGISTRIES)
    if node.runtime == spec.CONTAINERD:
        from sampan.cluster import containerd

        program, *command = containerd.command(cluster, settings, node.name, registries)
        processes.begin(cluster, _process(node, RUNTIME), command, program=[program], namespace=there.namespace)
        return
    command = [
        "runtime", "--listen", str(socket), "--root", str(kept / "runtime"), "--state", str(socket.parent),
        "--cluster-cidr", settings.ranges.pods, "--registry-config-dir", ":".join(map(str, registries)),
    ]  # fmt: skip
    processes.begin(cluster, _process(node, RUNTIME), command, namespace=there.namespace)


def _start_agent(cluster: Cluster, settings: Settings, node: spec.Node) -> None:
    kept, found = cluster.node(node.name), network(cluster, settings)
    there = found.node(node.name, node.index)
    (kept / "manifests").mkdir(exist_ok=True, mode=0o700)
    (kept / "resolv.conf").write_text(for_nodes(found.ranges.gateway)[0])
    control_plane.write(cluster, settings, node)
    if cluster.pid(_process(node, NODE)) is None:
        config = _credentials(cluster, settings, node, "kubeconfig", f"system:node:{node.name}", ["system:nodes"])
        proxy = _credentials(cluster, settings, node, "proxy.kubeconfig", "system:kube-proxy", [])
        command = ["node-agent", f"--proxy-kubeconfig={proxy}", *_flags(cluster, settings, node, there.address, config)]
        processes.begin(cluster, _process(node, NODE), command, namespace=there.namespace)


def _flags(cluster: Cluster, settings: Settings, node: spec.Node, address: IPv4Address, config: Path) -> list[str]:
    kept = cluster.node(node.name)
    flags = {
        "kubeconfig": str(config),
        "hostname-override": node.name,
        "node-ip": str(address),
        "container-runtime-endpoint": f"unix://{cluster.socket(node.name)}",
        "root-dir": str(kept / "kubelet"),
        "pod-logs-dir": str(kept / "pods"),
        "pod-manifest-path": str(kept / "manifests"),
        "resolv-conf": str(kept / "resolv.conf"),
        "client-ca-file": str(cluster.pki / "ca.crt"),
        "cluster-dns": settings.ranges.dns,
        "cluster-cidr": settings.ranges.pods,
        "cgroup-root": f"/sampan/{cluster.id}/{node.name}",
        # containerd before 2 does not say it
        "cgroup-driver": "systemd" if node.runtime == spec.CONTAINERD and by_systemd() else "",
        "host-path-map": ",".join(f"{each.node}={each.host}{':ro' if each.read_only else ''}" for each in node.mounts),
    }
    flags |= {name: value for name, value in node.kubelet.items() if name != "node-labels"}
    given = dict(part.partition("=")[::2] for part in node.kubelet.get("node-labels", "").split(",") if part)
    flags["node-labels"] = ",".join(f"{key}={value}" for key, value in (dict(node.labels) | given).items())
    return [f"--{name}={value}" for name, value in flags.items() if value]


def _credentials(
    cluster: Cluster, settings: Settings, node: spec.Node, file: str, user: str, groups: Sequence[str]
) -> Path:
    """A kubeconfig of the node's own, anew each time it starts."""
    pki = certificates.Pki(cluster.pki)
    server = f"https://{settings.ranges.gateway}:{settings.port}"
    certificate, key = certificates.issue(pki, user, groups)
    target = cluster.node(node.name) / file
    kubeconfig.write(target, kubeconfig.whole(pki, cluster.name, server, certificate, key))
    return target


def _process(node: spec.Node, which: str) -> str:
    return f"nodes/{node.name}/{which}"


def stop(cluster: Cluster, settings: Settings) -> None:
    """All nodes, their containers and the network. Raises ClusterError."""
    _end(cluster, settings, settings.nodes)
    if settings.ranges.nodes:
        with _told():
            network(cluster, settings).destroy()
    _detach(cluster)
    shutil.rmtree(cluster.run, ignore_errors=True)
    groups.remove(f"sampan/{cluster.id}")
    groups.remove("sampan", empty=True)


def _end(cluster: Cluster, settings: Settings, nodes: Sequence[spec.Node]) -> None:
    """First who would start containers again, then containers, then who runs them."""
    _stop(cluster, nodes, NODE)
    # where there is no network namespace, nothing runs either
    there = [node for node in nodes if os.path.ismount(cluster.namespace(node.name))]
    for node in there:  # one that was killed left its containers running
        with contextlib.suppress(ClusterError, OSError):
            _start_runtime(cluster, settings, node)
    asyncio.run(_empty([cluster.socket(node.name) for node in there]))
    _stop(cluster, nodes, RUNTIME)


def _stop(cluster: Cluster, nodes: Sequence[spec.Node], which: str) -> None:
    names = [_process(node, which) for node in nodes]
    processes.stop(pid for name in names if (pid := cluster.pid(name)) is not None)
    for name in names:
        cluster.forget_pid(name)


async def _empty(sockets: Sequence[Path]) -> None:
    """Stop all pods of these runtimes at once; a runtime that does not answer is passed over."""
    from sampan.kubelet.cri import Cri, CriFailed

    async def each(socket: Path) -> None:
        async with Cri(f"unix://{socket}") as cri:
            with contextlib.suppress(CriFailed):
                await cri.ready(ANSWER_SECONDS)
                found = (await cri.ListPodSandbox()).items
                await asyncio.gather(
                    *(cri.StopPodSandbox(pod_sandbox_id=pod.id) for pod in found), return_exceptions=True
                )

    await asyncio.gather(*(each(socket) for socket in sockets))


def _detach(cluster: Cluster) -> None:
    """Root file systems and volumes of stopped pods, as a reboot would."""
    try:
        detach_below(cluster.directory)
        detach_below(cluster.run)
    except OSError as error:
        raise ClusterError(
            f"cannot unmount {error.filename}: {error.strerror}", "see what still uses it, then try again"
        ) from None


# -- one of them -------------------------------------------------------------------------------------------------------


def add(cluster: Cluster, progress: Progress) -> spec.Node:
    """One more worker. Raises ClusterError."""
    with cluster.locked():
        settings = _running(cluster)
        if not settings.ranges.nodes:
            raise ClusterError(
                f"cluster {cluster.name} was brought up without nodes",
                f"sampan down --name {cluster.name}, then up --nodes N",
            )
        names, indexes = {node.name for node in settings.nodes}, {node.index for node in settings.nodes}
        name = next(name for name in spec.names(cluster.name, 1000) if name not in names)
        free = next(index for index in range(1000) if index not in indexes)
        made = spec.Node(name, index=free, runtime=spec.runtime(settings.nodes) or spec.SAMPAN)
        settings.nodes.append(made)
        cluster.save(settings)
        progress(f"Starting {name}")
        start(cluster, settings)
        asyncio.run(settled(cluster, settings, 60.0, progress))
        return made


def stop_one(cluster: Cluster, name: str) -> None:
    """Raises ClusterError."""
    with cluster.locked():
        settings = _running(cluster)
        index = _index(cluster, settings, name)
        _end(cluster, settings, [settings.nodes[index]])
        with _told():
            network(cluster, settings).remove(name)
        settings.nodes[index] = replace(settings.nodes[index], stopped=True)
        cluster.save(settings)


def start_one(cluster: Cluster, name: str) -> None:
    """Raises ClusterError."""
    with cluster.locked():
        settings = _running(cluster)
        index = _index(cluster, settings, name)
        settings.nodes[index] = replace(settings.nodes[index], stopped=False)
        cluster.save(settings)
        _start(cluster, settings, [settings.nodes[index]])


def remove_one(cluster: Cluster, name: str) -> None:
    """Raises ClusterError."""
    stop_one(cluster, name)
    with cluster.locked():
        settings = _running(cluster)
        del settings.nodes[_index(cluster, settings, name)]
        cluster.save(settings)
        asyncio.run(_delete(cluster, settings, name))
        with contextlib.suppress(OSError):
            detach_below(cluster.node(name))
        shutil.rmtree(cluster.node(name), ignore_errors=True)


async def _delete(cluster: Cluster, settings: Settings, name: str) -> None:
    async with _client(cluster, settings) as client:
        try:
            await client.delete("nodes", name)
        except StatusError as error:
            if not is_not_found(error):
                raise ClusterError(
                    f"node {name} is stopped, but cannot be deleted: {error}", f"kubectl delete node {name}"
                ) from None


def _running(cluster: Cluster) -> Settings:
    settings = cluster.known()
    if cluster.pid() is None:
        raise ClusterError(f"cluster {cluster.name} is not running", f"sampan up --name {cluster.name}")
    return settings


def _index(cluster: Cluster, settings: Settings, name: str) -> int:
    index = next((index for index, node in enumerate(settings.nodes) if node.name == name), None)
    if index is None:
        known = ", ".join(node.name for node in settings.nodes) or "none"
        raise ClusterError(f"cluster {cluster.name} has no node {name}", f"it has: {known}")
    return index


# -- until all is well -------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _client(cluster: Cluster, settings: Settings) -> AsyncIterator[Client]:
    """Inside, what the server says no to is a ClusterError."""
    config = Credentials(f"https://127.0.0.1:{settings.port}", cluster.pki).config("admin")
    async with Client(HttpsTransport(config), user_agent="sampan") as client:
        try:
            yield client
        except (StatusError, HttpError) as error:
            raise ClusterError(
                f"the control plane refuses: {error}", f"its log is {cluster.log()}; mend that, then try again"
            ) from None


async def furnish(cluster: Cluster, settings: Settings) -> None:
    """What every cluster with nodes has: DNS, roles of its nodes. Raises ClusterError."""
    async with _client(cluster, settings) as client:
        server = f"https://{settings.ranges.gateway or settings.listen}:{settings.port}"
        ca = (cluster.pki / "ca.crt").read_text()
        await addons.apply(client, addons.Settings(dns_address=settings.ranges.dns, server=server, ca=ca))
        if settings.ranges.gateway:
            await local_registry.announce(client, cluster, settings.ranges.gateway)


def reach_registry(cluster: Cluster, settings: Settings) -> None:
    """The nodes of a running cluster find the registry where it is now, or find none. Raises ClusterError."""

    async def tell() -> None:
        async with _client(cluster, settings) as client:
            await local_registry.announce(client, cluster, settings.ranges.gateway)

    with cluster.locked():
        if cluster.pid() is not None and settings.ranges.nodes:
            prepare(cluster, settings)
            asyncio.run(tell())


async def settled(cluster: Cluster, settings: Settings, seconds: float, progress: Progress) -> None:
    """Nodes are ready, and their kubelets listen. Raises ClusterError."""
    wanted = {node.name for node in settings.nodes if not node.stopped}
    async with _client(cluster, settings) as client:
        progress("Waiting for nodes to be ready")
        ready, there, registered = asyncio.Event(), asyncio.Event(), set[str]()
        async with Informers(client) as informers:
            nodes = informers.get("nodes")

            def look(*_: object) -> None:
                found = {name for name in wanted if _is_ready(nodes.cache.get(name))}
                if found == wanted:
                    ready.set()
                registered.update(name for name in wanted if nodes.cache.get(name) is not None)
                if registered == wanted:
                    there.set()

            nodes.add_handler(look, look, look)
            informers.start()

            async def wait() -> None:
                await there.wait()
                await _mark(client, settings)
                await ready.wait()
                await _serving(cluster, settings)

            if await _waited(wait(), _an_end(cluster, settings), seconds):
                return
            late = min((name for name in wanted if not _is_ready(nodes.cache.get(name))), default=min(wanted))
            why = _why(nodes.cache.get(late)) or f"it has not registered{cluster.last_word(f'nodes/{late}/{NODE}')}"
            raise ClusterError(f"node {late} is not ready after {seconds:.0f} s: {why}", _next(cluster, late))


async def simulated(cluster: Cluster, settings: Settings, seconds: float) -> None:
    """All simulated nodes are ready, or the time is over: thousands come one after the other, and are used as they come."""
    ready, all_there = set[str](), asyncio.Event()

    def look(node: dict[str, Any]) -> None:
        # thousands have no range of addresses each
        if is_hollow(node["metadata"].get("labels")) and _condition(node).get("status") == "True":
            ready.add(node["metadata"]["name"])
            if len(ready) >= settings.hollow:
                all_there.set()

    async with _client(cluster, settings) as client, Informers(client) as informers:
        informers.get("nodes").add_handler(look, lambda old, new: look(new))
        informers.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(all_there.wait(), seconds)


def _next(cluster: Cluster, node: str) -> str:
    return (
        f"its logs are in {cluster.node(node)}; `sampan up --name {cluster.name}` tries again, "
        f"`sampan delete cluster --name {cluster.name}` removes it"
    )


async def _waited(work: Coroutine[Any, Any, None], end: Coroutine[Any, Any, None], seconds: float) -> bool:
    """False: there was no more time. Whatever `end` raises ends the wait."""
    tasks = {asyncio.ensure_future(work), asyncio.ensure_future(end)}
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
    return bool(done)


async def _an_end(cluster: Cluster, settings: Settings) -> None:
    """Waits until a process of a node ends, so that nobody waits in vain for its node. Raises ClusterError."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[tuple[spec.Node, str]] = loop.create_future()

    def end(node: spec.Node, which: str) -> None:
        if not ended.done():
            ended.set_result((node, which))

    with contextlib.ExitStack() as stack:
        for node, which in ((node, which) for node in settings.nodes if not node.stopped for which in (RUNTIME, NODE)):
            pid = cluster.pid(_process(node, which))
            try:
                handle = os.pidfd_open(pid) if pid is not None else None
            except ProcessLookupError:
                handle = None
            if handle is None:
                end(node, which)
                break
            stack.callback(os.close, handle)
            stack.callback(loop.remove_reader, handle)
            loop.add_reader(handle, end, node, which)
        node, which = await ended
    word = cluster.last_word(_process(node, which))
    raise ClusterError(f"node {node.name} did not start: its {which} process ended{word}", _next(cluster, node.name))


async def _serving(cluster: Cluster, settings: Settings) -> None:
    """Until every kubelet listens: what was ready before its processes were killed is called so for a while."""
    found = network(cluster, settings)
    for node in settings.nodes:
        if not node.stopped:
            address = str(found.node(node.name, node.index).address)
            while True:
                try:
                    _, writer = await asyncio.open_connection(address, KUBELET_PORT)
                except OSError:
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                writer.close()
                break


async def _mark(client: Client, settings: Settings) -> None:
    """A node may not say itself that it is the control plane's."""
    marks = {"node-role.kubernetes.io/control-plane": "", "node.kubernetes.io/exclude-from-external-load-balancers": ""}
    for node in settings.nodes:
        if node.role == spec.CONTROL_PLANE:
            await client.patch("nodes", node.name, {"metadata": {"labels": marks}})


def _is_ready(node: dict[str, Any] | None) -> bool:
    return (
        node is not None and bool((node.get("spec") or {}).get("podCIDR")) and _condition(node).get("status") == "True"
    )


def _condition(node: dict[str, Any]) -> dict[str, str]:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == "Ready"), {})


def _why(node: dict[str, Any] | None) -> str:
    return _condition(node).get("message", "") if node is not None else ""
