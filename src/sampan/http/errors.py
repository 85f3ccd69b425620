"""What can go wrong between a request and its reply, in the words Go's net/http uses, as Kubernetes shows them to people.

    HttpError
      ConnectFailed      nothing was sent: refused, unreachable, no such host
        TlsFailed        the handshake failed: certificate, name, protocol
      ConnectionLost     the peer went before its reply was complete: the request may have been carried out
      TimedOut           the caller's timeout passed
      TooLarge           the body is longer than the caller takes
      ProtocolError      what came is not HTTP, or broken encoding
      UpgradeRefused     an ordinary reply where 101 was asked for; it is in `reply`

`str(error)` is the cause alone; `error.at("POST", url)` is what Go's client prints: `Post "https://...": EOF`.

Source: net/dial.go, net/http/transport.go, crypto/x509/verify.go, crypto/tls/alert.go (messages)
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.http.connection import Reply


class HttpError(Exception):
    """No (complete) reply came."""

    def at(self, method: str, url: str) -> str:
        return f'{method.capitalize()} "{url}": {self}'


class ConnectFailed(HttpError):
    pass


class TlsFailed(ConnectFailed):
    pass


class ConnectionLost(HttpError):
    """`started`: part of the reply had come."""

    def __init__(self, message: str, *, started: bool = False) -> None:
        super().__init__(message)
        self.started = started


class TimedOut(HttpError):
    def __init__(self, message: str = "context deadline exceeded") -> None:
        super().__init__(message)


class TooLarge(HttpError):
    def __init__(self, limit: int) -> None:
        super().__init__(f"http: response body too large: limit is {limit}")


class ProtocolError(HttpError):
    pass


class UpgradeRefused(HttpError):
    def __init__(self, reply: Reply) -> None:
        text = reply.body.decode(errors="replace").strip()
        super().__init__(f"unable to upgrade connection: {text or reply.code}")
        self.reply = reply


_ERRNO = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by peer",
    errno.ECONNABORTED: "software caused connection abort",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.ETIMEDOUT: "connection timed out",
    errno.EPIPE: "broken pipe",
    errno.EADDRNOTAVAIL: "cannot assign requested address",
    errno.EACCES: "permission denied",
}
#: OpenSSL's verify results that Go calls "signed by unknown authority"
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21, 27}
_NOT_YET_VALID, _EXPIRED, _NOT_A_CA, _HOST_MISMATCH, _IP_MISMATCH = 9, 10, 24, 62, 64
_ALERTS = {
    "BAD_CERTIFICATE": "bad certificate",
    "CERTIFICATE_REQUIRED": "certificate required",
    "UNKNOWN_CA": "unknown certificate authority",
    "CERTIFICATE_EXPIRED": "expired certificate",
    "CERTIFICATE_REVOKED": "revoked certificate",
    "CERTIFICATE_UNKNOWN": "unknown certificate",
    "UNSUPPORTED_CERTIFICATE": "unsupported certificate",
    "HANDSHAKE_FAILURE": "handshake failure",
    "PROTOCOL_VERSION": "protocol version not supported",
    "UNRECOGNIZED_NAME": "unrecognized name",
    "INTERNAL_ERROR": "internal error",
    "ACCESS_DENIED": "access denied",
}


def join_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def of_dial(error: Exception, host: str, port: int, server_name: str | None) -> ConnectFailed:
    """What a failed dial means."""
    if isinstance(error, ssl.SSLError):
        return TlsFailed(tls_words(error, server_name or host))
    where = join_host_port(host, port)
    if isinstance(error, socket.gaierror):
        return ConnectFailed(f"dial tcp: lookup {host}: no such host")
    if isinstance(error, TimeoutError) and error.errno is None:
        return ConnectFailed(f"dial tcp {where}: i/o timeout")
    if isinstance(error, ConnectionAbortedError) and "handshake" in str(error):
        return TlsFailed("net/http: TLS handshake timeout")
    if isinstance(error, ConnectionError) and error.errno is None:
        return TlsFailed("EOF")  # the peer closed during the handshake
    return ConnectFailed(f"dial tcp {where}: connect: {os_words(error)}")


def os_words(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number in _ERRNO:
        return _ERRNO[number]
    # asyncio joins the errors of several addresses in one sentence: the last one's number is what Go shows
    numbers = re.findall(r"\[Errno (\d+)\]", str(error))
    if numbers and int(numbers[-1]) in _ERRNO:
        return _ERRNO[int(numbers[-1])]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def tls_words(error: ssl.SSLError, name: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "tls: failed to verify certificate: x509: " + _verify_words(error, name)
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"):
        return "http: server gave HTTP response to HTTPS client"
    for alert, words in _ALERTS.items():
        if reason.endswith("ALERT_" + alert):
            return f"remote error: tls: {words}"
    if reason == "UNEXPECTED_EOF_WHILE_READING":
        return "EOF"
    return f"tls: {reason.replace('_', ' ').lower() or error}"


def _verify_words(error: ssl.SSLCertVerificationError, name: str) -> str:
    code = error.verify_code
    if code in _UNKNOWN_AUTHORITY:
        return "certificate signed by unknown authority"
    if code in (_EXPIRED, _NOT_YET_VALID):
        return "certificate has expired or is not yet valid"
    if code in (_HOST_MISMATCH, _IP_MISMATCH):
        # DEVIATION: Go lists the names the certificate has; Python's ssl does not tell them when it refuses one
        return f"certificate is not valid for any names, but wanted to match {name}"
    if code == _NOT_A_CA:
        return "certificate is not authorized to sign other certificates"
    return error.verify_message
