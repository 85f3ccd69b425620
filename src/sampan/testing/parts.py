"""What runs beside the API server of a test cluster: simulated nodes, controllers, scheduler, each as who it is."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sampan.api.user import User
from sampan.client import Client, EventRecorder, Informers
from sampan.controllers.context import Context
from sampan.controllers.manager import Manager
from sampan.hollow import HollowNodes
from sampan.scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    from sampan.testing.cluster import Cluster

AUTHENTICATED = "system:authenticated"
ADMIN = User("kubernetes-admin", ("system:masters", AUTHENTICATED))
MANAGER = "kube-controller-manager"


def named(name: str) -> User:
    """With the groups that go with the name."""
    prefix, _, account = name.rpartition(":")
    namespace = prefix.removeprefix("system:serviceaccount:")
    if not account or namespace == prefix or ":" in namespace:
        return User(name, (AUTHENTICATED,))
    return User(name, ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED))


def components(cluster: Cluster, informers: Informers, rng: random.Random) -> list[Coroutine[Any, Any, None]]:
    out: list[Coroutine[Any, Any, None]] = []
    if cluster.node_names:
        kubelet = cluster.as_user(ADMIN, "kubelet")
        cluster.nodes = HollowNodes(
            kubelet,
            informers,
            lambda component: cluster.recorder(component, kubelet, rng),
            names=cluster.node_names,
            clock=cluster.clock,
            rng=random.Random(rng.random()),
            life=cluster.life,
            capacity=cluster.capacity,
            heartbeats=False,
        )
        out.append(cluster.nodes.run())

    def account(name: str) -> Client:
        return cluster.as_user(f"system:serviceaccount:kube-system:{name}", MANAGER)

    def recorder(component: str, client: Client) -> EventRecorder:
        return cluster.recorder(component, client, rng)

    if cluster.controllers:
        seen = cluster.nodes.last_seen if cluster.nodes is not None else cluster.options.last_seen
        options = replace(cluster.options, controllers=cluster.controllers, last_seen=seen)
        context = Context(informers, account, recorder, cluster.clock, random.Random(rng.random()), options)
        out.append(Manager(context).run())
    if cluster.with_scheduler:
        client = cluster.as_user("system:kube-scheduler", "kube-scheduler")
        scheduler = Scheduler(client, informers, clock=cluster.clock, rng=random.Random(rng.random()))
        out.append(scheduler.run())
    return out
