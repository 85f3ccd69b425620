"""One request on its way through the stages: what each has found out, and the API it asks things of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from sampan.api.kind import Context, Kind
from sampan.api.times import format_time
from sampan.api.user import User
from sampan.apiserver.negotiation import Accept
from sampan.apiserver.options import Query
from sampan.apiserver.resource import Resource
from sampan.apiserver.routing import RequestInfo
from sampan.apiserver.workers import LARGE
from sampan.http.server.messages import Request

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

Result = TypeVar("Result")
Args = TypeVarTuple("Args")
#: YAML is read so many times slower than JSON
YAML_FACTOR = 16


@dataclass(slots=True)
class Call:
    """`kind` is the served kind (the version the client speaks), `resource` its storage."""

    api: Api
    request: Request
    info: RequestInfo
    query: Query
    user: User
    accept: Accept
    kind: Kind
    resource: Resource
    warnings: list[str] = field(default_factory=list)
    _context: Context | None = None
    _body_size: int = -1

    @property
    def group(self) -> str:
        return self.kind.names.group

    @property
    def key(self) -> str:
        """The cache's key of the named object."""
        return f"{self.info.namespace}/{self.info.name}" if self.kind.names.namespaced else self.info.name

    @property
    def manager(self) -> str:
        """The default field manager: the user agent up to its first slash, at most 128 bytes."""
        agent = self.request.headers.get("user-agent", "").split("/")[0]
        if not agent.isprintable():
            agent = "".join(char for char in agent if char.isprintable())
        return agent.encode()[:128].decode(errors="ignore") or "unknown"

    async def work(self, size: int, work: Callable[[*Args], Result], *args: *Args) -> Result:
        """`work(*args)`, about something of so many bytes: at once, or beside the event loop if it is large."""
        if size <= LARGE:
            return work(*args)
        return await self.api.workers.run(work, *args, user=self.user.name)

    @property
    def body_size(self) -> int:
        """As many bytes of JSON would take as long to read."""
        if self._body_size < 0:
            self._body_size = self._weighed()
        return self._body_size

    def _weighed(self) -> int:
        body, media = self.request.body, self.request.headers.get("content-type", "").lower()
        if "yaml" in media and body[:1] != b"{":
            return len(body) * YAML_FACTOR
        # what a JSON patch copies grows
        return max(len(body), LARGE + 1) if "json-patch" in media and b"copy" in body else len(body)

    def context(self) -> Context:
        """One for the whole call: what is done in it is done at one time."""
        if self._context is None:
            user = self.user
            extra = tuple((key, tuple(values)) for key, values in user.extra.items()) if user.extra else ()
            now = format_time(self.api.clock())
            self._context = Context(now, user.name, user.uid, user.groups, extra, self.warnings.append)
        return self._context
