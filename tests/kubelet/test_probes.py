"""Probes of real containers: what they find, what becomes of it, and what people read about it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sampan.runtime import builtin
from tests.kubelet.conftest import NodeUnderTest, made
from tests.kubelet.test_lives import of

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Obj = dict[str, Any]

#: HTTP on 8080 (what /health answers is set by /set/CODE), HTTPS on 8443, gRPC health on 5000; TCP is what HTTP listens on
SERVER = """
import asyncio, ssl, os, pathlib
import grpc, grpc.aio

code = "200"

async def web(reader, writer):
    global code
    path = (await reader.readuntil(b"\\r\\n\\r\\n")).split()[1].decode()
    if path.startswith("/set/"):
        code = path[5:]
    answer = (code if path == "/health" else "200") + " X"
    writer.write(f"HTTP/1.1 {answer}\\r\\nContent-Length: 0\\r\\nLocation: http://example.org/\\r\\n\\r\\n".encode())
    writer.close()

async def check(request, context):
    return {b"good": b"\\x08\\x01", b"bad": b"\\x08\\x02"}[request[2:]]

async def main():
    for name in ("crt", "key"):
        pathlib.Path("/tmp/" + name).write_text(os.environ[name])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain("/tmp/crt", "/tmp/key")
    rpc = grpc.aio.server()
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    rpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    rpc.add_insecure_port("0.0.0.0:5000")
    await rpc.start()
    await asyncio.start_server(web, "0.0.0.0", 8443, ssl=tls)
    async with await asyncio.start_server(web, "0.0.0.0", 8080) as server:
        await server.serve_forever()

asyncio.run(main())
"""
FAST = {"periodSeconds": 1, "failureThreshold": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sampan", "containerd"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[NodeUnderTest]:
    async with made(request.param) as node:
        yield node


def python(script: str, pki: Any, **more: Any) -> Obj:
    env = [{"name": name, "value": pki.path(f"apiserver.{name}").read_text()} for name in ("crt", "key")]
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]
    return {"name": "main", "image": builtin.name(), "command": [sys.executable, "-c", script], "env": env,
            "volumeMounts": mounts, "imagePullPolicy": "Never", **more}  # fmt: skip


async def ask(node: NodeUnderTest, pod: Obj, path: str) -> None:
    """Of its web server, as somebody in the node's network."""
    reader, writer = await open_connection(node, pod["status"]["podIP"], 8080)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


async def open_connection(node: NodeUnderTest, host: str, port: int) -> Any:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await node.dial(lambda: protocol, host, port, ssl=None, server_hostname=None)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def not_ready(pod: Obj | None) -> bool:
    return pod is not None and any(not each["ready"] for each in pod["status"]["containerStatuses"])


async def test_over_the_network(node: NodeUnderTest, pki: Any) -> None:
    if node.home.kind != "sampan":
        pytest.skip("the image with Python is our own runtime's")
    ports = [{"name": "web", "containerPort": 8080}]
    server = python(SERVER, pki, ports=ports, readinessProbe={"httpGet": {"port": "web", "path": "/health"}, **FAST},
                    livenessProbe={"httpGet": {"port": 8443, "scheme": "HTTPS"}, "periodSeconds": 1, "initialDelaySeconds": 3},
                    startupProbe={"tcpSocket": {"port": "web"}, "periodSeconds": 1, "failureThreshold": 30})  # fmt: skip
    name = await node.run(
        {"containers": [server], "terminationGracePeriodSeconds": 1, "volumes": [{"name": "tmp", "emptyDir": {}}]}
    )
    pod = await node.running(name)
    assert of(pod)["started"] and of(pod)["ready"]
    address = pod["status"]["podIP"]
    await ask(node, pod, "/set/500")
    pod = await node.until(name, not_ready)
    condition = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
    assert (condition["reason"], condition["message"]) == (
        "ContainersNotReady",
        "containers with unready status: [main]",
    )
    words = "Readiness probe failed: HTTP probe failed with statuscode: 500"
    assert await node.has_event(name, "Unhealthy", words.__eq__)
    await ask(node, pod, "/set/302")
    await node.running(name)
    words = "Readiness probe warning: Probe terminated redirects, Response body: "
    assert await node.has_event(name, "ProbeWarning") == words
    refused = f"Startup probe failed: dial tcp {address}:8080: connect: connection refused"
    assert {message for reason, message in await node.events(name) if "Startup" in message} <= {refused}

    # gRPC's sockets are its library's own: it is asked by a process in the node's network
    script = "import asyncio; from sampan.kubelet.probes import grpc; print(asyncio.run(grpc.check({!r}, {}, {!r}, 2)))"
    answers = [
        node.home.enter(sys.executable, "-c", script.format(address, port, service)).strip()
        for port, service in ((5000, "good"), (5000, "bad"))
    ]
    assert answers == ["(True, 'service healthy')", "(False, 'service unhealthy (responded with \"NOT_SERVING\")')"]
    assert of(await node.running(name))["restartCount"] == 0
    await node.delete(name, 1)


