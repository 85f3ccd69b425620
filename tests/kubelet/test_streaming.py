"""exec, cp, attach and port-forward with kubectl of all times, and the Python client, all the way to a real container."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sampan.runtime import files
from tests.kubectls import VERSIONS
from tests.kubelet.conftest import NodeUnderTest, made
from tests.kubelet.kubectl import Kubectl
from tests.runtime.homes import IMAGE

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
#: what newer ones speak if they are not told otherwise, and what they fall back to
SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
WAYS = [*VERSIONS, "1.37-spdy"]
MAIN = (
    "cd /bin; for each in tar stty tty sha256sum; do busybox ln -s busybox $each; done; exec httpd -f -p 8080 -h /www"
)
READER = "while read x; do echo got $x; test $x != end || exit 0; done"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sampan", "containerd"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[NodeUnderTest]:
    async with made(request.param) as node:
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pod(node: NodeUnderTest) -> str:
    containers = [
        node.container("sh", "-c", MAIN),
        node.container("sh", name="shell", stdin=True, tty=True),
        *(
            node.container("sh", "-c", READER, name=f"reader-{way.replace('.', '-')}", stdin=True, stdinOnce=True)
            for way in WAYS
        ),
    ]
    name = await node.run({"containers": containers, "restartPolicy": "Never"}, name="streams")
    await node.running(name)
    return name


@pytest.fixture(params=WAYS)
def kubectl(node: NodeUnderTest, request: pytest.FixtureRequest) -> Kubectl:
    version, _, spdy = request.param.partition("-")
    if node.home.kind == "containerd" and version not in ("1.20", "1.37"):
        pytest.skip("what is between them is tested on our runtime")
    made = Kubectl(node.cluster.kubeconfig, version)
    made.env.update(SPDY if spdy else {}, WAY=request.param.replace(".", "-"))
    return made


@pytest.fixture(scope="module")
def data() -> bytes:
    return os.urandom(10_000_000)


async def test_exec(node: NodeUnderTest, kubectl: Kubectl, pod: str, data: bytes) -> None:
    assert await kubectl("exec", pod, "-c", "main", "--", "echo", "hello") == "hello\n"
    code, out, err = await kubectl.run("exec", pod, "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (code, out) == (7, "out\n") and err == "err\ncommand terminated with exit code 7\n"
    digest = hashlib.sha256(data).hexdigest()
    assert (await kubectl("exec", "-i", pod, "-c", "main", "--", "sha256sum", stdin=data)).split()[0] == digest
    command = "head -c 10000000 /dev/zero | tr '\\0' x"
    assert await kubectl("exec", pod, "-c", "main", "--", "sh", "-c", command) == "x" * 10_000_000
    if node.home.kind == "sampan":  # containerd may wait for ever for a command that does not read what it is sent
        assert await kubectl("exec", "-i", pod, "-c", "main", "--", "true", stdin=data) == ""


async def test_what_cannot_be_run(kubectl: Kubectl, pod: str) -> None:
    said = await kubectl.fails("exec", pod, "-c", "main", "--", "no-such")
    assert "error executing command in container: failed to exec in container" in said
    assert 'exec: "no-such": executable file not found in $PATH' in said
    assert f"container nope is not valid for pod {pod}" in await kubectl.fails("exec", pod, "-c", "nope", "--", "true")
    assert 'pods "nope" not found' in await kubectl.fails("exec", "nope", "--", "true")


async def test_cp(kubectl: Kubectl, pod: str, data: bytes, tmp_path: Path) -> None:
    here, back = tmp_path / "here", tmp_path / "back"
    here.write_bytes(data)
    await kubectl("cp", str(here), f"{pod}:/tmp/there", "-c", "main")
    assert (await kubectl("exec", pod, "-c", "main", "--", "sha256sum", "/tmp/there")).split()[0] == hashlib.sha256(
        data
    ).hexdigest()
    await kubectl("cp", f"{pod}:/tmp/there", str(back), "-c", "main")
    assert back.read_bytes() == data


class Terminal:
    """kubectl in a terminal of 100 x 30."""

    def __init__(self, process: asyncio.subprocess.Process, file: int) -> None:
        self.process = process
        self.file = file
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.file, text.encode())

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    async def until(self, words: str) -> None:
        try:
            async with asyncio.timeout(15):
                while words not in self.seen:
                    piece = await files.read(self.file)
                    assert piece, self.seen
                    self.seen += piece.decode()
        except TimeoutError:
            raise AssertionError(self.seen) from None
        self.seen = self.seen.partition(words)[2]


@contextlib.asynccontextmanager
async def terminal(kubectl: Kubectl, *arguments: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = await asyncio.create_subprocess_exec(
        kubectl.binary, *arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=kubectl.env, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        os.close(ours)


async def test_a_shell_in_a_terminal(kubectl: Kubectl, pod: str) -> None:
    async with terminal(kubectl, "exec", "-it", pod, "-c", "main", "--", "sh") as shell:
        await shell.until("# ")
        shell.type("tty; until stty size | grep '30 100'; do :; done; echo $((40 + 2))\n")
        await shell.until("/dev/pts/")
        await shell.until("42\r\n")
        shell.resize(90, 20)
        shell.type("until stty size | grep '20 90'; do :; done; echo $((40 + 3))\n")
        await shell.until("43\r\n")
        shell.type("sh -c 'echo u\"\"p; exec sleep 1000'\n")
        await shell.until("up\r\n")
        shell.type("\x03")
        await shell.until("# ")
        shell.type("exit 5\n")
        async with asyncio.timeout(10):
            assert await shell.process.wait() == 5


async def test_attach(kubectl: Kubectl, pod: str, request: pytest.FixtureRequest) -> None:
    way = request.node.callspec.params["kubectl"].replace(".", "-")
    out = await kubectl("attach", "-i", pod, "-c", f"reader-{way}", stdin=b"one\nend\n")
    assert "got one\ngot end\n" in out
    # one whose stdin goes on is left alone again when ours ends
    await kubectl("attach", "-i", pod, "-c", "shell", stdin=b"")
    async with terminal(kubectl, "attach", "-it", pod, "-c", "shell") as shell:
        await shell.until("enter.")
        shell.type(f"echo {way} $((40 + 2))\n")
        await shell.until(f"{way} 42\r\n")
        shell.type("until busybox stty size | grep '30 100'; do :; done; echo $((40 + 3))\n")
        await shell.until("43\r\n")


@contextlib.asynccontextmanager
async def forwarded(
    kubectl: Kubectl, pod: str, port: int = 8080
) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    async with kubectl.started("port-forward", f"pod/{pod}", f":{port}", "--address", "127.0.0.1") as process:
        assert process.stdout is not None
        async with asyncio.timeout(15):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("Forwarding from 127.0.0.1:"), line
        yield int(line.split(":")[1].split()[0]), process


async def get(port: int, path: str = "/") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    async with asyncio.timeout(20):
        out = await reader.read()
    writer.close()
    return out.partition(b"\r\n\r\n")[2]


async def test_port_forward(node: NodeUnderTest, kubectl: Kubectl, pod: str) -> None:
    await kubectl("exec", pod, "-c", "main", "--", "sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' x > /www/large")
    async with forwarded(kubectl, pod) as (port, process):
        assert await asyncio.gather(*(get(port) for _ in range(10))) == [b"hello\n"] * 10
        assert await get(port, "/large") == b"x" * 10_000_000
        if node.home.kind == "sampan":  # containerd and old kubectls get in each other's way
            # one that begins and leaves is not in the way of others
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /large HTTP/1.0\r\n\r\n")
            await reader.read(1)
            writer.transport.abort()
            assert await get(port) == b"hello\n"
        assert process.returncode is None
    async with forwarded(kubectl, pod, 8099) as (port, process):
        assert process.stderr is not None
        with contextlib.suppress(ConnectionResetError):  # by a kubectl that had not read the question
            assert await get(port) == b""
        said = b""
        async with asyncio.timeout(10):
            while b"connection refused" not in said:
                said += await process.stderr.readline()
        assert b"error forwarding port 8099 to pod " in said


async def test_clients_in_python(node: NodeUnderTest, pod: str) -> None:
    import kubernetes
    from kubernetes.stream import portforward, stream

    def both(connection: Any) -> tuple[str, str, int]:
        out, err = "", ""
        while connection.is_open():
            connection.update(timeout=5)
            out += connection.read_stdout() if connection.peek_stdout() else ""
            err += connection.read_stderr() if connection.peek_stderr() else ""
        return out, err, connection.returncode

    def work() -> None:
        kubernetes.config.load_kube_config(str(node.cluster.kubeconfig))  # type: ignore[no-untyped-call]
        core = kubernetes.client.CoreV1Api()
        known = {"name": pod, "namespace": "default", "container": "main"}
        asked = {**known, "stdin": False, "stdout": True, "stderr": True, "tty": False}
        run = core.connect_get_namespaced_pod_exec
        assert stream(run, command=["echo", "hello"], **asked) == "hello\n"
        assert both(
            stream(run, command=["sh", "-c", "echo a; echo b >&2; exit 3"], _preload_content=False, **asked)
        ) == ("a\n", "b\n", 3)
        asked["stdin"] = True
        shell = stream(run, command=["sh"], _preload_content=False, **asked)
        shell.write_stdin("echo $((40 + 2)); exit 4\n")
        assert both(shell) == ("42\n", "", 4)
        ports = portforward(core.connect_get_namespaced_pod_portforward, pod, "default", ports="8080")
        sock = ports.socket(8080)
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        page = b""
        while piece := sock.recv(1000):
            page += piece
        assert page.endswith(b"hello\n") and not ports.error(8080)

    async with asyncio.timeout(60):
        await asyncio.to_thread(work)


async def test_clients_of_other_hands(node: NodeUnderTest) -> None:
    """kr8s: version 4 alone, and port-forward without any. It waits for pods to be ready, all their containers."""
    import kr8s.asyncio
    from kr8s.asyncio.objects import Pod

    pod = await node.run({"containers": [node.container("sh", "-c", MAIN)]})
    async with asyncio.timeout(20):
        api = await kr8s.asyncio.api(kubeconfig=str(node.cluster.kubeconfig))
        found = await Pod.get(pod, namespace="default", api=api)
        done = await found.exec(["sh", "-c", "echo out; echo err >&2; exit 3"], container="main", check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)
    async with asyncio.timeout(20), found.portforward(8080) as port:
        assert await get(port) == b"hello\n"


async def test_commands_that_attach(node: NodeUnderTest, kubectl: Kubectl, pod: str) -> None:
    """A pod of its own for a command, and a container of its own in a pod that runs."""
    where = json.dumps({"spec": {"nodeName": node.name, "automountServiceAccountToken": False}})
    name = f"run-{kubectl.env['WAY']}"
    quiet = [] if kubectl.env["WAY"] == "1-20" else ["-q"]
    script = [
        "run",
        name,
        f"--image={IMAGE}",
        "--restart=Never",
        f"--overrides={where}",
        "-i",
        "--rm",
        *quiet,
        "--command",
    ]
    out = await kubectl(*script, "--", "sh", "-c", "read x; echo got $x", stdin=b"this\n")
    assert "got this\n" in out
    assert f'pods "{name}" not found' in await kubectl.fails("get", "pod", name)
    # containerd leaves a container whose stdin goes on before it has answered
    if kubectl.env["WAY"] == "1-37" and node.home.kind == "sampan":
        command = ("--", "sh", "-c", "read x; echo debugged $x")
        out = await kubectl("debug", pod, f"--image={IMAGE}", "-c", "debugger", "-i", *command, stdin=b"it\n")
        assert "debugged it\n" in out


async def test_ports_of_the_host(node: NodeUnderTest) -> None:
    kubectl = Kubectl(node.cluster.kubeconfig)
    spec = {"hostNetwork": True, "containers": [node.container("httpd", "-f", "-p", "18080", "-h", "/www")]}
    name = await node.run(spec)
    await node.running(name)
    async with forwarded(kubectl, name, 18080) as (port, _):
        assert await get(port) == b"hello\n"


async def test_a_command_whose_container_ends(node: NodeUnderTest, pod: str) -> None:
    kubectl = Kubectl(node.cluster.kubeconfig)
    name = await node.run({"containers": [node.container("sleep", "1000")]})
    await node.running(name)
    async with kubectl.started("exec", name, "--", "sh", "-c", "echo here; exec sleep 1000") as process:
        assert process.stdout is not None and await process.stdout.readline() == b"here\n"
        await node.delete(name, 0)
        async with asyncio.timeout(10):
            assert await process.wait() == 137
