"""Bootstrap tokens, `ID.SECRET`: what a new node joins with, kept in Secrets `kube-system/bootstrap-token-ID`.

Source: kubernetes/plugin/pkg/auth/authenticator/token/bootstrap/bootstrap.go; k8s.io/cluster-bootstrap/util/secrets
"""

from __future__ import annotations

import base64
import hmac
import logging
import re
from typing import TYPE_CHECKING

from sampan.api.kind import Obj
from sampan.api.times import parse_time
from sampan.api.user import User
from sampan.apiserver.authentication.bearer import Answer, Audiences, Verified

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

log = logging.getLogger("sampan.apiserver")
TYPE = "bootstrap.kubernetes.io/token"
GROUP = "system:bootstrappers"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})", re.ASCII)
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]", re.ASCII)


class BootstrapTokens:
    def __init__(self, api: Api) -> None:
        self._api = api

    def verify(self, token: str, audiences: Audiences) -> Answer:
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        record = self._api.cached("", "secrets").get(f"kube-system/bootstrap-token-{match[1]}")
        if record is None:
            return None
        secret = record.obj()
        groups = self._groups(secret)
        why = self._objection(secret, match[1], match[2])
        if why or groups is None:
            log.info("bootstrap secret %s matching bearer token %s", record.key, why or "has invalid extra groups")
            return None
        return Verified(User(f"system:bootstrap:{match[1]}", groups))

    def _objection(self, secret: Obj, token_id: str, token_secret: str) -> str:
        if secret["metadata"].get("deletionTimestamp"):
            return "is deleted and awaiting removal"
        if secret.get("type") != TYPE:
            return f"has invalid type, expected {TYPE}."
        if not hmac.compare_digest(_data(secret, "token-secret").encode(), token_secret.encode()):
            return "has invalid value for key token-secret."
        if _data(secret, "token-id") != token_id:
            return "has invalid value for key token-id."
        if self._expired(_data(secret, "expiration")):
            return "has expired"
        if _data(secret, "usage-bootstrap-authentication") != "true":
            return "not marked usage-bootstrap-authentication=true."
        return ""

    def _expired(self, when: str) -> bool:
        """What cannot be read has."""
        if not when:
            return False
        try:
            return parse_time(when) <= self._api.clock()
        except ValueError:
            return True

    @staticmethod
    def _groups(secret: Obj) -> tuple[str, ...] | None:
        """None: one of them may not be given to a token."""
        extra = _data(secret, "auth-extra-groups")
        groups = set(extra.split(",")) if extra else set()
        if not all(_EXTRA_GROUP.fullmatch(group) for group in groups):
            return None
        return tuple(sorted(groups | {GROUP}))


def _data(secret: Obj, key: str) -> str:
    """Empty where it is not there, or no text."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(key, "")).decode()
    except ValueError:
        return ""
