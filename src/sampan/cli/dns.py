"""`sampan dns`: the cluster's DNS server in the foreground, with CoreDNS's flags.

Source: github.com/coredns/coredns coremain/run.go
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from sampan.network.dns.daemon import log_to_stdout, serve
from sampan.network.dns.setup import DIRECTIVES, PORT


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        prog="sampan dns", description="Answer for the cluster's names, as a Corefile says.", allow_abbrev=False
    )
    out.add_argument("-conf", "--conf", type=Path, default=Path("Corefile"), metavar="FILE",
                     help="Corefile to load (default: %(default)s)")  # fmt: skip
    out.add_argument("-p", "-dns.port", "--dns.port", type=int, default=PORT, metavar="PORT", dest="port",
                     help="default port (default: %(default)s)")  # fmt: skip
    out.add_argument("-quiet", "--quiet", action="store_true", help="quiet mode (no initialization output)")
    out.add_argument("-plugins", "--plugins", action="store_true", help="list the directives there are")
    out.add_argument("-version", "--version", action="store_true", help="show version")
    return out


def main(arguments: list[str]) -> int:
    """The process's exit code."""
    given = parser().parse_args(arguments)
    if given.version:
        import importlib.metadata

        print(f"Sampan-{importlib.metadata.version('sampan')}")
        return 0
    if given.plugins:
        print("\n".join(f"dns.{name}" for name in sorted(DIRECTIVES)))
        return 0
    log_to_stdout()
    # uvloop would win nothing: datagrams are read and written by hand
    return asyncio.run(serve(given.conf, given.port, given.quiet))
