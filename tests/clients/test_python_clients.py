"""The Python clients people use: the official one (which checks replies strictly), lightkube, kr8s."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]


@pytest.fixture
def core(up: Up) -> Iterator[Any]:
    from kubernetes import client, config

    connect: Any = config.new_client_from_config
    with connect(config_file=str(up.kubeconfig)) as made:
        yield client.CoreV1Api(made)


def test_official_client(core: Any) -> None:
    from kubernetes import client, watch

    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="official"), data={"a": "1"})
    made = core.create_namespaced_config_map("default", body)
    core.patch_namespaced_config_map("official", "default", {"data": {"a": "2"}})
    seen = []
    watcher: Any = watch
    for event in watcher.Watch().stream(
        core.list_namespaced_config_map,
        "default",
        resource_version=made.metadata.resource_version,
        field_selector="metadata.name=official",
        timeout_seconds=5,
    ):
        seen.append((event["type"], event["object"].data))
        if len(seen) == 1:
            core.delete_namespaced_config_map("official", "default")
        if len(seen) == 2:
            break
    assert seen == [("MODIFIED", {"a": "2"}), ("DELETED", {"a": "2"})]


def test_official_client_reads_every_list(core: Any) -> None:
    """Replies are checked field by field; listing finds what does not fit."""
    from kubernetes import client

    made = core.api_client
    assert {ns.metadata.name for ns in core.list_namespace().items} >= {"default", "kube-system"}
    assert core.list_service_for_all_namespaces().items[0].spec.cluster_ip
    scheduling: Any = client.SchedulingV1Api(made)
    assert scheduling.list_priority_class().items
    discovery: Any = client.DiscoveryV1Api(made)
    assert discovery.list_endpoint_slice_for_all_namespaces().items
    networking: Any = client.NetworkingV1Api(made)
    assert networking.list_service_cidr().items[0].spec.cidrs == ["10.96.0.0/16"]


def test_lightkube(up: Up) -> None:
    from lightkube import ApiError, Client, KubeConfig
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap

    client = Client(config=KubeConfig.from_file(str(up.kubeconfig)), field_manager="lightkube-test")
    client.create(ConfigMap(metadata=ObjectMeta(name="light", namespace="default"), data={"a": "1"}))
    client.patch(ConfigMap, "light", {"data": {"a": "2"}})
    applied = ConfigMap(
        apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="light", namespace="default"), data={"b": "3"}
    )
    assert client.apply(applied).data == {"a": "2", "b": "3"}
    client.delete(ConfigMap, "light")
    with pytest.raises(ApiError) as caught:
        client.get(ConfigMap, "light")
    assert caught.value.status.code == 404


def test_kr8s(up: Up) -> None:
    import kr8s
    from kr8s.objects import ConfigMap

    api = kr8s.api(kubeconfig=str(up.kubeconfig))
    made = ConfigMap({"metadata": {"name": "kr8s", "namespace": "default"}, "data": {"a": "1"}}, api=api)
    made.create()
    made.patch({"data": {"a": "2"}})
    assert ConfigMap.get("kr8s", namespace="default", api=api).data.a == "2"
    made.delete()
    assert not made.exists()


OPERATOR = """
import kopf

@kopf.on.create("configmaps", labels={"greet": kopf.PRESENT})
def created(spec, name, patch, **_):
    patch.metadata.annotations["greeting"] = f"hello {name}"

@kopf.on.delete("configmaps", labels={"greet": kopf.PRESENT})
def deleted(name, **_):
    return None
"""


def test_kopf_operator_on_config_maps(up: Up, core: Any, tmp_path: Any) -> None:
    """A small operator: it greets each ConfigMap, and holds it by a finalizer until it has seen it go."""
    import subprocess
    import sys

    from kubernetes import client, watch

    (tmp_path / "operator.py").write_text(OPERATOR)
    command = [
        sys.executable,
        "-m",
        "kopf",
        "run",
        "--standalone",
        "--namespace",
        "default",
        str(tmp_path / "operator.py"),
    ]
    operator = subprocess.Popen(command, env=up.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        meta = client.V1ObjectMeta(name="greeted", labels={"greet": "yes"})
        core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=meta, data={"a": "b"}))
        watcher: Any = watch
        steps = []
        stream = watcher.Watch().stream(
            core.list_namespaced_config_map, "default", field_selector="metadata.name=greeted", timeout_seconds=60
        )
        for event in stream:
            found = event["object"].metadata
            if event["type"] == "DELETED":
                steps.append("gone")
                break
            if (found.annotations or {}).get("greeting") == "hello greeted" and "greeted" not in steps:
                assert found.finalizers == ["kopf.zalando.org/KopfFinalizerMarker"]
                steps.append("greeted")
                core.delete_namespaced_config_map("greeted", "default")
        assert steps == ["greeted", "gone"]
    finally:
        operator.terminate()
        operator.wait(30)


async def test_a_watch_over_a_websocket(up: Up) -> None:
    import asyncio
    import ssl

    import aiohttp

    pki = up.home / "clusters" / "default" / "pki"
    tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    path = f"{up.server}/api/v1/namespaces/default/configmaps"
    watch = f"{path}?watch=1&fieldSelector=metadata.name%3Dover-ws"
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.ws_connect(watch) as socket,
    ):
        async with session.post(path, json={"metadata": {"name": "over-ws"}}) as made:
            assert made.status == 201
        event = await asyncio.wait_for(socket.receive_json(), 10)
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "over-ws")
