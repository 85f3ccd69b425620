"""The names of ServiceAccounts as users: `system:serviceaccount:NAMESPACE:NAME`, and their groups.

Source: k8s.io/apiserver/pkg/authentication/serviceaccount/util.go
"""

from __future__ import annotations

from sampan.api import names

PREFIX = "system:serviceaccount:"
ALL = "system:serviceaccounts"


def username(namespace: str, name: str) -> str:
    return f"{PREFIX}{namespace}:{name}"


def groups(namespace: str) -> tuple[str, ...]:
    return (ALL, f"{ALL}:{namespace}")


def split_username(user: str) -> tuple[str, str] | None:
    """Namespace and name; None: not the name of a ServiceAccount."""
    if not user.startswith(PREFIX):
        return None
    namespace, colon, name = user[len(PREFIX) :].partition(":")
    if not colon or names.is_dns1123_label(namespace) or names.is_dns1123_subdomain(name):
        return None
    return namespace, name
