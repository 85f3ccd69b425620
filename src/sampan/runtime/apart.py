"""Work on what strangers sent, in a process of its own: it may be killed, and what it breaks is its own.

A module is run with arguments and prints one JSON object; {"error": ...} is what it found wrong with them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from sampan.runtime.errors import CriError, Invalid


async def run(module: str, *arguments: str, failed: str) -> dict[str, Any]:
    """What it printed. `failed`: what to say was not done. Raises Invalid (wrong input), CriError (it ended otherwise)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    try:
        found: dict[str, Any] = json.loads(out)
    except ValueError:
        words = err.decode(errors="replace").strip().rpartition("\n")[2]
        raise CriError(f"{failed}: {words or f'exit code {process.returncode}'}") from None
    if "error" in found:
        raise Invalid(f"{failed}: {found['error']}")
    return found
