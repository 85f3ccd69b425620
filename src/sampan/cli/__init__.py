"""The `sampan` command. `apiserver` is taken out before the rest is imported: it must be serving within a blink."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run what the arguments say; exits."""
    if len(sys.argv) > 1 and sys.argv[1] == "apiserver":
        from sampan.cli.apiserver import main as apiserver

        sys.exit(apiserver(sys.argv[2:]))
    if len(sys.argv) > 1 and sys.argv[1] in ("controller-manager", "components"):
        from sampan.cli.components import main as components

        sys.exit(components(sys.argv[1], sys.argv[2:]))
    if len(sys.argv) > 1 and sys.argv[1] == "scheduler":
        from sampan.cli.scheduler import main as scheduler

        sys.exit(scheduler(sys.argv[2:]))
    if len(sys.argv) > 1 and sys.argv[1] == "kubelet":
        from sampan.cli.kubelet import main as kubelet

        sys.exit(kubelet(sys.argv[2:]))
    if len(sys.argv) > 1 and sys.argv[1] == "node-agent":
        from sampan.cli.node_agent import main as node_agent

        sys.exit(node_agent(sys.argv[2:]))
    if len(sys.argv) > 1 and sys.argv[1] == "runtime":
        from sampan.cli.runtime import main as runtime

        sys.exit(runtime(sys.argv[2:]))
    if sys.argv[1:2] == ["cni"] or (len(sys.argv) == 1 and "CNI_COMMAND" in os.environ):
        from sampan.cli.cni import main as cni

        sys.exit(cni(sys.argv[2:]))
    if len(sys.argv) > 1 and sys.argv[1] == "dns":
        from sampan.cli.dns import main as dns

        sys.exit(dns(sys.argv[2:]))
    if len(sys.argv) > 1 and sys.argv[1] == "proxy":
        from sampan.cli.proxy import main as proxy

        sys.exit(proxy(sys.argv[2:]))
    if len(sys.argv) > 1 and sys.argv[1] == "registry-server":  # what `sampan registry up` starts
        from sampan.cli.registry import serve

        serve(sys.argv[2:])
        sys.exit(0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is begun yet that an end could leave half done
    from sampan.cli.commands import cli
    from sampan.cli.told import run

    run(cli, "sampan")
