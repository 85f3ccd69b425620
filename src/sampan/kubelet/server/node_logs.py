"""`/logs/`: the files below the node's log directory, as a plain file server shows them.

Source: net/http/fs.go, kubernetes/pkg/kubelet/kubelet.go (ServeLogs)
"""

from __future__ import annotations

import html
import mimetypes
import os
from pathlib import Path
from urllib.parse import quote

from sampan.http.server.messages import Response, Writer

PIECE = 256 * 1024


def serve(root: Path, path: str) -> Response:
    """`path`: decoded, after `/logs/`."""
    found = root / path.lstrip("/")
    if ".." in path.split("/"):
        return _text(400, "invalid URL path\n")
    try:
        if found.is_dir():
            if path and not path.endswith("/"):
                return Response(301, (("Location", f"{found.name}/"),))
            return _listing(found)
        file = found.open("rb")
    except PermissionError:
        return _text(403, "403 Forbidden\n")
    except OSError:
        return _text(404, "404 page not found\n")
    size = os.fstat(file.fileno()).st_size

    async def stream(writer: Writer) -> None:
        with file:
            left = size
            while left > 0 and (data := file.read(min(PIECE, left))):
                left -= len(data)
                writer.write(data)
                await writer.drain()

    kind = mimetypes.guess_type(found.name)[0] or "text/plain; charset=utf-8"
    return Response(200, (("Content-Type", kind),), stream=stream)


def _listing(directory: Path) -> Response:
    names = sorted(each.name + ("/" if each.is_dir() else "") for each in directory.iterdir())
    rows = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
    page = f'<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n{rows}</pre>\n'
    return Response(200, (("Content-Type", "text/html; charset=utf-8"),), page.encode())


def _text(code: int, text: str) -> Response:
    return Response(
        code, (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")), text.encode()
    )