async def test_a_container_that_is_found_dead(node: NodeUnderTest) -> None:
    script = "trap '' TERM; touch /healthy; while true; do sleep 0.1; done"
    probe = {"exec": {"command": ["sh", "-c", "cat /healthy"]}, "terminationGracePeriodSeconds": 1, **FAST}
    main = node.container("sh", "-c", script, livenessProbe=probe)
    name = await node.run({"containers": [main], "terminationGracePeriodSeconds": 60})
    pod = await node.running(name)
    dead = of(pod)["containerID"]
    await node.cri.ExecSync(container_id=dead.partition("//")[2], cmd=["sh", "-c", "rm /healthy"], timeout=5)
    pod = await node.until(name, lambda pod: pod is not None and of(pod)["restartCount"] == 1)
    pod = await node.running(name)
    ended = of(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["containerID"]) == (137, "Error", dead)
    events = await node.events(name)
    failed = "Liveness probe failed: cat: can't open '/healthy': No such file or directory\n"
    assert ("Unhealthy", failed) in events
    assert ("Killing", "Container main failed liveness probe, will be restarted") in events
    await node.delete(name, 1)


async def test_a_container_that_does_not_start(node: NodeUnderTest) -> None:
    main = node.container("sleep", "1000", startupProbe={"exec": {"command": ["sh", "-c", "echo no; false"]}, **FAST},
                          readinessProbe={"exec": {"command": ["true"]}})  # fmt: skip
    name = await node.run({"containers": [main], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1})
    pod = await node.until(name, "status.phase=Failed")
    assert of(pod)["state"]["terminated"]["exitCode"] == 137 and not of(pod)["started"]
    events = await node.events(name)
    assert ("Unhealthy", "Startup probe failed: no\n") in events
    assert ("Killing", "Stopping container main") in events


async def test_a_command_that_takes_too_long(node: NodeUnderTest) -> None:
    main = node.container("sleep", "1000", readinessProbe={"exec": {"command": ["sleep", "10"]}, "timeoutSeconds": 1})
    name = await node.run({"containers": [main], "terminationGracePeriodSeconds": 1})
    words = 'Readiness probe failed: command timed out: "sleep 10" timed out after 1s'
    assert await node.has_event(name, "Unhealthy", words.__eq__)
    await node.delete(name, 1)


async def test_a_kubelet_that_starts_anew_does_not_make_pods_unready(node: NodeUnderTest) -> None:
    probe = {"exec": {"command": ["sh", "-c", "touch /asked; cat /there"]}, **FAST}
    main = node.container("sh", "-c", "touch /there; sleep 1000", readinessProbe=probe)
    name = await node.run({"containers": [main], "terminationGracePeriodSeconds": 1})
    pod = await node.running(name)
    watch = await node.cluster.client.watch("pods", "default", resource_version=pod["metadata"]["resourceVersion"])

    async def unready() -> None:
        async for event in watch:
            if event.type != "BOOKMARK" and event.object["metadata"]["name"] == name and not_ready(event.object):
                return

    following = asyncio.create_task(unready())
    key = of(pod)["containerID"].partition("//")[2]

    async def sh(script: str) -> None:
        done = await node.cri.ExecSync(container_id=key, cmd=["sh", "-c", script], timeout=20)
        assert done.exit_code == 0, done

    await node.stop()
    await sh("rm /asked")
    await node.start()
    await sh("until [ -e /asked ]; do sleep 0.05; done")
    assert not following.done()
    await sh("rm /there")
    await node.until(name, not_ready)
    await following
    await watch.aclose()
    await node.delete(name, 1)


async def test_what_comes_after_a_sidecar_waits_until_it_has_started(node: NodeUnderTest) -> None:
    probe = {"exec": {"command": ["sh", "-c", "cat /there"]}, "periodSeconds": 1, "failureThreshold": 30}
    sidecar = node.container("sh", "-c", "while [ ! -e /now ]; do sleep 0.05; done; touch /there; sleep 1000", name="side",
                             restartPolicy="Always", startupProbe=probe, readinessProbe={**probe, **FAST})  # fmt: skip
    spec = {
        "initContainers": [sidecar],
        "containers": [node.container("sleep", "1000")],
        "terminationGracePeriodSeconds": 1,
    }
    name = await node.run(spec)
    pod = await node.until(
        name,
        lambda pod: (
            pod is not None and pod["status"].get("initContainerStatuses") and "running" in of(pod, "side")["state"]
        ),
    )
    assert not of(pod, "side")["started"] and "waiting" in of(pod)["state"]
    key = of(pod, "side")["containerID"].partition("//")[2]
    await node.cri.ExecSync(container_id=key, cmd=["sh", "-c", "touch /now"], timeout=5)
    pod = await node.running(name)
    assert of(pod, "side")["started"] and of(pod, "side")["ready"] and "running" in of(pod)["state"]
    await node.delete(name, 1)
