"""Client certificates: common name and organisations are user and groups. The TLS layer has checked the signature.

DEVIATION: a certificate of another CA ends the handshake, where upstream lets it pass and answers 401.

Source: k8s.io/apiserver/pkg/authentication/request/x509/x509.go
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from sampan.api import errors
from sampan.api.user import ALL_AUTHENTICATED, CREDENTIAL_ID, User
from sampan.http.server.messages import Request

#: Kubernetes' own attribute of a subject
UID = "1.3.6.1.4.1.57683.2"


class Certificates:
    """Believes whom the TLS layer let in with a certificate of the client CA, for as long as the certificate is valid:
    connections outlive certificates."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def authenticate(self, request: Request) -> User | None:
        if request.peer_certificate is None:
            return None
        user, start, end = _read(request.peer_certificate)
        if user is not None and not start <= self._clock() <= end:
            raise errors.unauthorized()
        return user


@functools.lru_cache(maxsize=4096)
def _read(der: bytes) -> tuple[User | None, float, float]:
    """Who, and from when to when; nobody without a common name."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256, Hash
    from cryptography.x509.oid import NameOID, ObjectIdentifier

    certificate = x509.load_der_x509_certificate(der)
    start, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()

    def said(oid: ObjectIdentifier) -> list[str]:
        return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]

    names, uids = said(NameOID.COMMON_NAME), said(ObjectIdentifier(UID))
    if not names or not names[-1]:
        return None, start, end
    if len(uids) > 1 or "" in uids:
        raise errors.unauthorized()
    digest = Hash(SHA256())
    digest.update(der)
    extra = {CREDENTIAL_ID: ["X509SHA256=" + digest.finalize().hex()]}
    groups = (*said(NameOID.ORGANIZATION_NAME), ALL_AUTHENTICATED)
    return User(names[-1], groups, uids[0] if uids else "", extra), start, end
