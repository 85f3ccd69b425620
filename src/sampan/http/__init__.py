"""The sending half of HTTP/1.1, for everything here that asks others: clients, webhooks, kubelets, OIDC.

HTTP client = `HttpClient`; errors = the tree in `sampan.http.errors`. No proxies, no redirects, no cookies.
"""

from __future__ import annotations

from sampan.http.client import Dial, HttpClient, SslSource, dial
from sampan.http.connection import Reply, ResponseStream, Upgraded
from sampan.http.errors import (
    ConnectFailed,
    ConnectionLost,
    HttpError,
    ProtocolError,
    TimedOut,
    TlsFailed,
    TooLarge,
    UpgradeRefused,
)

__all__ = [
    "ConnectFailed",
    "ConnectionLost",
    "Dial",
    "HttpClient",
    "HttpError",
    "ProtocolError",
    "Reply",
    "ResponseStream",
    "SslSource",
    "TimedOut",
    "TlsFailed",
    "TooLarge",
    "UpgradeRefused",
    "Upgraded",
    "dial",
]
