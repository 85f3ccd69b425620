"""SPDY/3.1, as far as Kubernetes speaks it: exec, attach and port-forward are streams of one SPDY connection.

`frames` is the wire format, `session` a connection with its streams, either end of it.

Why our own: the one implementation on PyPI that has a server's side (spdy-py, last changed in 2021) is LGPL, and what is
needed of the protocol is a few hundred lines.
"""

from __future__ import annotations

from sampan.http.spdy.frames import SpdyError
from sampan.http.spdy.session import Session, Stream

__all__ = ["Session", "SpdyError", "Stream"]
