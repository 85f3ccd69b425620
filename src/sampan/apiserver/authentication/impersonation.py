"""`Impersonate-User`, `-Group`, `-Uid` and `-Extra-*`: acting as somebody else, for those who may.

Each header's value is asked of the authorizer as the verb `impersonate` on a resource of its kind, as the user who
really asks; only then does the request go on as the other.

DEVIATION: only the verb `impersonate` is asked; upstream asks `impersonate:MODE` and `impersonate-on:MODE:VERB` first.

Source: k8s.io/apiserver/pkg/endpoints/filters/impersonation
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from sampan.api import errors
from sampan.api.user import ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, ANONYMOUS, User
from sampan.apiserver.authentication import service_account
from sampan.apiserver.authorization.attributes import Attributes, refusal
from sampan.apiserver.authorization.chain import Authorizer
from sampan.http.server.messages import Request

PREFIX = "impersonate-"
EXTRA = PREFIX + "extra-"
GROUP = "authentication.k8s.io"


def acting_user(request: Request, user: User, authorizer: Authorizer) -> User:
    """Who the request acts as: most often `user`. Raises 400, and 403 for what `user` may not impersonate."""
    for name in request.headers:
        if name.startswith(PREFIX):
            return _impersonate(request, user, authorizer)
    return user


def _impersonate(request: Request, user: User, authorizer: Authorizer) -> User:
    wanted = _wanted(request)
    if wanted is None:
        return user
    for asked in _questions(wanted):
        decision = authorizer.authorize(user, asked)
        if decision.allowed is not True:
            raise refusal(user, asked, decision.reason)
    groups = wanted.groups
    account = service_account.split_username(wanted.name)
    if account is not None and not groups:
        groups = service_account.groups(account[0])
    if wanted.name == ANONYMOUS.name:
        groups = groups if ALL_UNAUTHENTICATED in groups else (*groups, ALL_UNAUTHENTICATED)
    elif ALL_UNAUTHENTICATED not in groups and ALL_AUTHENTICATED not in groups:
        groups = (*groups, ALL_AUTHENTICATED)
    return User(wanted.name, groups, wanted.uid, wanted.extra)


def _wanted(request: Request) -> User | None:
    """As the headers say; no later stage sees them."""
    name, uid = request.headers.get(PREFIX + "user", ""), request.headers.get(PREFIX + "uid", "")
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    for header, value in request.header_list:
        if header == PREFIX + "group":
            groups.append(value)
        elif header.startswith(EXTRA):
            extra.setdefault(_unescaped(header[len(EXTRA) :]), []).append(value)
    if not name and not uid and not groups and not extra:
        return None
    if not name:
        raise errors.bad_request(f"requested {_go(uid, groups, extra)} without impersonating a user name")
    request.header_list = [pair for pair in request.header_list if not pair[0].startswith(PREFIX)]
    request.headers = {key: value for key, value in request.headers.items() if not key.startswith(PREFIX)}
    return User(name, tuple(groups), uid, extra)


def _questions(wanted: User) -> Iterator[Attributes]:
    account = service_account.split_username(wanted.name)
    if account is not None:
        yield Attributes("impersonate", "", "v1", "serviceaccounts", "", *account)
    else:
        yield Attributes("impersonate", "", "v1", "users", name=wanted.name)
    if wanted.uid:
        yield Attributes("impersonate", GROUP, "v1", "uids", name=wanted.uid)
    for group in wanted.groups:
        yield Attributes("impersonate", "", "v1", "groups", name=group)
    for key, values in wanted.extra.items():
        for value in values:
            yield Attributes("impersonate", GROUP, "v1", "userextras", key, name=value)


def _unescaped(key: str) -> str:
    """Percent-decoded; as it is where it cannot be."""
    try:
        return unquote_to_bytes(key).decode()
    except UnicodeDecodeError:
        return key


def _go(uid: str, groups: list[str], extra: dict[str, list[str]]) -> str:
    """As Go prints the struct, which is what upstream shows."""

    def strings(values: list[str]) -> str:
        return "[]string{" + ", ".join(json.dumps(value, ensure_ascii=False) for value in values) + "}"

    listed = strings(groups) if groups else "[]string(nil)"
    pairs = ", ".join(f"{json.dumps(key, ensure_ascii=False)}:{strings(extra[key])}" for key in sorted(extra))
    more = f"map[string][]string{{{pairs}}}" if extra else "map[string][]string(nil)"
    return f'&user.DefaultInfo{{Name:"", UID:{json.dumps(uid, ensure_ascii=False)}, Groups:{listed}, Extra:{more}}}'
