"""What the server counts while it works, under upstream's names; `metrics_page` adds what is there anyway.

A request costs one look-up: everything that is told of requests hangs on one key. Nothing that a client makes up
becomes a label: a request to what is not served is not counted.

Source: k8s.io/apiserver/pkg/endpoints/metrics/metrics.go, pkg/admission/metrics/metrics.go,
pkg/admission/plugin/policy/validating/metrics/metrics.go, pkg/endpoints/filters/metrics.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sampan.apiserver.families import Counter, Histograms, Values
from sampan.http.prometheus import Histogram

if TYPE_CHECKING:
    from sampan.apiserver.routing import RequestInfo
    from sampan.http.server.messages import Request, Response

DURATIONS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
SLI_DURATIONS = DURATIONS[2:]
SIZES = tuple(10**power for power in range(3, 10))
BODY_SIZES = tuple(range(50_000, 3_100_000, 100_000))
EVENT_SIZES = tuple(1024 << power for power in range(8))
ADMISSION = (0.005, 0.025, 0.1, 0.5, 1, 2.5)
CHECKS = (0.0000005, 0.001, 0.01, 0.1, 1)
BODY_VERBS = {
    "create": "create", "update": "update", "patch": "patch", "delete": "delete",
    "deletecollection": "delete_collection",
}  # fmt: skip
#: what an authenticated user counts as: names would be labels without end
KNOWN_USERS = {"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"}
MAX_CODE = 600


class Requests:
    """Of one verb, resource and code: how many, how long, how large. `sli` leaves out the time that webhooks took."""

    __slots__ = ("count", "durations", "sizes", "sli")

    def __init__(self) -> None:
        self.count = 0
        self.durations = Histogram(DURATIONS)
        self.sli = Histogram(SLI_DURATIONS)
        self.sizes = Histogram(SIZES)


class Peak:
    """The most that there were at the same time within the last second."""

    __slots__ = ("_before", "_most", "_second", "now")

    def __init__(self) -> None:
        self.now = self._most = self._before = self._second = 0

    def enter(self, time: float) -> None:
        second = int(time)
        if second != self._second:
            self._turn(second)
        self.now += 1
        if self.now > self._most:
            self._most = self.now

    def leave(self, time: float) -> None:
        second = int(time)
        if second != self._second:
            self._turn(second)
        self.now -= 1

    def at(self, time: float) -> int:
        if int(time) != self._second:
            self._turn(int(time))
        return max(self._before, self._most)

    def _turn(self, second: int) -> None:
        self._before = self._most if second == self._second + 1 else self.now
        self._second, self._most = second, self.now


class Metrics:
    def __init__(self) -> None:
        #: by verb, dry run, group, version, resource, subresource, scope and code
        self.requests: dict[Values, Requests] = {}
        #: the same, by what most requests can be told apart by at once
        self._plain: dict[tuple[str, str, str, str, str, bool, bool, int], Requests] = {}
        #: requests that last: by verb, group, version, resource, subresource and scope
        self.running: dict[Values, int] = {}
        self.inflight = {"readOnly": Peak(), "mutating": Peak()}
        self.terminations = Counter(
            "apiserver_request_terminations_total",
            "ALPHA",
            "Requests that the server ended to protect itself: too many at once, or too slow.",
            ("code", "component", "group", "resource", "scope", "subresource", "verb", "version"),
        )
        self.aborts = Counter(
            "apiserver_request_aborts_total",
            "ALPHA",
            "Requests whose time was up.",
            ("group", "resource", "scope", "subresource", "verb", "version"),
        )
        self.body_sizes = Histograms(
            "apiserver_request_body_size_bytes",
            "ALPHA",
            "Size of request bodies in bytes.",
            BODY_SIZES,
            ("group", "resource", "verb"),
        )
        self.event_sizes = Histograms(
            "apiserver_watch_events_sizes",
            "ALPHA",
            "Size of events sent to watches, in bytes.",
            EVENT_SIZES,
            ("group", "resource", "version"),
        )
        self.terminated_watchers = Counter(
            "apiserver_terminated_watchers_total",
            "ALPHA",
            "Watches ended because their client did not keep up.",
            ("group", "resource"),
        )
        self.store_times = Histograms(
            "etcd_request_duration_seconds",
            "ALPHA",
            "Time that the store took for an operation, in seconds.",
            DURATIONS,
            ("group", "operation", "resource"),
        )
        #: requests of users that could be told, those of users that are told apart by name, and of others
        self.authenticated, self.unauthenticated = 0, 0
        self.users: dict[str, int] = {}
        self.allowed, self.not_allowed = 0, 0
        #: by name and endpoint: how a health check went last
        self.health: dict[Values, float] = {}
        self.health_checks = Counter(
            "kubernetes_healthchecks_total", "STABLE", "Health checks by how they went.", ("name", "status", "type")
        )
        self.admission = AdmissionMetrics()
        self.policy_checks = Histograms(
            "apiserver_validating_admission_policy_check_duration_seconds",
            "BETA",
            "Time that validations of a policy took, in seconds, by what came of it.",
            CHECKS,
            ("enforcement_action", "error_type", "policy", "policy_binding"),
        )
        self.mutation_checks = Histograms(
            "apiserver_mutating_admission_policy_check_duration_seconds",
            "ALPHA",
            "Time that mutations of a policy took, in seconds, by what came of it.",
            CHECKS,
            ("error_type", "policy", "policy_binding"),
        )

    def request(
        self, info: RequestInfo, request: Request, code: int, size: int, took: float, serves: Callable[..., bool]
    ) -> None:
        """`serves(group, version, resource, subresource)`: there is such a thing."""
        verb, place = info.verb, (info.group, info.version, info.resource, info.subresource)
        found = None
        plain = place[2] != "" and verb != "patch" and "dryRun" not in request.query
        if plain:
            at = (verb, *place, info.name != "", info.namespace != "", code)
            found = self._plain.get(at)
        if found is None:
            if place[2] and not serves(*place):
                return
            found = self._requests(info, request, code)
            if plain:
                self._plain[at] = found
        found.count += 1
        found.durations.observe(took)
        found.sli.observe(took - info.apart if took > info.apart else 0.0)
        if verb in ("get", "list"):
            found.sizes.observe(size)
        elif request.body and verb in BODY_VERBS:
            self.body_sizes.of(info.group, info.resource, BODY_VERBS[verb]).observe(len(request.body))

    def _requests(self, info: RequestInfo, request: Request, code: int) -> Requests:
        dry_run = "" if "dryRun" not in request.query else dry_run_of(request.query)
        subresource = info.subresource if info.resource else path_of(info)
        place = (info.group, info.version, info.resource, subresource)
        key = (verb_of(info, request), dry_run, *place, scope_of(info), str(code))
        return self.requests.setdefault(key, Requests())

    def terminated(self, info: RequestInfo, request: Request, code: int) -> None:
        place = (info.group, info.resource, scope_of(info), info.subresource, verb_of(info, request), info.version)
        self.terminations.add(str(code), "apiserver", *place)
        if code == 504:
            self.aborts.add(*place)

    def checked(self, endpoint: str, name: str, well: bool) -> None:
        """A health check was made."""
        self.health[name, endpoint] = float(well)
        self.health_checks.add(name, "success" if well else "error", endpoint)

    def user(self, name: str) -> None:
        """Somebody has authenticated."""
        self.authenticated += 1
        if name not in KNOWN_USERS:
            if "@" not in name:
                return
            name = "email_id"
        self.users[name] = self.users.get(name, 0) + 1

    def stored(self, operation: str, group: str, resource: str, took: float) -> None:
        self.store_times.of(group, operation, resource).observe(took)


class AdmissionMetrics:
    """`kind`: `admit` or `validate`; of webhooks `admit` or `validating`."""

    def __init__(self) -> None:
        head = "apiserver_admission"
        labels = ("name", "operation", "rejected", "type")
        self.steps = Histograms(
            f"{head}_step_admission_duration_seconds",
            "STABLE",
            "Time that all plugins together took, in seconds.",
            ADMISSION,
            labels[1:],
        )
        self.controllers = Histograms(
            f"{head}_controller_admission_duration_seconds",
            "STABLE",
            "Time that each plugin took, in seconds.",
            ADMISSION,
            labels,
        )
        self.webhooks = Histograms(
            f"{head}_webhook_admission_duration_seconds",
            "STABLE",
            "Time that each webhook took, in seconds.",
            (*ADMISSION, 10, 25),
            labels,
        )
        self.webhook_requests = Counter(
            f"{head}_webhook_request_total", "ALPHA", "Calls of webhooks.", ("code", *labels)
        )
        self.rejections = Counter(
            f"{head}_webhook_rejection_count",
            "ALPHA",
            "Refusals by webhooks, and by those that could not be called.",
            ("error_type", "name", "operation", "rejection_code", "type"),
        )
        self.fail_open = Counter(
            f"{head}_webhook_fail_open_count",
            "ALPHA",
            "Failures of webhooks that were passed over.",
            ("name", "type"),
        )
        conditions = ("kind", "name", "operation", "type")
        self.condition_times = Histograms(
            f"{head}_match_condition_evaluation_seconds",
            "ALPHA",
            "Time that the match conditions took, in seconds.",
            ADMISSION,
            conditions,
        )
        self.condition_errors = Counter(
            f"{head}_match_condition_evaluation_errors_total",
            "ALPHA",
            "Match conditions that could not be evaluated.",
            conditions,
        )
        self.condition_exclusions = Counter(
            f"{head}_match_condition_exclusions_total",
            "ALPHA",
            "Writes that match conditions left out.",
            conditions,
        )

    def webhook(
        self, name: str, kind: str, operation: str, took: float, code: int, *, rejected: bool, why: str = ""
    ) -> None:
        """`why`: what kind of refusal; `code`: 200, or that of the refusal or failure."""
        shown, said = str(min(code, MAX_CODE)), "true" if rejected else "false"
        self.webhook_requests.add(shown, name, operation, said, kind)
        self.webhooks.observe(took, name, operation, said, kind)
        if why:
            self.rejections.add(why, name, operation, shown, kind)


def verb_of(info: RequestInfo, request: Request) -> str:
    """GET, LIST, WATCH, POST, PUT, PATCH, APPLY, DELETE, CONNECT; `other` for what nobody has heard of."""
    verb = info.verb
    if verb == "patch":
        return "APPLY" if request.headers.get("content-type", "").startswith("application/apply-patch") else "PATCH"
    if verb in _VERBS:
        return _VERBS[verb]
    return request.method if request.method in _METHODS else "other"


_VERBS = {
    "get": "GET", "list": "LIST", "watch": "WATCH", "create": "POST", "update": "PUT", "delete": "DELETE",
    "deletecollection": "DELETE",
}  # fmt: skip
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"}
_PATHS = {"healthz", "livez", "readyz", "metrics"}


def scope_of(info: RequestInfo) -> str:
    if info.name or info.verb == "create":
        return "resource"
    if info.namespace:
        return "namespace"
    return "cluster" if info.resource else ""


def path_of(info: RequestInfo) -> str:
    """Where what is no resource stands, for the few paths that are told apart."""
    first = info.path.lstrip("/").partition("/")[0]
    return f"/{first}" if first in _PATHS else ""


def dry_run_of(query: str) -> str:
    from urllib.parse import parse_qs

    asked = parse_qs(query, keep_blank_values=True).get("dryRun", [])
    return ",".join(sorted(set(asked))) if all(value == "All" for value in asked) else "invalid"


def size_of(reply: Response) -> int:
    body = reply.body
    return len(body) if isinstance(body, bytes) else sum(map(len, body))
