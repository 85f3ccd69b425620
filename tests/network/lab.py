"""Network namespaces with servers in them, all in the test's own process: a socket stays where it was opened."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import uuid
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from socket import socket as Socket

from sampan.network import namespaces
from sampan.network.namespaces import inside
from sampan.network.netlink import Routing

SECONDS = 3.0


def missing() -> str:
    """Why there are no namespaces here; empty: there are."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if absent := [name for name in ("nft", "ip", "nsenter") if shutil.which(name) is None]:
        return f"not installed: {', '.join(absent)} (Debian: nftables, iproute2, util-linux)"
    return ""


def traces(name: str) -> list[str]:
    """What of a laboratory is in the machine's own network, where others may be at work too."""
    with Routing() as routing:
        out = [f"link {each.name}" for each in routing.links() if name in each.alias]
    done = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    out += [
        line for line in done.stdout.splitlines() if name in line or line.endswith((" kube-proxy", " kube-policies"))
    ]
    out += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if name in line]
    return out


@dataclass
class Lab:
    name: str = field(default_factory=lambda: f"sampan-test-{uuid.uuid4().hex[:6]}")
    servers: list[asyncio.AbstractServer | asyncio.DatagramTransport] = field(default_factory=list)
    made: list[Path] = field(default_factory=list)

    @property
    def run(self) -> Path:
        return Path("/run") / self.name

    def namespace(self, name: str) -> Path:
        """A new one with loopback."""
        path = self.run / name
        namespaces.pin(path)
        self.made.append(path)
        with inside(path), Routing() as routing:
            routing.set_link(1, up=True)
            namespaces.sysctl("net.ipv4.conf.all.rp_filter", "1")  # as strict as any distribution
        return path

    def wire(
        self, one: Path, address: str, other: Path, other_address: str, names: tuple[str, str] = ("eth0", "up0")
    ) -> None:
        """A cable between two, with an address at each end; the first has its default route through it."""
        with inside(one):
            here = Routing()
        with inside(other):
            there = Routing()
        with here, there:
            handle = os.open(other, os.O_RDONLY)
            here.add_veth(names[0], names[1], handle, mtu=0)
            os.close(handle)
            for routing, name, ip in ((here, names[0], address), (there, names[1], other_address)):
                link = routing.link(name)
                assert link is not None
                routing.set_link(link.index, up=True)
                routing.add_address(link.index, IPv4Interface(ip))
                if routing is here:
                    gateway = IPv4Interface(other_address).ip
                    routing.add_route(IPv4Network("0.0.0.0/0"), link.index, gateway=gateway)

    # -- servers and clients -------------------------------------------------------------------------------------------

    async def serve(self, namespace: Path, port: int, name: str, host: str = "0.0.0.0") -> None:
        """TCP: says its name and whom it sees, and closes."""

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{name} {writer.get_extra_info('peername')[0]}".encode())
            writer.close()

        with inside(namespace):
            sock = socket.create_server((host, port), reuse_port=False, backlog=128)
        self.servers.append(await asyncio.start_server(answer, sock=sock))

    async def echo(self, namespace: Path, port: int) -> None:
        """TCP: gives back all it gets, once there is no more."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(-1))
            writer.close()

        with inside(namespace):
            sock = socket.create_server(("0.0.0.0", port))
        self.servers.append(await asyncio.start_server(answer, sock=sock))

    async def there_and_back(self, namespace: Path, host: str, port: int, data: bytes) -> bytes:
        with self.socket(namespace) as sock:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(20):
                await loop.sock_connect(sock, (host, port))
                await loop.sock_sendall(sock, data)
                sock.shutdown(socket.SHUT_WR)
                out = bytearray()
                while chunk := await loop.sock_recv(sock, 1 << 20):
                    out += chunk
        return bytes(out)

    async def relay(self, namespace: Path, port: int, target: int) -> None:
        """What listens on our own loopback, on that of a namespace."""

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(carry(reader, there_writer), carry(there_reader, writer))

        with inside(namespace):
            sock = socket.create_server(("127.0.0.1", port))
        self.servers.append(await asyncio.start_server(connected, sock=sock))

    async def get(self, namespace: Path, host: str, port: int, path: str) -> tuple[int, str]:
        """Code and body of an HTTP server's answer."""
        with self.socket(namespace) as sock:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(SECONDS):
                await loop.sock_connect(sock, (host, port))
                await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                out = b""
                while chunk := await loop.sock_recv(sock, 65536):
                    out += chunk
        head, _, body = out.decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    async def serve_udp(self, namespace: Path, port: int, name: str) -> None:
        class Answer(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
                self.transport = transport

            def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
                self.transport.sendto(f"{name} {address[0]}".encode(), address)

        with inside(namespace):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("0.0.0.0", port))
        sock.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Answer, sock=sock)
        self.servers.append(transport)

    @staticmethod
    def socket(namespace: Path, kind: int = socket.SOCK_STREAM) -> Socket:
        with inside(namespace):
            sock = socket.socket(socket.AF_INET, kind)
        sock.setblocking(False)
        return sock

    async def ask(self, namespace: Path, host: str, port: int, *, source: str = "", seconds: float = SECONDS) -> str:
        """A TCP server's answer. Raises ConnectionError, TimeoutError."""
        loop = asyncio.get_running_loop()
        with self.socket(namespace) as sock:
            if source:
                sock.bind((source, 0))
            async with asyncio.timeout(seconds):
                await loop.sock_connect(sock, (host, port))
                out = b""
                while chunk := await loop.sock_recv(sock, 4096):
                    out += chunk
        return out.decode()

    async def tell(self, sock: Socket, host: str, port: int, *, seconds: float = SECONDS) -> str:
        """A UDP server's answer, on a socket of `socket(namespace, SOCK_DGRAM)`. Raises ConnectionError, TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            await loop.sock_sendto(sock, b"?", (host, port))
            return (await loop.sock_recv(sock, 4096)).decode()

    async def names(self, namespace: Path, host: str, port: int, times: int = 24) -> Counter[str]:
        """Who answered how often."""
        answers = await asyncio.gather(*(self.ask(namespace, host, port) for _ in range(times)))
        return Counter(each.split()[0] for each in answers)

    def command(self, namespace: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["nsenter", f"--net={namespace}", *words], capture_output=True, text=True, check=False)

    def tables(self, namespace: Path) -> list[str]:
        found = json.loads(self.command(namespace, "nft", "-j", "list", "tables").stdout)["nftables"]
        return [each["table"]["name"] for each in found if "table" in each]

    def links(self, namespace: Path) -> list[str]:
        with inside(namespace), Routing() as routing:
            return [each.name for each in routing.links() if not each.loopback]

    def close(self) -> None:
        for server in self.servers:
            server.close()
        for path in [*self.made, *self.run.rglob("*")]:
            if namespaces.is_pinned(path):
                namespaces.unpin(path)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.run)
