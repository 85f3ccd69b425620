"""`/healthz`, `/livez`, `/readyz`: whole, verbose, and each check alone.

Source: k8s.io/apiserver/pkg/server/healthz/healthz.go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sampan.apiserver.replies import text_reply
from sampan.http.server.messages import Response

#: a check says what is wrong, or nothing
Check = Callable[[], str]
#: told of each check that was made: endpoint, name, and whether it went well
Made = Callable[[str, str, bool], None]
ENDPOINTS = ("healthz", "livez", "readyz")


def serve(
    endpoint: str, wanted: str, checks: Mapping[str, Check], query: dict[str, str], excluded: list[str], made: Made
) -> Response:
    """200 `ok`, or 500 with the list of checks. `wanted`: the one check asked for in the path."""
    if wanted:
        if wanted not in checks:
            return text_reply(404, "404 page not found\n")
        wrong = checks[wanted]()
        made(endpoint, wanted, not wrong)
        return text_reply(500, f"internal server error: {wrong}\n") if wrong else text_reply(200, "ok")
    lines, failed = [], []
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok\n")
            continue
        wrong = check()
        made(endpoint, name, not wrong)
        if wrong:
            lines.append(f"[-]{name} failed: reason withheld\n")
            failed.append(name)
        else:
            lines.append(f"[+]{name} ok\n")
    unknown = [name for name in excluded if name not in checks]
    if unknown:
        shown = ", ".join(f'"{name}"' for name in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {shown}\n")
    if failed:
        return text_reply(500, "".join(lines) + f"{endpoint} check failed\n")
    if "verbose" in query:
        return text_reply(200, "".join(lines) + f"{endpoint} check passed\n")
    return text_reply(200, "ok")
