"""Network namespaces as files: made, entered, unmade.

A file that is the mount point of a namespace keeps it alive. Entering is a matter of one thread: `inside` comes back,
`enter` does not, and is for a process that has no other thread yet.

Source: setns(2), unshare(2), network_namespaces(7)
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET, _MS_BIND, _MNT_DETACH, _UMOUNT_NOFOLLOW = 0x40000000, 4096, 2, 8
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


@contextlib.contextmanager
def inside(namespace: Path | None) -> Iterator[None]:
    """This thread is in it meanwhile; nothing may be awaited there. None: where we are. Raises OSError."""
    if namespace is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(namespace)
        try:
            yield
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET), "setns")
    finally:
        os.close(home)


def enter(namespace: Path) -> None:
    """For good. Raises OSError."""
    target = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(target, _CLONE_NEWNET), f"setns {namespace}")
    finally:
        os.close(target)


def pin(namespace: Path) -> bool:
    """A new one, held by this file, its loopback down. False: it is there already. Raises OSError."""
    namespace.parent.mkdir(parents=True, exist_ok=True)
    if is_pinned(namespace):
        return False
    namespace.touch(0o444)
    raised: list[OSError] = []

    def make() -> None:
        try:
            _check(_libc.unshare(_CLONE_NEWNET), "unshare")
            made = _libc.mount(
                b"/proc/thread-self/ns/net", os.fsencode(namespace), None, ctypes.c_ulong(_MS_BIND), None
            )
            _check(made, f"mount {namespace}")
        except OSError as error:
            raised.append(error)

    # a thread of its own leaves no trace of having been elsewhere
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if raised:
        namespace.unlink(missing_ok=True)
        raise raised[0]
    return True


def is_pinned(namespace: Path) -> bool:
    """Not merely a file: nsfs has a device of its own."""
    try:
        return namespace.stat().st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


def unpin(namespace: Path) -> None:
    """Also if it is not there. What runs in it keeps it alive a while longer. Raises OSError."""
    while _libc.umount2(os.fsencode(namespace), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0:
        pass
    if ctypes.get_errno() not in (errno.ENOENT, errno.EINVAL):
        raise OSError(ctypes.get_errno(), f"unmount {namespace}: {os.strerror(ctypes.get_errno())}")
    namespace.unlink(missing_ok=True)


def sysctl(name: str, value: str) -> bool:
    """Of the namespace this thread is in, as `net.ipv4.ip_forward`; slashes where a name has dots of its own. False: it
    was so already. Raises OSError."""
    path = Path("/proc/sys", name if "/" in name else name.replace(".", "/"))
    if path.read_text().strip() == value:
        return False
    path.write_text(value)
    return True
