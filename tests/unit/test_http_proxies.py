"""Which requests go through a proxy, and how."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan.client import ConfigError, from_kubeconfig
from sampan.cluster.certificates import Pki
from sampan.http import ConnectFailed, HttpClient, HttpError
from sampan.http.proxies import Proxies, Proxy, ProxyError, parse


@pytest.mark.parametrize(
    ("without", "host", "through"),
    [
        ("", "registry.example.org", True),
        ("", "localhost", False),
        ("", "127.0.0.9", False),
        ("", "::1", False),
        ("*", "registry.example.org", False),
        ("example.org", "registry.example.org", False),
        ("example.org", "example.org", False),
        ("example.org", "myexample.org", True),
        (".example.org", "example.org", True),
        ("*.example.org", "Registry.Example.org.", False),
        ("example.com, registry.example.org:5000", "registry.example.org", False),
        ("registry.example.org:5001", "registry.example.org", True),
        ("10.0.0.0/8,fd00::/8", "10.1.2.3", False),
        ("10.0.0.0/8,fd00::/8", "fd00::7", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("192.0.2.1", "192.0.2.1", False),
    ],
)
def test_no_proxy(without: str, host: str, through: bool) -> None:
    proxies = Proxies.from_environment({"HTTPS_PROXY": "proxy:3128", "no_proxy": without})
    assert proxies.of(host, 5000, secure=True) == (Proxy("proxy", 3128) if through else None)
    assert proxies.of(host, 5000, secure=False) is None


def test_proxies_by_name() -> None:
    assert parse("http://us%40er:p%3Aw@p.example:8080").authorization == "Basic dXNAZXI6cDp3"
    assert parse("http://p.example") == Proxy("p.example", 80)
    for url in ("socks5://p:1080", "https://p", "http://"):
        with pytest.raises(ProxyError, match="only http://HOST:PORT"):
            parse(url)


class Between:
    """A proxy that says no to whoever has no password; `asked`: first lines."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            self.asked.append(head.decode().split("\r\n")[0])
            if b"Proxy-Authorization: Basic bWU6cHc=" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                break
            if not head.startswith(b"CONNECT"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
                continue
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            there = await asyncio.open_connection("127.0.0.1", int(head.split()[1].rpartition(b":")[2]))
            await asyncio.gather(self._carry(reader, there[1]), self._carry(there[0], writer))
            break
        writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[tuple[Between, str]]:
    between = Between()
    server = await asyncio.start_server(between.serve, "127.0.0.1", 0)
    yield between, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_through_a_proxy(proxy: tuple[Between, str], pki: Pki) -> None:
    between, where = proxy
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("apiserver.crt"), pki.path("apiserver.key"))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Proxy-Authorization" not in head
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(pki.path("ca.crt")))
    async with HttpClient(ssl_context=trusting, proxies=Proxies.only(f"http://me:pw@{where}")) as client:
        for _ in range(2):  # one tunnel, kept
            assert (await client.request("GET", f"https://localhost:{port}/a")).body == b"secret"
        assert (await client.request("GET", "http://far.example/b?c=d")).body == b"plain"
    assert between.asked == [f"CONNECT localhost:{port} HTTP/1.1", "GET http://far.example/b?c=d HTTP/1.1"]
    async with HttpClient(ssl_context=trusting, proxies=Proxies.only(where)) as client:
        with pytest.raises(HttpError, match=r"^Proxy Authentication Required$"):
            await client.request("GET", f"https://localhost:{port}/a")
        assert (await client.request("GET", "http://far.example/")).code == 407
    server.close()
    async with HttpClient(proxies=Proxies.only("127.0.0.1:1")) as client:
        with pytest.raises(
            ConnectFailed, match=r"^proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused$"
        ):
            await client.request("GET", "https://far.example/")


def test_a_kubeconfigs_proxy(tmp_path: Path) -> None:
    file = tmp_path / "config"
    text = """{current-context: c, contexts: [{name: c, context: {cluster: c}}],
               clusters: [{name: c, cluster: {server: "https://far.example", proxy-url: "%s"}}]}"""
    file.write_text(text % "http://proxy:3128")
    assert from_kubeconfig(file).proxy == "http://proxy:3128"
    file.write_text(text % "socks5://proxy:1080")
    with pytest.raises(ConfigError, match="proxy-url"):
        from_kubeconfig(file)
