"""Real kubectl beside a cluster in this process: it is waited for without standing in its way."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tests import kubectls


class Kubectl:
    """`await kubectl("logs", "web")`: its output; AssertionError where it fails."""

    def __init__(self, kubeconfig: Path, version: str = "1.37") -> None:
        self.env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        self.binary = str(kubectls.kubectl(version))

    async def run(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Exit code, output, complaints."""
        async with self.started(*arguments) as process, asyncio.timeout(30):
            out, err = await process.communicate(stdin)
        return process.returncode or 0, out.decode(), err.decode()

    async def __call__(self, *arguments: str, stdin: bytes = b"") -> str:
        code, out, err = await self.run(*arguments, stdin=stdin)
        assert code == 0, f"kubectl {' '.join(arguments)}: {err}"
        return out

    async def fails(self, *arguments: str) -> str:
        code, out, err = await self.run(*arguments)
        assert code, f"kubectl {' '.join(arguments)} succeeded: {out}"
        return err

    @contextlib.asynccontextmanager
    async def started(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """One that goes on; it is killed at the end."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            self.binary, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=self.env
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
