"""Who asks: the first stage after routing.

For now a client certificate signed by the cluster's CA (the TLS layer checked that) says who its bearer is: common name
and organisations are user and groups. No credentials: `system:anonymous`. A bearer token or basic credentials that
nobody can check are refused with 401. Further authenticators go in `authenticate`, in upstream's order.

Source: k8s.io/apiserver/pkg/authentication/request/x509/x509.go, pkg/endpoints/filters/authentication.go
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from sampan.api import errors
from sampan.apiserver.http.messages import Request

ALL_AUTHENTICATED = "system:authenticated"
ALL_UNAUTHENTICATED = "system:unauthenticated"


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict, hash=False)

    @property
    def info(self) -> dict[str, object]:
        """`authentication.k8s.io/v1` UserInfo."""
        out: dict[str, object] = {"username": self.name}
        if self.uid:
            out["uid"] = self.uid
        if self.groups:
            out["groups"] = list(self.groups)
        if self.extra:
            out["extra"] = self.extra
        return out


ANONYMOUS = User("system:anonymous", (ALL_UNAUTHENTICATED,))


def authenticate(request: Request) -> User:
    """Raises 401 for credentials that cannot be verified."""
    if request.peer_certificate is not None:
        return _from_certificate(request.peer_certificate)
    if "authorization" in request.headers:
        raise errors.unauthorized()
    return ANONYMOUS


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
