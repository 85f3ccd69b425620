"""The registered webhooks, in the order they are asked: by the name of their configuration, then as they stand in it.

They are read from the watch cache and compiled when a configuration has changed; a write costs a look at one number.

Source: k8s.io/apiserver/pkg/admission/configuration/{mutating,validating}_webhook_manager.go
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import orjson

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.api.selectors import label_selector_from
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.api import Api
from sampan.apiserver.webhooks.client import CallError, WebhookClients
from sampan.apiserver.webhooks.match import GROUP, Matched, Matcher, converted, rule_from
from sampan.apiserver.webhooks.review import Answer, Denied, Lie, no_dry_run, review, verify

if TYPE_CHECKING:
    from sampan.apiserver.policies.variables import Expression

log = logging.getLogger("sampan.apiserver.webhooks")
KNOWN_VERSIONS = ("v1", "v1beta1")
#: as metrics call them
Kind = Literal["admit", "validating"]
HARMLESS = ("None", "NoneOnDryRun")
MAX_REVIEW = 8 << 20


class CallFailed(Exception):
    """The webhook could not be asked, or its answer not be used: what follows is for its failurePolicy to say."""

    def __init__(self, hook: Hook, why: str, code: int = 400) -> None:
        """`code`: what the failure counts as."""
        super().__init__(f'failed calling webhook "{hook.name}": {why}')
        self.code = code


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook. `uid` tells it from all others, `review` is the AdmissionReview version it is asked in, `kind` what
    metrics call its kind."""

    uid: str
    configuration: str
    name: str
    config: Obj
    matcher: Matcher
    conditions: tuple[Expression, ...]
    ignores_failure: bool
    timeout: int
    side_effects: str
    review: str
    reinvocable: bool
    kind: Kind

    async def concerns(self, attributes: Attributes) -> Matched | None:
        """How it wants to see the write, or None. Raises 403 when a match condition cannot be evaluated."""
        found = self.matcher.matches(attributes)
        if found is None or not self.conditions:
            return found
        from sampan.apiserver.policies import conditions
        from sampan.apiserver.policies.variables import activation

        values = await activation(attributes, found, with_namespace=False)
        counted = conditions.Counted(attributes, "webhook", self.name, self.kind)
        try:
            return found if await conditions.hold(self.conditions, values, self.ignores_failure, counted) else None
        except conditions.ConditionsFailed as error:
            raise errors.forbidden(attributes.group, attributes.resource, attributes.name, str(error)) from None

    async def ask(
        self, clients: WebhookClients, attributes: Attributes, matched: Matched, obj: Obj | None, *, mutating: bool
    ) -> Answer:
        """`obj`: the object in the version asked for. Raises CallFailed, and 400 where it cannot take a dry run."""
        if attributes.dry_run and self.side_effects not in HARMLESS:
            raise no_dry_run(self.name)
        if not self.review:
            known = ", ".join(KNOWN_VERSIONS)
            said = f"webhook does not accept known AdmissionReview versions ({known})"
            raise CallFailed(self, f"could not create admission objects: {said}")
        old = await converted(attributes.api, attributes.old, attributes.kind, matched.kind)
        uid, body = review(attributes, self.review, matched.resource, matched.kind, obj, old)
        try:
            reply = await clients.post(self.config, orjson.dumps(body), timeout=self.timeout, max_body=MAX_REVIEW)
        except CallError as error:
            raise CallFailed(self, f"failed to call webhook: {error}", error.code) from None
        try:
            answer = verify(reply, uid, self.review, mutating=mutating)
        except Lie as error:
            raise CallFailed(self, f"received invalid webhook response: {error}", 503) from None
        for key, value in answer.annotations.items():
            attributes.annotate(f"{self.name}/{key}", value)
        for text in answer.warnings:
            attributes.warn(text)
        return answer

    @contextlib.contextmanager
    def counted(self, attributes: Attributes) -> Iterator[None]:
        """Note how long the call took, and what came of it."""
        metrics, began = attributes.api.metrics.admission, time.perf_counter()
        code, rejected, why = 200, False, ""
        try:
            yield
        except CallFailed as error:
            code, rejected = error.code, not self.ignores_failure
            why = "calling_webhook_error" if rejected else ""
            if self.ignores_failure:
                metrics.fail_open.add(self.name, self.kind)
            raise
        except Denied as error:
            code, rejected, why = error.code, True, "no_error"
            raise
        except errors.StatusError:
            code, rejected, why = 0, True, "apiserver_internal_error"
            raise
        finally:
            took = time.perf_counter() - began
            attributes.call.info.apart += took
            metrics.webhook(self.name, self.kind, attributes.operation, took, code, rejected=rejected, why=why)

    def failed(self, error: CallFailed) -> errors.StatusError | None:
        """What a failure means: nothing (it fails open), or a refusal."""
        log.warning("%s, failing %s", error, "open" if self.ignores_failure else "closed")
        return None if self.ignores_failure else errors.internal(str(error))


class Hooks:
    """All webhooks of one resource (`mutatingwebhookconfigurations` or `validating...`)."""

    def __init__(self, resource: str) -> None:
        self._resource = resource
        self._kind: Kind = "admit" if resource.startswith("mutating") else "validating"
        self._at = -1
        self._hooks: tuple[Hook, ...] = ()
        self._reading = asyncio.Lock()

    async def current(self, api: Api) -> tuple[Hook, ...]:
        """Match conditions are compiled beside the event loop; the writes that they may concern wait."""
        cache = api.cached(GROUP, self._resource)
        if cache.last != self._at:
            async with self._reading:
                while (at := cache.last) != self._at:
                    configurations = [record.obj() for record in cache.list("")]
                    self._hooks = await api.workers.run(_all_compiled, configurations, self._kind, user=self)
                    self._at = at
        return self._hooks


def _all_compiled(configurations: Sequence[Obj], kind: Kind) -> tuple[Hook, ...]:
    return tuple(hook for configuration in configurations for hook in _compiled(configuration, kind))


def _compiled(configuration: Obj, kind: Kind) -> list[Hook]:
    name = configuration["metadata"]["name"]
    seen: dict[str, int] = {}
    out = []
    for raw in configuration.get("webhooks") or ():
        count = seen[raw["name"]] = seen.get(raw["name"], -1) + 1
        out.append(_hook(name, f"{name}/{raw['name']}/{count}", raw, kind))
    return out


def _hook(configuration: str, uid: str, raw: Obj, kind: Kind) -> Hook:
    versions = raw.get("admissionReviewVersions") or ()
    matcher = Matcher(
        tuple(rule_from(rule) for rule in raw.get("rules") or ()),
        (),
        raw.get("matchPolicy") == "Equivalent",
        label_selector_from(raw.get("namespaceSelector") or {}),
        label_selector_from(raw.get("objectSelector") or {}),
    )
    return Hook(
        uid,
        configuration,
        raw["name"],
        raw.get("clientConfig") or {},
        matcher,
        _conditions(raw.get("matchConditions") or ()),
        raw.get("failurePolicy") == "Ignore",
        raw.get("timeoutSeconds") or 10,
        raw.get("sideEffects") or "",
        next((version for version in versions if version in KNOWN_VERSIONS), ""),
        raw.get("reinvocationPolicy") == "IfNeeded",
        kind,
    )


def _conditions(raw: Sequence[Obj]) -> tuple[Expression, ...]:
    if not raw:
        return ()
    from sampan.apiserver.policies.conditions import compile_conditions

    return compile_conditions(raw)
