"""horizontal-pod-autoscaler-controller: as many replicas as the metrics ask for, within limits.

`hpa_metrics.py` asks, `hpa_replicas.py` counts, `hpa_behavior.py` slows down; here they come together, and conditions,
status and events say what was decided. Metrics do not announce themselves, so each autoscaler is looked at every 15
seconds, and when it is made or changed.

Source: kubernetes/pkg/controller/podautoscaler/horizontal.go
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from sampan.api import quantity
from sampan.api.selectors import LabelSelector, parse_label_selector
from sampan.api.times import format_time
from sampan.client import Controller, Discovery, HttpError, Resource, StatusError, key_of, of_kind
from sampan.client.errors import is_conflict
from sampan.controllers.context import Context
from sampan.controllers.hpa_behavior import History
from sampan.controllers.hpa_metrics import Metrics
from sampan.controllers.hpa_replicas import CannotCompute, Rules
from sampan.controllers.hpa_sources import Asked, Sources

Obj = dict[str, Any]
log = logging.getLogger("sampan.controller")
RESOURCE = "horizontalpodautoscalers.v2.autoscaling"
#: to write a scale that others write too
ATTEMPTS = 5
BELOW = "Current number of replicas below Spec.MinReplicas"


class Failed(Exception):
    """Said in conditions and events already; to be tried again at the next look."""


@dataclass(slots=True)
class _Look:
    """One look at one autoscaler: what it shall say afterwards."""

    hpa: Obj
    now: float
    status: Obj
    conditions: dict[str, Obj]

    @property
    def generation(self) -> int:
        return int(self.hpa["metadata"].get("generation", 0))

    def condition(self, kind: str, status: bool, reason: str, message: str) -> None:
        wanted = "True" if status else "False"
        old = self.conditions.get(kind)
        since = old["lastTransitionTime"] if old is not None and old["status"] == wanted else format_time(self.now)
        self.conditions[kind] = {
            "type": kind, "status": wanted, "lastTransitionTime": since, "reason": reason, "message": message,
            "observedGeneration": self.generation,
        }  # fmt: skip

    def is_true(self, kind: str) -> bool:
        found = self.conditions.get(kind)
        return found is not None and bool(found["status"] == "True")


class HorizontalPodAutoscalerController:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.clients("horizontal-pod-autoscaler")
        self.recorder = context.recorders("horizontal-pod-autoscaler", self.client)
        self.hpas = context.informers.get(RESOURCE)
        self.pods = context.informers.get("pods")
        self.controller = Controller(
            "horizontal-pod-autoscaler-controller", self.reconcile, workers=5, synced=(self.hpas, self.pods)
        )
        self.discovery = Discovery(self.client)
        self.sources = Sources(Metrics(self.client, self.discovery))
        self._history: dict[str, History] = {}
        self._selectors: dict[str, LabelSelector] = {}
        self.hpas.add_handler(self.controller.enqueue, self._changed, self._gone)

    async def run(self) -> None:
        await self.controller.run()

    def _changed(self, old: Obj, new: Obj) -> None:
        if old["spec"] != new["spec"]:
            self.controller.enqueue(new)

    def _gone(self, hpa: Obj) -> None:
        self._history.pop(key_of(hpa), None)
        self._selectors.pop(key_of(hpa), None)

    async def reconcile(self, key: str) -> float | None:
        hpa = self.hpas.cache.by_key(key)
        if hpa is None:
            return None
        status = hpa.get("status") or {}
        look = _Look(
            hpa, self.context.clock(), dict(status), {item["type"]: item for item in status.get("conditions") or ()}
        )
        try:
            await self._look(look, key)
        except Failed as error:
            log.warning("horizontal pod autoscaler %s: %s", key, error)
        wanted = {"desiredReplicas": 0, **look.status}
        if look.conditions:
            wanted["conditions"] = list(look.conditions.values())
        if _said(wanted) != _said(status):
            await self._write(hpa, wanted)
        return self.context.options.horizontal_pod_autoscaler_sync_period

    async def _write(self, hpa: Obj, status: Obj) -> None:
        try:
            await self.client.update_status(RESOURCE, {**hpa, "status": status})
        except (StatusError, HttpError) as error:
            self.recorder.event(hpa, "Warning", "FailedUpdateStatus", str(error))
            raise

    async def _look(self, look: _Look, key: str) -> None:
        """Raises Failed."""
        hpa, spec = look.hpa, look.hpa["spec"]
        target, scale = await self._scale(look)
        current = scale["spec"].get("replicas", 0)
        low, high = spec.get("minReplicas", 1), spec["maxReplicas"]
        history = self._history.setdefault(key, History())
        history.begin(current, look.now)
        look.condition(
            "AbleToScale", True, "SucceededGetScale", "the HPA controller was able to get the target's current scale"
        )
        statuses: list[Obj] = []
        look.status |= {
            "observedGeneration": look.generation, "currentReplicas": current, "currentMetrics": statuses,
        }  # fmt: skip
        reason, wanted = "", current
        problem: CannotCompute | None = None
        if current == 0 and not look.is_true("ScaledToZero"):  # somebody else wants none, and shall have none
            said = "scaling is disabled since the replica count of the target is zero"
            look.condition("ScalingActive", False, "ScalingDisabled", said)
        elif current > high:
            reason, wanted = "Current number of replicas above Spec.MaxReplicas", high
        elif 0 < current < low:
            reason, wanted = BELOW, low
        else:
            asked, metric, problem = await self._asked(look, key, scale, statuses)
            if asked > current:
                reason = f"{metric} above target"
            elif asked < current:
                reason = "All metrics below target"
            wanted = self._normal(look, history, current, asked, low, high)
            if current == 0 and wanted < low:  # which has grown since; a behavior has nothing against staying at zero
                reason, wanted = reason or BELOW, low
        if wanted != current:
            await self._rescale(look, target, scale, wanted, reason)
            history.scaled(spec.get("behavior"), current, wanted, look.now)
            look.status["lastScaleTime"] = format_time(look.now)
            if wanted == 0:
                look.condition("ScaledToZero", True, "ScaledToZero", "the HPA controller scaled the workload to zero")
            else:
                said = "the HPA controller did not scale the workload to zero"
                look.condition("ScaledToZero", False, "NotScaledToZero", said)
        look.status["desiredReplicas"] = wanted
        if problem is not None:
            raise Failed(f"{hpa['metadata']['name']}: {problem}")

    # -- the target ----------------------------------------------------------------------------------------------------

    async def _scale(self, look: _Look) -> tuple[Resource, Obj]:
        meta, reference = look.hpa["metadata"], look.hpa["spec"]["scaleTargetRef"]
        try:
            target = await self._resource(reference)
            return target, await self.client.get_scale(target, reference["name"], meta["namespace"])
        except (StatusError, HttpError, CannotCompute) as error:
            self.recorder.event(look.hpa, "Warning", "FailedGetScale", str(error))
            said = f"the HPA controller was unable to get the target's current scale: {error}"
            look.condition("AbleToScale", False, "FailedGetScale", said)
            raise Failed(f"failed to query scale subresource: {error}") from None

    async def _resource(self, reference: Obj) -> Resource:
        version, kind = reference.get("apiVersion") or "v1", reference["kind"]
        try:
            return of_kind(version, kind)
        except KeyError:
            found = await self.discovery.of_kind(version, kind)
        if found is not None:
            return found
        group = version.rpartition("/")[0]
        for other in await self.discovery.all():
            if (other.resource.group, other.resource.kind) == (group, kind):
                return other.resource
        raise CannotCompute(f'no matches for kind "{kind}" in group "{group}"')

    async def _rescale(self, look: _Look, target: Resource, scale: Obj, wanted: int, reason: str) -> None:
        meta = scale["metadata"]
        try:
            for left in reversed(range(ATTEMPTS)):
                changed = {**scale, "spec": {**scale["spec"], "replicas": wanted}}
                try:
                    await self.client.update(target, changed, subresource="scale")
                    break
                except StatusError as error:
                    if not left or not is_conflict(error):
                        raise
                scale = await self.client.get_scale(target, meta["name"], meta["namespace"])
        except (StatusError, HttpError) as error:
            said = f"New size: {wanted}; reason: {reason}; error: {error}"
            self.recorder.event(look.hpa, "Warning", "FailedRescale", said)
            said = f"the HPA controller was unable to update the target scale: {error}"
            look.condition("AbleToScale", False, "FailedUpdateScale", said)
            raise Failed(f"failed to rescale: {error}") from None
        said = f"the HPA controller was able to update the target scale to {wanted}"
        look.condition("AbleToScale", True, "SucceededRescale", said)
        self.recorder.event(look.hpa, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {reason}")

    # -- what metrics ask for ------------------------------------------------------------------------------------------

    async def _asked(
        self, look: _Look, key: str, scale: Obj, statuses: list[Obj]
    ) -> tuple[int, str, CannotCompute | None]:
        """Replicas, which metric asks for them, and what is wrong with some of the metrics. Raises Failed when there is
        nothing to go by."""
        hpa, spec = look.hpa, look.hpa["spec"]
        try:
            selector, pods = self._selected(look, key, scale)
        except CannotCompute as error:
            look.status["currentMetrics"] = []
            raise self._failed(look, error) from None
        current = scale["spec"].get("replicas", 0)
        asked = Asked(
            hpa["metadata"]["namespace"], selector, pods, current, (scale.get("status") or {}).get("replicas", 0),
            self._rules(spec, look.now),
        )  # fmt: skip
        best, metric = 0, ""
        first: tuple[CannotCompute, str, str] | None = None
        invalid = 0
        for item in spec.get("metrics") or ():
            try:
                found = await self.sources.ask(item, asked)
            except CannotCompute as error:
                invalid += 1
                reason, message = self.sources.failure(item, error)
                self.recorder.event(hpa, "Warning", reason, message)
                first = first or (error, reason, message)
                statuses.append({"type": ""})
                continue
            statuses.append(found.status)
            if best == 0 or found.replicas > best:
                best, metric = found.replicas, found.name
        if first is None:
            problem = None
        else:
            count = len(spec.get("metrics") or ())
            problem = CannotCompute(f"invalid metrics ({invalid} invalid out of {count}), first error is: {first[0]}")
            if invalid >= count or best < current:
                said = f"the HPA was unable to compute the replica count: {first[2]}"
                look.condition("ScalingActive", False, first[1], said)
                raise self._failed(look, problem)
        said = f"the HPA was able to successfully calculate a replica count from {metric}"
        look.condition("ScalingActive", True, "ValidMetricFound", said)
        return best, metric, problem

    def _failed(self, look: _Look, error: CannotCompute) -> Failed:
        self.recorder.event(look.hpa, "Warning", "FailedComputeMetricsReplicas", str(error))
        return Failed(f"failed to compute desired number of replicas based on listed metrics: {error}")

    def _selected(self, look: _Look, key: str, scale: Obj) -> tuple[LabelSelector, list[Obj]]:
        """The pods that are scaled, and how they are chosen. Raises CannotCompute."""
        said = (scale.get("status") or {}).get("selector") or ""
        if not said:
            error = "selector is required"
            self.recorder.event(look.hpa, "Warning", "SelectorRequired", error)
            missing = "the HPA target's scale is missing a selector"
            look.condition("ScalingActive", False, "InvalidSelector", missing)
            raise CannotCompute(error)
        try:
            selector = parse_label_selector(said)
        except ValueError as wrong:
            error = f"couldn't convert selector into a corresponding internal selector object: {wrong}"
            self.recorder.event(look.hpa, "Warning", "InvalidSelector", error)
            look.condition("ScalingActive", False, "InvalidSelector", error)
            raise CannotCompute(error) from None
        self._selectors[key] = selector
        namespace = look.hpa["metadata"]["namespace"]
        pods = self.pods.cache.list(namespace, selector)
        several = self._others(namespace, pods)
        if len(several) > 1:
            listed = " ".join(f"{{{name.partition('/')[2]} {namespace}}}" for name in several)
            error = f"pods by selector {said} are controlled by multiple HPAs: [{listed}]"
            self.recorder.event(look.hpa, "Warning", "AmbiguousSelector", error)
            look.condition("ScalingActive", False, "AmbiguousSelector", error)
            raise CannotCompute(error)
        return selector, pods

    def _others(self, namespace: str, pods: list[Obj]) -> list[str]:
        """All autoscalers that choose some of these pods."""
        near = {key: of for key, of in self._selectors.items() if key.startswith(f"{namespace}/")}
        if len(near) < 2:
            return []
        labels = [pod["metadata"].get("labels") for pod in pods]
        return sorted(key for key, selector in near.items() if any(selector.matches(item) for item in labels))

    def _rules(self, spec: Obj, now: float) -> Rules:
        options = self.context.options
        behavior = spec.get("behavior") or {}

        def tolerance(name: str) -> float:
            said = (behavior.get(name) or {}).get("tolerance")
            return float(quantity.parse(said)) if said is not None else options.horizontal_pod_autoscaler_tolerance

        return Rules(
            tolerance("scaleUp"),
            tolerance("scaleDown"),
            options.horizontal_pod_autoscaler_cpu_initialization_period,
            options.horizontal_pod_autoscaler_initial_readiness_delay,
            now,
        )

    def _normal(self, look: _Look, history: History, current: int, asked: int, low: int, high: int) -> int:
        window = self.context.options.horizontal_pod_autoscaler_downscale_stabilization
        behavior = look.hpa["spec"].get("behavior")
        given = (current, asked, low, high, window, look.now)
        found = history.decide(*given) if behavior is None else history.decide_by(behavior, *given)
        look.condition("AbleToScale", True, *found.able)
        look.condition("ScalingLimited", found.limited, *found.limit)
        return found.replicas


def _said(status: Obj) -> Obj:
    """Without what is as good as not said."""
    return {name: value for name, value in status.items() if value}
