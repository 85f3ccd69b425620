"""Client certificates: common name and organisations are user and groups. The TLS layer has checked the signature.

Source: k8s.io/apiserver/pkg/authentication/request/x509/x509.go
"""

from __future__ import annotations

import functools

from sampan.api import errors
from sampan.apiserver.authentication.user import ALL_AUTHENTICATED, User
from sampan.apiserver.http.messages import Request


class Certificates:
    """Believes whom the TLS layer let in with a certificate of the client CA."""

    def authenticate(self, request: Request) -> User | None:
        if request.peer_certificate is None:
            return None
        return _from_certificate(request.peer_certificate)


@functools.lru_cache(maxsize=4096)
def _from_certificate(der: bytes) -> User:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256, Hash
    from cryptography.x509.oid import NameOID

    subject = x509.load_der_x509_certificate(der).subject
    names = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if not names or not names[0]:
        raise errors.unauthorized()
    digest = Hash(SHA256())
    digest.update(der)
    extra = {"authentication.kubernetes.io/credential-id": ["X509SHA256=" + digest.finalize().hex()]}
    return User(names[0], (*groups, ALL_AUTHENTICATED), "", extra)
