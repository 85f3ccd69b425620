"""The asking side of `remotecommand`: a command's streams over SPDY, as kubectl of all times opens them.

    async with connected(client, url, Options(stdout=True)) as remote:
        while data := await remote.stdout.read(): ...
        status = await remote.status()

Source: k8s.io/client-go/tools/remotecommand (v4.go: order of the streams)
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sampan.http.client import HttpClient
from sampan.http.remotecommand import SUCCESS, V4, Options, Status, internal
from sampan.http.spdy import Session, Stream
from sampan.http.upgraded import driven

MAX_STATUS = 1 << 20


@dataclass(frozen=True, slots=True)
class Remote:
    """None: not asked for."""

    session: Session
    error: Stream
    stdin: Stream | None
    stdout: Stream | None
    stderr: Stream | None
    resize: Stream | None

    async def status(self) -> Status:
        """How it ended. Raises ConnectionError if that is never said."""
        said = await self.error.read_all(MAX_STATUS)
        if not said:
            return SUCCESS
        try:
            found = json.loads(said)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            # before version 4 it was words
            return internal(f"error executing remote command: {said.decode(errors='replace')}")
        return found


@contextlib.asynccontextmanager
async def connected(
    client: HttpClient,
    url: str,
    options: Options,
    *,
    headers: Sequence[tuple[str, str]] = (),
    protocols: Sequence[str] = (V4,),
    timeout: float | None = None,
) -> AsyncIterator[Remote]:
    """Raises HttpError, ConnectionError, TimeoutError."""
    asked = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), *headers]
    asked += [("X-Stream-Protocol-Version", each) for each in protocols]
    upgrade = await client.upgrade("POST", url, headers=asked, timeout=timeout)
    async with driven(upgrade, lambda connection: Session(connection, server=False)) as session:
        wanted = {"stdin": options.stdin, "stdout": options.stdout, "stderr": options.stderr, "resize": options.tty}
        error = await session.open({"streamtype": "error"})
        streams = {name: await session.open({"streamtype": name}) for name, asked_for in wanted.items() if asked_for}
        found = [streams.get(name) for name in ("stdin", "stdout", "stderr", "resize")]
        try:
            yield Remote(session, error, *found)
        finally:
            session.close()
