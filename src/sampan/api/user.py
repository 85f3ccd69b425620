"""Who somebody is, once the server knows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

ALL_AUTHENTICATED = "system:authenticated"
ALL_UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"
#: extras that say which credential it was
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


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


def authenticated(user: User) -> User:
    """With the group of everybody who is known. Source: k8s.io/apiserver/pkg/authentication/group/authenticated_group_adder.go"""
    if user.name == ANONYMOUS.name or ALL_AUTHENTICATED in user.groups or ALL_UNAUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, ALL_AUTHENTICATED))
