"""The authenticators of one server, asked in order; the first that knows the credentials decides.

A call from within the process (`request.scratch["user"]`, which no socket can set) was authenticated by whoever made it.

Source: kubernetes/pkg/kubeapiserver/authenticator/config.go; k8s.io/apiserver/pkg/endpoints/filters/authentication.go
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from sampan.api import errors
from sampan.api.user import ANONYMOUS, User
from sampan.http.server.messages import Request

Answer = User | None


class Authenticator(Protocol):
    def authenticate(self, request: Request) -> Answer | Awaitable[Answer]:
        """The user, or None where these are not credentials of this kind. Raises 401 for bad ones. Answers at once
        where it can; an awaitable costs the request a task."""


class Authentication:
    """All of them. `anonymous`: requests without credentials pass as `system:anonymous`."""

    def __init__(self, authenticators: Sequence[Authenticator], *, anonymous: bool = True) -> None:
        self.authenticators = tuple(authenticators)
        self.anonymous = anonymous

    def __call__(self, request: Request) -> User | Awaitable[User]:
        """Raises 401 (or the awaitable does)."""
        if request.scratch:
            user = request.scratch.get("user")
            if isinstance(user, User):
                return user
        for index, authenticator in enumerate(self.authenticators):
            answer = authenticator.authenticate(request)
            if isinstance(answer, User):
                return answer
            if answer is not None:
                return self._later(request, answer, index + 1)
        return self._nobody(request)

    async def _later(self, request: Request, answer: Awaitable[Answer], index: int) -> User:
        user = await answer
        for authenticator in self.authenticators[index:]:
            if user is not None:
                break
            found = authenticator.authenticate(request)
            user = found if found is None or isinstance(found, User) else await found
        return user if user is not None else self._nobody(request)

    def _nobody(self, request: Request) -> User:
        """Credentials of a kind that nobody here knows (`Basic`, say) are no credentials."""
        if not self.anonymous:
            raise errors.unauthorized()
        return ANONYMOUS
