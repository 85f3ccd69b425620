"""Nothing is made that its namespace has no quota for: used amounts are counted up before the object is written.

All requests of a namespace that wait while its quotas are being written are decided together, in the order they came,
and charged in one transaction that holds only if nobody else has changed those quotas. So the count is exact with any
number of requests and API servers. A write that is not made after all is paid back; the controller's recount sees to
what a crash leaves. What a quota allows and what is used is kept in its status; a limit that the status does not know
yet is counted here, so that a quota holds from its first moment on.

Source: k8s.io/apiserver/pkg/admission/plugin/resourcequota/{admission,controller,resource_access}.go
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sampan.api import errors, quota
from sampan.api.kind import Obj
from sampan.api.quota import CLAIMS, DEVICE_CLAIMS, PODS, SERVICES, Amounts, Devices, Selector
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.api import Api
from sampan.apiserver.cache import Record, encode
from sampan.store.contract import Compare, Op, Put

IGNORED = {("", "events"), ("events.k8s.io", "events")}
ATTEMPTS = 10
SECONDS = 10


@dataclass(frozen=True, slots=True)
class Limited:
    """What may be used only where a quota says how much of it: amounts of `resource` whose name contains one of
    `contains`, and objects in one of the `scopes` (pods of a priority class, for example)."""

    resource: quota.Resource
    contains: tuple[str, ...] = ()
    scopes: tuple[Selector, ...] = ()


@dataclass(slots=True, eq=False)
class _Request:
    """Something to be charged, or (`refund`) to be paid back. `charged`: by the name of the quota."""

    api: Api
    attributes: Attributes | None
    done: asyncio.Future[None]
    charged: dict[str, Amounts] = field(default_factory=dict)


class _Account:
    """A quota as it would be once the requests before are written."""

    __slots__ = ("before", "hard", "obj", "record", "used")

    def __init__(self, api: Api, record: Record) -> None:
        self.record = record
        self.obj = record.obj()
        status = self.obj.get("status") or {}
        self.before: Obj = {name: status.get(name) or {} for name in ("hard", "used")}
        self.hard: Amounts = (self.obj.get("spec") or {}).get("hard") or {}
        self.used: Amounts = {name: amount for name, amount in self.before["used"].items() if name in self.hard}
        if any(name not in self.used for name in self.hard):
            devices = _devices(api, record.namespace)
            counted = quota.recount(self.obj, devices.objects, api.clock(), devices.classes)
            self.used = {**counted, **self.used}

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def changed(self) -> bool:
        return self.before != {"hard": self.hard, "used": self.used}

    @property
    def value(self) -> bytes:
        # DEVIATION: managedFields do not say that the API server wrote the status
        return encode({**self.obj, "status": {"hard": self.hard, "used": self.used}})


def _listed(api: Api, namespace: str, resource: quota.Resource) -> Iterable[Obj] | None:
    try:
        cache = api.cached(*resource)
    except KeyError:
        return None
    return (record.obj() for record in cache.list(namespace))


def _devices(api: Api, namespace: str) -> Devices:
    classes = _listed(api, "", quota.DEVICE_CLASSES)
    return Devices(quota.device_classes(classes or ()), functools.partial(_listed, api, namespace))


class ResourceQuota(Plugin):
    operations = frozenset({"CREATE", "UPDATE"})
    subresources = frozenset({"", "resize", "status"})

    def __init__(self, limited: Sequence[Limited] = ()) -> None:
        self.limited = tuple(limited)
        self._waiting: dict[str, list[_Request]] = {}
        self._working: dict[str, asyncio.Task[None]] = {}

    def concerns(self, attributes: Attributes) -> bool:
        resource = (attributes.group, attributes.resource)
        if not super().concerns(attributes) or resource in IGNORED or resource == ("", "namespaces"):
            return False
        if not attributes.call.kind.names.namespaced:
            return False
        match attributes.operation, attributes.subresource:
            case "CREATE", "":
                return True
            case "UPDATE", "":
                return resource in (PODS, SERVICES, CLAIMS)
            case "UPDATE", "resize":
                return resource == PODS
            case "UPDATE", "status":
                return resource == CLAIMS
        return False

    async def validate(self, attributes: Attributes) -> None:
        """Raises 403 where a quota would be exceeded, or cannot be kept for want of requests or limits."""
        api, namespace = attributes.api, attributes.namespace
        if _stays(attributes):
            return
        if not namespace or not (self.limited or api.cached("", "resourcequotas").span(namespace)):
            return
        request = await self._decide(namespace, api, attributes, {})
        if request.charged:
            attributes.undo.append(functools.partial(self._pay_back, namespace, api, request.charged))

    async def _pay_back(self, namespace: str, api: Api, charged: dict[str, Amounts]) -> None:
        await self._decide(namespace, api, None, charged)

    async def _decide(
        self, namespace: str, api: Api, attributes: Attributes | None, charged: dict[str, Amounts]
    ) -> _Request:
        request = _Request(api, attributes, asyncio.get_running_loop().create_future(), charged)
        self._waiting.setdefault(namespace, []).append(request)
        if namespace not in self._working:
            self._working[namespace] = asyncio.create_task(self._work(namespace))
        try:
            async with asyncio.timeout(SECONDS):
                await request.done
        except TimeoutError:
            raise errors.internal("resource quota evaluation timed out") from None
        return request

    async def _work(self, namespace: str) -> None:
        try:
            while requests := self._waiting.pop(namespace, None):
                try:
                    await self._settle(namespace, requests)
                except Exception as error:
                    for request in requests:
                        _refuse(request, error)
        finally:
            del self._working[namespace]

    async def _settle(self, namespace: str, requests: list[_Request]) -> None:
        """Answer all of them. Raises what the store does; then none is admitted that has no answer yet."""
        api = requests[0].api
        cache = api.cached("", "resourcequotas")
        for _ in range(ATTEMPTS):
            accounts = [_Account(api, record) for record in cache.list(namespace)]
            left = [request for request in requests if not request.done.done() and not self._charge(request, accounts)]
            changed = [account for account in accounts if account.changed]
            if not changed:
                break
            keys = [(cache.prefix + account.record.key).encode() for account in changed]
            unchanged = [
                Compare(key, "mod", "=", account.record.revision) for key, account in zip(keys, changed, strict=True)
            ]
            puts: list[Op] = [Put(key, account.value) for key, account in zip(keys, changed, strict=True)]
            result = await api.store.txn(unchanged, puts)
            await api.cache.reach(result.revision)
            if result.succeeded:
                break
        else:
            raise errors.conflict("", "resourcequotas", changed[0].name)
        for request in left:
            if not request.done.done():
                request.done.set_result(None)

    def _charge(self, request: _Request, accounts: list[_Account]) -> bool:
        """Put it on the accounts. True: it is answered, and nothing is to be written for it."""
        if request.attributes is None:
            for account in accounts:
                account.used = quota.minus(account.used, request.charged.get(account.name, {}))
            return False
        try:
            request.charged = check(request.attributes, accounts, self.limited)
        except errors.StatusError as error:
            request.charged = {}
            _refuse(request, error)
            return True
        if request.attributes.dry_run:
            request.charged = {}
        for account in accounts:
            account.used = quota.plus(account.used, request.charged.get(account.name, {}))
        return False


def _refuse(request: _Request, error: Exception) -> None:
    if not request.done.done():
        request.done.set_exception(error)


def check(attributes: Attributes, accounts: list[_Account], limited: Sequence[Limited] = ()) -> dict[str, Amounts]:
    """What the request would use of each quota. Raises 403, and 500 (upstream's answer) for a scope without a quota."""
    obj, old = attributes.obj, attributes.old
    resource = (attributes.group, attributes.resource)
    if obj is None or (attributes.subresource == "status" and not _claims_more(obj, old)):
        return {}
    devices = _devices(attributes.api, attributes.namespace) if resource == DEVICE_CLAIMS else quota.NO_DEVICES
    tracks = functools.partial(quota.tracks, resource, classes=devices.classes)
    matches = functools.partial(quota.matches, resource, classes=devices.classes)
    interesting = [account for account in accounts if matches(account.obj, account.hard, obj)]
    for account in interesting:
        tracked = [name for name in account.hard if tracks(name)]
        missing = quota.constraint(resource, tracked, obj)
        if missing:
            raise attributes.forbidden(f"failed quota: {account.name}: {missing}")
        unknown = sorted(name for name in tracked if name not in account.used)
        if unknown:
            why = f"status unknown for quota: {account.name}, resources: {','.join(sorted(tracked))}"
            raise attributes.forbidden(why)
    if not interesting and not limited:
        return {}
    now = attributes.api.clock()
    asked = quota.usage(resource, obj, now, devices)
    negative = sorted(name for name, amount in asked.items() if amount.startswith("-"))
    if negative:
        raise attributes.forbidden(f"quota usage is negative for resource(s): {','.join(negative)}")
    before = quota.usage(resource, old, now, devices) if old is not None else {}
    if limited and quota.nonzero(quota.minus(asked, before)):
        covered = {name for account in interesting for name in account.hard if tracks(name)}
        _check_covered(attributes, resource, asked, accounts, covered, limited)
    out: dict[str, Amounts] = {}
    for account in interesting:
        delta = asked
        if old is not None and matches(account.obj, account.hard, old):
            delta = quota.minus(asked, before)
        delta = {name: amount for name, amount in quota.nonzero(delta).items() if name in account.hard}
        if attributes.subresource != "status":
            _check_account(attributes, account, delta)
        if delta:
            out[account.name] = delta
    return out


def _check_covered(
    attributes: Attributes,
    resource: quota.Resource,
    asked: Amounts,
    accounts: list[_Account],
    covered: set[str],
    limited: Sequence[Limited],
) -> None:
    """What is limited by configuration has a quota."""
    used = quota.nonzero(asked)
    names = {
        name for item in limited if item.resource == resource for name in used if any(c in name for c in item.contains)
    }
    if names - covered:
        raise attributes.forbidden(f"insufficient quota to consume: {','.join(sorted(names - covered))}")
    assert attributes.obj is not None
    wanted = [scope for item in limited for scope in item.scopes if quota.in_scopes(resource, [scope], attributes.obj)]
    given = {
        scope.scope
        for account in accounts
        for scope in quota.selectors(account.obj)
        if quota.in_scopes(resource, [scope], attributes.obj)
    }
    missing = [scope for scope in wanted if scope.scope not in given]
    if missing:
        shown = " ".join(f"{{{scope.scope} {scope.operator} [{' '.join(scope.values)}]}}" for scope in missing)
        raise errors.StatusError(500, "", f"insufficient quota to match these scopes: [{shown}]")


def _check_account(attributes: Attributes, account: _Account, delta: Amounts) -> None:
    would = quota.plus({name: account.used.get(name, "0") for name in delta}, delta)
    over = sorted(quota.exceeded(would, account.hard))
    if over:

        def shown(amounts: Amounts) -> str:
            return ",".join(f"{name}={amounts[name]}" for name in over)

        raise attributes.forbidden(
            f"exceeded quota: {account.name}, requested: {shown(delta)}, used: {shown(account.used)}, "
            f"limited: {shown(account.hard)}"
        )


def _stays(attributes: Attributes) -> bool:
    """A pod that is written and uses what it used, of the same quotas."""
    old, new = attributes.old, attributes.obj
    if (attributes.group, attributes.resource) != PODS or attributes.subresource or old is None or new is None:
        return False
    return quota.ends_by_itself(old) == quota.ends_by_itself(new)


def _claims_more(new: Obj, old: Obj | None) -> bool:
    """The status of a claim says that something else is allocated than before."""

    def facts(claim: Obj) -> tuple[object, ...]:
        status = claim.get("status") or {}
        allocated = (status.get("allocatedResources") or {}).get("storage")
        return allocated, status.get("currentVolumeAttributesClassName"), status.get("modifyVolumeStatus")

    return old is None or facts(new) != facts(old)
