"""The chain: one request through all its stages to a reply.

Route, authenticate, authorize, then the verb; what the verb raises becomes a Status. Reads answer in the caller's
frame, everything that must wait as a coroutine.

Source of the order: k8s.io/apiserver/pkg/server/config.go (DefaultBuildHandlerChain)
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from sampan.api import errors
from sampan.api.kind import Kind
from sampan.api.metrics_v1beta1 import GROUP as METRICS
from sampan.api.user import MASTERS, User
from sampan.apiserver import replies, reviews, routing
from sampan.apiserver.api import Api
from sampan.apiserver.authentication.chain import Authentication
from sampan.apiserver.authentication.impersonation import acting_user
from sampan.apiserver.authorization.attributes import of_request, refusal
from sampan.apiserver.call import Call
from sampan.apiserver.lasting import lasting
from sampan.apiserver.metrics import size_of
from sampan.apiserver.negotiation import PROTOBUF, Accept, negotiate
from sampan.apiserver.options import parse_query
from sampan.apiserver.resource import Resource
from sampan.apiserver.routing import RequestInfo
from sampan.apiserver.subresources import binding, handler
from sampan.apiserver.verbs.create import create
from sampan.apiserver.verbs.delete import delete
from sampan.apiserver.verbs.deletecollection import deletecollection
from sampan.apiserver.verbs.get import get
from sampan.apiserver.verbs.list import list_
from sampan.apiserver.verbs.patch import patch
from sampan.apiserver.verbs.update import update
from sampan.apiserver.verbs.watch import watch
from sampan.http.deadline import Deadlines
from sampan.http.server.messages import Request, Response
from sampan.store.contract import StoreError

log = logging.getLogger("sampan.apiserver")
REQUEST_SECONDS = 60
Result = Response | Awaitable[Response]
Verb = Callable[[Call], Result]

VERBS: dict[str, Verb] = {
    "get": get,
    "list": list_,
    "watch": watch,
    "create": create,
    "update": update,
    "patch": patch,
    "delete": delete,
    "deletecollection": deletecollection,
}
READ_ONLY = {"get", "list", "watch"}
#: subresources that may take as long as they take
LONG_RUNNING = {"log", "exec", "attach", "portforward", "proxy"}
NOT_ALLOWED = "the server does not allow this method on the requested resource"
Static = Callable[[Request, RequestInfo, dict[str, str]], Response | None]


class Handler:
    """The application behind the protocol. `static` answers what is no resource: discovery, OpenAPI, health.

    At most `limits` requests (reading, changing) wait at the same time; more are told to come again.
    """

    def __init__(
        self, api: Api, static: Static, authentication: Authentication, limits: tuple[int, int] = (400, 200)
    ) -> None:
        self.api = api
        self.static = static
        self.authentication = authentication
        self.limits = {"readOnly": limits[0], "mutating": limits[1]}
        self._deadlines = Deadlines(REQUEST_SECONDS)

    def __call__(self, request: Request) -> Result:
        info: RequestInfo | None = None
        accept = Accept()
        started = self.api.clock()
        try:
            info = routing.parse(request.method, request.raw_path)
            if info is None:
                raise errors.no_such_path()
            # what lies behind these speaks for itself
            if info.is_resource and info.subresource not in LONG_RUNNING:
                accept = negotiate(request.headers.get("accept", ""))
            user = self._authenticated(request)
            if not isinstance(user, User):
                return self._wait(request, self._later(request, info, user, accept), info, accept, started, "")
            result = self.serve(request, info, user, accept)
        except Exception as error:
            reply = self.failed(request, error, accept, info.warnings if info else ())
            return self._finish(request, info, started, reply)
        if isinstance(result, Response):
            return self._finish(request, info, started, result)
        return self._wait(request, result, info, accept, started, user.groups)

    def _authenticated(self, request: Request) -> User | Awaitable[User]:
        try:
            return self.authentication(request)
        except errors.StatusError:
            self.api.metrics.unauthenticated += 1
            raise

    async def _later(self, request: Request, info: RequestInfo, user: Awaitable[User], accept: Accept) -> Response:
        """Where finding out who asks takes time."""
        try:
            found = await user
        except errors.StatusError:
            self.api.metrics.unauthenticated += 1
            raise
        result = self.serve(request, info, found, accept)
        return result if isinstance(result, Response) else await result

    def serve(self, request: Request, info: RequestInfo, user: User, accept: Accept) -> Result:
        """Authorize and answer."""
        metrics = self.api.metrics
        metrics.user(user.name)
        user = acting_user(request, user, self.api.authorizer)
        query = parse_query(request.query)
        if info.verb == "list" and query.get("watch", "0").lower() not in ("0", "false"):
            info.verb = "watch"
        asked = of_request(info, query)
        decision = self.api.authorizer.authorize(user, asked)
        if decision.allowed is not True:
            metrics.not_allowed += 1
            raise refusal(user, asked, decision.reason)
        metrics.allowed += 1
        if not info.is_resource:
            reply = self.static(request, info, query)
            return reply if reply is not None else replies.text_reply(404, "404 page not found\n")
        return self.dispatch(request, info, query, user, accept)

    async def _wait(
        self,
        request: Request,
        result: Awaitable[Response],
        info: RequestInfo,
        accept: Accept,
        started: float,
        groups: Collection[str],
    ) -> Response:
        if info.subresource in LONG_RUNNING:
            try:
                return self._finish(request, info, started, await result)
            except Exception as error:
                return self._finish(request, info, started, self.failed(request, error, accept, info.warnings))
        kind = "readOnly" if info.verb in READ_ONLY else "mutating"
        metrics = self.api.metrics
        inflight = metrics.inflight[kind]
        if inflight.now >= self.limits[kind] and MASTERS not in groups and info.verb != "watch":
            close = getattr(result, "close", None)
            if close is not None:
                close()
            metrics.terminated(info, request, 429)
            return self._finish(request, info, started, replies.too_many_requests())
        inflight.enter(started)
        try:
            with self._deadlines.one():
                reply = await result
        except TimeoutError:
            metrics.terminated(info, request, 504)
            late = errors.timeout("request did not complete within the allotted timeout")
            reply = replies.error_reply(late, accept.errors)
        except Exception as error:
            reply = self.failed(request, error, accept, info.warnings)
        finally:
            ended = self.api.clock()
            inflight.leave(ended)
        return self._finish(request, info, started, reply, ended)

    def _finish(
        self, request: Request, info: RequestInfo | None, started: float, reply: Response, ended: float | None = None
    ) -> Response:
        """Count it; what goes on for a while is counted when it has ended."""
        if info is None:
            return reply
        if reply.stream is not None or reply.upgrade is not None:
            lasting(reply, info, request, self.api.metrics, lambda: self._count(request, info, started, reply))
        else:
            self._count(request, info, started, reply, ended)
        return reply

    def _count(
        self, request: Request, info: RequestInfo, started: float, reply: Response, ended: float | None = None
    ) -> None:
        took = max((self.api.clock() if ended is None else ended) - started, 0.0)
        self.api.metrics.request(info, request, reply.code, size_of(reply), took, self.api.registry.serves)

    def failed(self, request: Request, error: Exception, accept: Accept, warnings: Sequence[str] = ()) -> Response:
        """A Status for whatever was raised; what we did not foresee is logged and told without detail."""
        if isinstance(error, errors.StatusError):
            told = error
        elif isinstance(error, StoreError):
            log.error("store: %s", error)
            told = errors.unavailable(f"storage is not available: {error}")
        else:
            log.error("internal error", exc_info=error)
            told = errors.internal("see the server's log")
        return replies.error_reply(told, accept.errors, warnings, pretty=replies.asks_pretty(request))

    def dispatch(
        self, request: Request, info: RequestInfo, query: dict[str, str], user: User, accept: Accept
    ) -> Result:
        kind = self.api.registry.get(info.group, info.version, info.resource)
        if kind is None:
            if not any(
                info.version in versions for group, versions in self.api.registry.groups() if group == info.group
            ):
                return replies.text_reply(404, "404 page not found\n")
            raise errors.no_such_path()
        if info.namespace and not kind.names.namespaced:
            raise errors.no_such_path()
        if kind.custom and accept.media == PROTOBUF and not accept.view:
            accept = negotiate(request.headers.get("accept", ""), custom=True)
        if accept.view == "Table" and kind.names.kind in reviews.ANSWERS:
            accept = negotiate(request.headers.get("accept", ""), tables=False)
        call = Call(self.api, request, info, query, user, accept, kind, self._resource(kind), info.warnings)
        make = kind.unmade(info.verb not in READ_ONLY)
        return self._verb(call) if make is None else self._made(make, call)

    async def _made(self, make: Callable[[], None], call: Call) -> Response:
        """The first request to a kind finds it compiled, and keeps nobody else waiting for it."""
        await self.api.workers.run(make)
        result = self._verb(call)
        return result if isinstance(result, Response) else await result

    def _verb(self, call: Call) -> Result:
        info, kind = call.info, call.kind
        if kind.deprecation:
            call.warnings.append(kind.deprecation)
        if info.subresource:
            return self._subresource(call)
        if kind.terminating and info.verb == "create":
            why = "create not allowed while custom resource definition is terminating"
            details = {"group": info.group, "kind": info.resource}
            raise errors.StatusError(405, "MethodNotAllowed", why, details)
        if info.verb not in kind.names.verbs or (info.verb == "create" and info.name):
            raise errors.StatusError(405, "MethodNotAllowed", NOT_ALLOWED, {})
        if kind.names.namespaced and not info.namespace and info.name:
            raise errors.no_such_path()
        if kind.names.namespaced and not info.namespace and info.verb not in ("list", "watch"):
            raise errors.StatusError(405, "MethodNotAllowed", NOT_ALLOWED, {})
        if kind.names.kind in reviews.ANSWERS:
            return reviews.answer(call)
        if info.group == METRICS:
            from sampan.apiserver import metrics_api

            return metrics_api.serve(call)
        if kind.names.kind == "ComponentStatus":
            from sampan.apiserver import component_statuses

            return component_statuses.serve(call)
        if info.resource == "bindings":
            call.kind = self._kind("", "v1", "pods")
            call.resource = self._resource(call.kind)
            return binding.serve(call)
        return VERBS[info.verb](call)

    def _kind(self, group: str, version: str, resource: str) -> Kind:
        kind = self.api.registry.get(group, version, resource)
        assert kind is not None
        return kind

    def _resource(self, kind: Kind) -> Resource:
        if "list" in kind.names.verbs:
            return self.api.resource(kind)
        # reviews and bindings are stored nowhere; they never touch it
        return Resource(self.api.namespaces)

    def _subresource(self, call: Call) -> Result:
        info, names = call.info, call.kind.names
        found = next((sub for sub in names.subresources if sub.name == info.subresource), None)
        if found is None:
            raise errors.no_such_path()
        if info.verb not in found.verbs and not (found.name == "proxy" and call.request.method == "OPTIONS"):
            raise errors.StatusError(405, "MethodNotAllowed", NOT_ALLOWED, {})
        if names.namespaced and not info.namespace:
            raise errors.no_such_path()
        special = handler(names.resource, info.subresource)
        if special is not None:
            return special(call)
        return VERBS[info.verb](call)
