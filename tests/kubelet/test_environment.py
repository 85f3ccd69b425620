"""What real containers are told: variables, names, addresses, name servers; and from which registries their images may come."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.images import busybox
from tests.kubelet.conftest import NodeUnderTest
from tests.runtime.processes import Logged
from tests.runtime.registries import program, registry

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Obj = dict[str, Any]
NS = "default"
HOSTS = Path("/etc/hosts").read_text()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def untouched(node: NodeUnderTest) -> AsyncIterator[None]:
    yield
    await node.clear()


async def create(node: NodeUnderTest, what: str, name: str, **rest: Any) -> Obj:
    return await node.cluster.client.create(what, {"metadata": {"name": name, "namespace": NS}, **rest})


async def run(node: NodeUnderTest, spec: Obj, **meta: Any) -> str:
    """A pod that dies at once when it is told to."""
    return await node.run({"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", **spec}, **meta)


async def ended(node: NodeUnderTest, spec: Obj, **meta: Any) -> tuple[Obj, str]:
    """The pod, and what it printed."""
    pod = await node.until(await run(node, spec, **meta), "status.phase=Succeeded")
    return pod, node.log(pod)


def of(text: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in text.splitlines())


async def test_variables(node: NodeUnderTest) -> None:
    await create(node, "configmaps", "vars", data={"mode": "fast", "key": "k"})
    await create(node, "secrets", "vars", stringData={"user": "root", "mode": "slow"})
    await create(node, "services", "db-1", spec={"ports": [{"port": 5432, "name": "sql"}], "clusterIP": "10.96.7.7"})
    paths = {
        "NAME": "metadata.name", "SPACE": "metadata.namespace", "ID": "metadata.uid", "NODE": "spec.nodeName", "LABEL": "metadata.labels['l']",
        "ACCOUNT": "spec.serviceAccountName", "IP": "status.podIP", "IPS": "status.podIPs", "HOST": "status.hostIP",
    }  # fmt: skip
    env: list[Obj] = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()]
    for name, resource in {"CPU": "requests.cpu", "MEMORY": "limits.memory", "CPUS": "limits.cpu"}.items():
        env.append({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": "0"}}})
    env += [
        {"name": "FROM_IMAGE", "value": "mine"}, {"name": "B", "value": "$(A)-$(FROM_MAP)"},
        {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "vars", "key": "mode"}}},
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "vars", "key": "user"}}},
        {"name": "C", "value": "$(A)/$(FROM_MAP)/$(DB_1_SERVICE_HOST)/$$(A)"},
        {"name": "OPTIONAL", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "k", "optional": True}}},
    ]  # fmt: skip
    container = node.container(
        "sh", "-c", "env; echo ARGS=$0,$1", "$(A)", "$(C)$(NOT)", env=env, resources={"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"}},
        envFrom=[{"configMapRef": {"name": "vars"}}, {"prefix": "S_", "secretRef": {"name": "vars"}}, {"secretRef": {"name": "absent", "optional": True}}],
    )  # fmt: skip
    pod, text = await ended(node, {"containers": [container]}, labels={"l": "shown"})
    found = of(text)
    status = pod["status"]
    expected = {
        "NAME": pod["metadata"]["name"], "SPACE": NS, "ID": pod["metadata"]["uid"], "NODE": node.name, "LABEL": "shown", "ACCOUNT": "default",
        "IP": status["podIP"], "IPS": status["podIP"], "HOST": status["hostIP"], "CPU": "1", "MEMORY": str(64 << 20),
        "FROM_IMAGE": "mine", "B": "$(A)-$(FROM_MAP)", "FROM_MAP": "fast", "A": "root", "C": "root/fast/10.96.7.7/$(A)",
        "mode": "fast", "key": "k", "S_user": "root", "S_mode": "slow", "HOSTNAME": pod["metadata"]["name"],
        "DB_1_SERVICE_HOST": "10.96.7.7", "DB_1_SERVICE_PORT_SQL": "5432", "DB_1_PORT_5432_TCP": "tcp://10.96.7.7:5432",
        "KUBERNETES_SERVICE_PORT": "443", "ARGS": "root,root/fast/10.96.7.7/$(A)$(NOT)",
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert int(found["CPUS"]) >= 1
    assert "OPTIONAL" not in found
    bare = {"containers": [node.container("env")], "enableServiceLinks": False}
    found = of((await ended(node, bare))[1])
    assert "KUBERNETES_SERVICE_HOST" in found
    assert "DB_1_SERVICE_HOST" not in found


async def test_what_is_missing_keeps_a_container_waiting(node: NodeUnderTest) -> None:
    await create(node, "configmaps", "lacking", data={})
    refs: dict[str, Obj] = {
        'configmap "later" not found': {"envFrom": [{"configMapRef": {"name": "later"}}]},
        'secret "later" not found': {
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "later", "key": "a"}}}]
        },
        "couldn't find key a in ConfigMap default/lacking": {
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "lacking", "key": "a"}}}]
        },
    }
    pods = {
        message: await run(node, {"containers": [node.container("true", **more)]}) for message, more in refs.items()
    }
    for message, name in pods.items():
        pod = await node.until(name, "status.containerStatuses.0.state.waiting.reason=CreateContainerConfigError")
        assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] == message
        assert await node.has_event(name, "Failed") == f"Error: {message}"
    await create(node, "configmaps", "later")
    await create(node, "secrets", "later", stringData={"a": ""})
    await node.cluster.client.patch("configmaps", "lacking", {"data": {"a": "1"}}, NS)
    for name in pods.values():
        await node.until(name, "status.phase=Succeeded")


async def test_variables_that_an_init_container_wrote(node: NodeUnderTest) -> None:
    write = node.container(
        "sh",
        "-c",
        "echo \"GREETING='hello'\" > /out/env",
        name="init",
        volumeMounts=[{"name": "v", "mountPath": "/out"}],
    )
    env = [{"name": "SAID", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "env", "key": "GREETING"}}}]
    spec = {
        "initContainers": [write],
        "containers": [node.container("env", env=env)],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }
    assert of((await ended(node, spec))[1])["SAID"] == "hello"


async def test_names_and_name_servers(node: NodeUnderTest) -> None:
    show = node.container("sh", "-c", "hostname; cat /etc/hosts; echo --; cat /etc/resolv.conf")
    aliases = [{"ip": "10.9.9.9", "hostnames": ["foo", "bar.local"]}]
    own = {
        "nameservers": ["192.0.2.9"],
        "searches": ["my.example"],
        "options": [{"name": "ndots", "value": "1"}, {"name": "rotate"}],
    }
    pod, text = await ended(
        node, {"containers": [show], "hostname": "first", "subdomain": "sub", "hostAliases": aliases}
    )
    ip = pod["status"]["podIP"]
    top, _, resolver = text.partition("--\n")
    assert top.splitlines() == [
        "first", "# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet", "fe00::0\tip6-mcastprefix", "fe00::1\tip6-allnodes", "fe00::2\tip6-allrouters",
        f"{ip}\tfirst.sub.default.svc.cluster.local\tfirst", "", "# Entries added by HostAliases.", "10.9.9.9\tfoo\tbar.local",
    ]  # fmt: skip
    assert "nameserver 10.96.0.10\n" in resolver
    assert "options ndots:5\n" in resolver
    assert "search default.svc.cluster.local svc.cluster.local cluster.local" in resolver
    _, text = await ended(node, {"containers": [show], "dnsPolicy": "None", "dnsConfig": own})
    assert set(text.partition("--\n")[2].split("\n")) - {""} == {
        "nameserver 192.0.2.9",
        "search my.example",
        "options ndots:1 rotate",
    }
    _, text = await ended(node, {"containers": [show], "hostNetwork": True, "hostAliases": aliases})
    top = text.partition("--\n")[0]
    assert f"# Kubernetes-managed hosts file (host network).\n{HOSTS}" in top
    assert top.endswith("\n# Entries added by HostAliases.\n10.9.9.9\tfoo\tbar.local\n")


@contextlib.contextmanager
def private_registry(node: NodeUnderTest, home: Path) -> Iterator[str]:
    """An image that takes credentials, at a registry that the node reaches."""
    with registry(home, auth="basic") as server:
        server.push(busybox(), "private/app", "v1")
    inside = Logged(
        ["nsenter", f"--net={node.home.network}", "--", program(), "serve", home / "config.yml"], home / "log.inside"
    )
    try:
        inside.wait_for("listening on")
        yield server.domain
    finally:
        inside.terminate()
        inside.wait(10)


async def test_images_that_need_credentials(node: NodeUnderTest, tmp_path: Path) -> None:
    with private_registry(node, tmp_path) as domain:
        auths = {domain: {"auth": base64.b64encode(b"app:secret").decode()}}
        await create(node, "secrets", "registry", type="kubernetes.io/dockerconfigjson",
                     stringData={".dockerconfigjson": json.dumps({"auths": auths})})  # fmt: skip
        container = {**node.container("true"), "image": f"{domain}/private/app:v1"}
        without = await run(node, {"containers": [container], "imagePullSecrets": [{"name": "absent"}]})
        message = await node.has_event(without, "Failed")
        assert "no basic auth credentials" in message or "401 Unauthorized" in message, message
        assert await node.has_event(without, "FailedToRetrieveImagePullSecret") == (
            "Unable to retrieve some image pull secrets (absent); attempting to pull the image may not succeed."
        )
        await ended(node, {"containers": [container], "imagePullSecrets": [{"name": "registry"}]})
        # as its service account has them
        account = {"imagePullSecrets": [{"name": "registry"}]}
        await create(node, "serviceaccounts", "puller", **account)
        always = {**container, "imagePullPolicy": "Always"}
        await ended(node, {"containers": [always], "serviceAccountName": "puller"})
