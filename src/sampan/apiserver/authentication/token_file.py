"""`--token-auth-file`: tokens in a file of lines `token,user,uid,"group1,group2"`, read once at start.

Source: k8s.io/apiserver/pkg/authentication/token/tokenfile/tokenfile.go
"""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path

from sampan.api.user import User
from sampan.apiserver.authentication.bearer import Answer, Audiences, Verified

log = logging.getLogger("sampan.apiserver")


class TokenFile:
    """Raises OSError, ValueError."""

    def __init__(self, path: Path) -> None:
        self._users: dict[str, Verified] = {}
        for number, record in enumerate(csv.reader(io.StringIO(path.read_text()), skipinitialspace=True), 1):
            if not record:
                continue
            if len(record) < 3:
                raise ValueError(
                    f"token file '{path}' must have at least 3 columns (token, user name, user uid), found {len(record)}"
                )
            token, name, uid = record[:3]
            if not token:
                log.warning("empty token has been found in token file '%s', record number '%d'", path, number)
                continue
            if token in self._users:
                log.warning("duplicate token has been found in token file '%s', record number '%d'", path, number)
            groups = tuple(record[3].split(",")) if len(record) > 3 else ()
            self._users[token] = Verified(User(name, groups, uid))

    def verify(self, token: str, audiences: Audiences) -> Answer:
        return self._users.get(token)
