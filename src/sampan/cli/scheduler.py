"""`sampan scheduler`: the scheduler in the foreground, with upstream's names for its flags.

Source: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-scheduler/
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

from sampan.cli import process
from sampan.cli.flags import boolean
from sampan.cli.serving import add_serving, serving
from sampan.client import (
    Client,
    Config,
    ConfigError,
    HttpsTransport,
    Informers,
    LeaderElector,
    LeadershipLost,
    from_kubeconfig,
    load,
)
from sampan.client.metrics import Requests
from sampan.cluster.components import shown
from sampan.cluster.secure_port import NotServed, SecurePort, Serving
from sampan.scheduler import config
from sampan.scheduler.config import Configuration, ConfigurationError, LeaderElection
from sampan.scheduler.scheduler import Scheduler


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="sampan scheduler", description="Give pods their nodes.")
    default = LeaderElection()
    out.add_argument("--config", type=Path, help="a KubeSchedulerConfiguration")
    out.add_argument("--kubeconfig", type=Path, help="who to be, and where the API server is (default: as in a pod)")
    out.add_argument("--master", help="URL of the API server, instead of the kubeconfig's")
    out.add_argument("--leader-elect", type=boolean, nargs="?", const=True, metavar="BOOL",
                     help="run only while holding the lease (default: true)")  # fmt: skip
    out.add_argument(
        "--leader-elect-lease-duration", metavar="DURATION", help=f"(default: {default.lease_duration:g}s)"
    )
    out.add_argument(
        "--leader-elect-renew-deadline", metavar="DURATION", help=f"(default: {default.renew_deadline:g}s)"
    )
    out.add_argument("--leader-elect-retry-period", metavar="DURATION", help=f"(default: {default.retry_period:g}s)")
    out.add_argument("--leader-elect-resource-name", help=f"name of the lease (default: {default.name})")
    out.add_argument("--leader-elect-resource-namespace", help=f"its namespace (default: {default.namespace})")
    add_serving(out, port=10259)
    process.add_verbosity(out)
    return out


def main(arguments: list[str]) -> int:
    """The process's exit code."""
    given = parser().parse_args(arguments)
    process.begin_log(given.v)
    try:
        configuration = settings(given)
        access = connection(given, configuration)
    except (ConfigurationError, ConfigError, OSError) as error:
        problems = error.problems if isinstance(error, ConfigurationError) else (str(error),)
        print("sampan scheduler: " + "\n  ".join(("it cannot start:", *problems)), file=sys.stderr)
        print("correct the flags or the configuration, then try again", file=sys.stderr)
        return 1
    # another may lead now: begin from nothing, as upstream does
    return process.run(
        process.until_told("scheduler", run(access, configuration, serving(given)), LeadershipLost, NotServed)
    )


def settings(given: argparse.Namespace) -> Configuration:
    """The configuration file, with the flags that were given. Raises ConfigurationError, OSError."""
    found = config.load(given.config) if given.config else Configuration()
    election = found.leader_election
    changes: dict[str, object] = {}
    for field, flag in (
        ("lease_duration", "lease_duration"),
        ("renew_deadline", "renew_deadline"),
        ("retry_period", "retry_period"),
    ):
        text = getattr(given, f"leader_elect_{flag}")
        if text is not None:
            try:
                changes[field] = config.seconds(text)
            except ValueError as error:
                raise ConfigurationError(f"--leader-elect-{flag.replace('_', '-')}: {text} {error}") from None
    if given.leader_elect is not None:
        changes["leader_elect"] = given.leader_elect
    if given.leader_elect_resource_name:
        changes["name"] = given.leader_elect_resource_name
    if given.leader_elect_resource_namespace:
        changes["namespace"] = given.leader_elect_resource_namespace
    return replace(found, leader_election=replace(election, **changes))  # type: ignore[arg-type]


def connection(given: argparse.Namespace, configuration: Configuration) -> Config:
    """Raises ConfigError."""
    file = given.kubeconfig or (Path(configuration.kubeconfig) if configuration.kubeconfig else None)
    found = from_kubeconfig(file) if file else load()
    return replace(found, server=given.master) if given.master else found


async def run(access: Config, configuration: Configuration, port: Serving) -> None:
    """Until cancelled. Raises LeadershipLost, NotServed."""
    election = configuration.leader_election
    async with contextlib.AsyncExitStack() as stack:
        asked = Requests()
        transport = HttpsTransport(access, metrics=asked)
        client = await stack.enter_async_context(Client(transport, user_agent="kube-scheduler"))
        served = SecurePort("kube-scheduler", client, port, started=time.time(), clock=time.time)
        served.pages.append(asked.onto)
        await stack.enter_async_context(served)

        async def lead() -> None:
            async with Informers(client) as informers:
                scheduler = Scheduler(client, informers, clock=time.time, configuration=configuration)
                with shown(served, scheduler, configuration):
                    await scheduler.run()

        if not election.leader_elect:
            await lead()
            return
        elector = LeaderElector(
            client, election.namespace, election.name, identity=f"{socket.gethostname()}_{uuid.uuid4()}",
            clock=time.time, lease_duration=election.lease_duration, renew_deadline=election.renew_deadline,
            retry_period=election.retry_period, rng=random.Random(),
        )  # fmt: skip
        served.led_by(elector)
        await elector.run(lead)
