"""Run as a script: enter the machine's mounts and network, and become another program there. Arguments: NETWORK PROGRAM
ARGUMENT..., where NETWORK is a file that holds the network namespace.

For containers of the control plane's pods, whose image has no nsenter. The container's parent, its monitor, has the machine's
mounts; process 1 may have rights that keep us from looking at it.

Source: setns(2)
"""

from __future__ import annotations

import ctypes
import os
import sys

if __name__ == "__main__":
    libc = ctypes.CDLL(None, use_errno=True)
    for name in (f"/proc/{os.getppid()}/ns/mnt", sys.argv[1]):
        if libc.setns(os.open(name, os.O_RDONLY | os.O_CLOEXEC), 0) != 0:
            sys.exit(f"cannot enter {name}: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[2], sys.argv[2:])
