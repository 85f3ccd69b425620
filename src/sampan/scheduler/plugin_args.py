"""The arguments of the built-in plugins: checked, and read.

Source: pkg/scheduler/apis/config/{types_pluginargs.go,v1/defaults.go,validation/validation_pluginargs.go}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.api import durations, names
from sampan.api.field import ErrorList, Path
from sampan.api.selectors import EVERYTHING
from sampan.scheduler.plugins.resources_fit import CPU_AND_MEMORY, Strategy
from sampan.scheduler.terms import NodeSelector, PreferredNode, Spread

Obj = dict[str, Any]
STRATEGIES = {"LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"}
REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def strict(obj: Obj, allowed: set[str], path: Path, errors: ErrorList) -> None:
    for name in obj:
        if name not in allowed:
            errors.forbidden(path / name, f"unknown field; it may be one of {', '.join(sorted(allowed))}")


def seconds(text: Any) -> float:
    """A duration as Go writes it. Raises ValueError."""
    try:
        return durations.seconds(str(text))
    except ValueError:
        raise ValueError("is no duration: write it as `15s` or `1m30s`") from None


# -- checking ----------------------------------------------------------------------------------------------------------


def validate(name: str, args: Obj, path: Path, errors: ErrorList) -> None:
    """Of plugins that are not built in nothing is known."""
    found = _CHECKS.get(name)
    if found is not None:
        allowed, check = found
        strict(args, allowed | {"apiVersion", "kind"}, path, errors)
        check(args, path, errors)


def _preemption(args: Obj, path: Path, errors: ErrorList) -> None:
    percentage, absolute = args.get("minCandidateNodesPercentage", 10), args.get("minCandidateNodesAbsolute", 100)
    first, second = path / "minCandidateNodesPercentage", path / "minCandidateNodesAbsolute"
    if not 0 <= percentage <= 100:
        errors.invalid(first, percentage, "not in valid range [0, 100]")
    if absolute < 0:
        errors.invalid(second, absolute, "not in valid range [0, inf)")
    if percentage == 0 and absolute == 0:
        errors.invalid(first, percentage, "cannot be zero at the same time as minCandidateNodesAbsolute")
        errors.invalid(second, absolute, "cannot be zero at the same time as minCandidateNodesPercentage")


def _inter_pod(args: Obj, path: Path, errors: ErrorList) -> None:
    weight = args.get("hardPodAffinityWeight", 1)
    if not 0 <= weight <= 100:
        errors.invalid(path / "hardPodAffinityWeight", weight, "not in valid range [0, 100]")


def _node_affinity(args: Obj, path: Path, errors: ErrorList) -> None:
    added = args.get("addedAffinity") or {}
    strict(added, {REQUIRED, PREFERRED}, path / "addedAffinity", errors)
    required = added.get(REQUIRED)
    if required is not None and not required.get("nodeSelectorTerms"):
        where = path / "addedAffinity" / REQUIRED / "nodeSelectorTerms"
        errors.required(where, "must have at least one node selector term")


def _resources(raw: list[Obj], path: Path, errors: ErrorList) -> None:
    for index, item in enumerate(raw):
        weight = item.get("weight", 1)
        if not 0 < weight <= 100:
            what = f"resource weight of {item.get('name', '')} not in valid range (0, 100]"
            errors.invalid(path @ index / "weight", weight, what)


def _balanced(args: Obj, path: Path, errors: ErrorList) -> None:
    seen = set()
    for index, item in enumerate(args.get("resources") or ()):
        where = path / "resources" @ index
        if item.get("name") in seen:
            errors.duplicate(where / "name", item.get("name"))
        seen.add(item.get("name"))
        if item.get("weight", 1) != 1:
            errors.invalid(where / "weight", item["weight"], "must be 1")


def _fit(args: Obj, path: Path, errors: ErrorList) -> None:
    for index, name in enumerate(args.get("ignoredResources") or ()):
        errors.each(path / "ignoredResources" @ index, name, names.is_qualified_name(name))
    for index, group in enumerate(args.get("ignoredResourceGroups") or ()):
        where = path / "ignoredResourceGroups" @ index
        if "/" in group:
            errors.invalid(where, group, "resource group name can't contain '/'")
        errors.each(where, group, names.is_qualified_name(group))
    strategy, where = args.get("scoringStrategy"), path / "scoringStrategy"
    if strategy is None:
        return
    strict(strategy, {"type", "resources", "requestedToCapacityRatio"}, where, errors)
    kind, ratio = strategy.get("type", "LeastAllocated"), strategy.get("requestedToCapacityRatio")
    if kind not in STRATEGIES:
        errors.not_supported(where / "type", kind, STRATEGIES)
    _resources(strategy.get("resources") or [], where / "resources", errors)
    if ratio is not None:
        # whatever the type is; upstream's path has no requestedToCapacityRatio
        _function(ratio.get("shape") or [], where / "shape", errors)
    elif kind == "RequestedToCapacityRatio":
        what = "must be specified when type is RequestedToCapacityRatio"
        errors.required(where / "requestedToCapacityRatio", what)


def _function(shape: list[Obj], path: Path, errors: ErrorList) -> None:
    if not shape:
        errors.required(path, "at least one point must be specified")
        return
    points = [(point.get("utilization", 0), point.get("score", 0)) for point in shape]
    for index in range(1, len(points)):
        if points[index - 1][0] >= points[index][0]:
            errors.invalid(path @ index / "utilization", points[index][0], "values must be sorted in increasing order")
            break
    for index, (utilization, score) in enumerate(points):
        if not 0 <= utilization <= 100:
            errors.invalid(path @ index / "utilization", utilization, "not in valid range [0, 100]")
        if not 0 <= score <= 10:
            errors.invalid(path @ index / "score", score, "not in valid range [0, 10]")


def _spread(args: Obj, path: Path, errors: ErrorList) -> None:
    kind, constraints = args.get("defaultingType", "System"), args.get("defaultConstraints") or []
    if kind not in ("System", "List"):
        errors.not_supported(path / "defaultingType", kind, ("System", "List"))
    elif kind == "System" and constraints:
        errors.invalid(path / "defaultingType", kind, "when .defaultConstraints are not empty")
    seen = set()
    for index, item in enumerate(constraints):
        where = path / "defaultConstraints" @ index
        skew, key, action = item.get("maxSkew", 0), item.get("topologyKey", ""), item.get("whenUnsatisfiable", "")
        if skew <= 0:
            errors.invalid(where / "maxSkew", skew, "not in valid range (0, inf)")
        if not key:
            errors.required(where / "topologyKey", "can not be empty")
        else:
            errors.each(where / "topologyKey", key, names.is_qualified_name(key))
        if not action:
            errors.required(where / "whenUnsatisfiable", "can not be empty")
        elif action not in ("DoNotSchedule", "ScheduleAnyway"):
            errors.not_supported(where / "whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
        if item.get("labelSelector") is not None:
            what = "constraint must not define a selector, as they deduced for each pod"
            errors.forbidden(where / "labelSelector", what)
        if (key, action) in seen:
            errors.duplicate(where, f"{{{key}, {action}}}")
        seen.add((key, action))


def _binding(args: Obj, path: Path, errors: ErrorList) -> None:
    timeout = args.get("bindTimeoutSeconds", 600)
    if timeout < 0:
        what = "invalid BindTimeoutSeconds, should not be a negative value"
        errors.invalid(path / "bindTimeoutSeconds", timeout, what)
    if args.get("shape"):
        _function(args["shape"], path / "shape", errors)


_CHECKS: dict[str, tuple[set[str], Callable[[Obj, Path, ErrorList], None]]] = {
    "DefaultPreemption": ({"minCandidateNodesPercentage", "minCandidateNodesAbsolute"}, _preemption),
    "InterPodAffinity": ({"hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods"}, _inter_pod),
    "NodeAffinity": ({"addedAffinity"}, _node_affinity),
    "NodeResourcesBalancedAllocation": ({"resources"}, _balanced),
    "NodeResourcesFit": ({"ignoredResources", "ignoredResourceGroups", "scoringStrategy"}, _fit),
    "PodTopologySpread": ({"defaultConstraints", "defaultingType"}, _spread),
    "VolumeBinding": ({"bindTimeoutSeconds", "shape"}, _binding),
}


# -- reading -----------------------------------------------------------------------------------------------------------


def strategy(args: Obj) -> Strategy:
    raw = args.get("scoringStrategy") or {}
    shape = (raw.get("requestedToCapacityRatio") or {}).get("shape")
    return Strategy(
        raw.get("type") or "LeastAllocated",
        weights(raw.get("resources")),
        tuple((p.get("utilization", 0), p.get("score", 0)) for p in shape) if shape else Strategy().shape,
    )


def capacity_shape(args: Obj) -> tuple[tuple[int, int], ...]:
    """By default nodes are the better the less of their storage would be used."""
    return tuple((p.get("utilization", 0), p.get("score", 0)) for p in args.get("shape") or ()) or ((0, 10), (100, 0))


def weights(resources: list[Obj] | None) -> tuple[tuple[str, int], ...]:
    if not resources:
        return tuple(CPU_AND_MEMORY)
    return tuple((item["name"], item.get("weight") or 1) for item in resources)


def default_spreads(args: Obj) -> tuple[Spread, ...] | None:
    """None: the system's."""
    if args.get("defaultingType", "System") == "System":
        return None
    return tuple(
        Spread(int(item["maxSkew"]), item["topologyKey"], item["whenUnsatisfiable"] == "DoNotSchedule", EVERYTHING)
        for item in args.get("defaultConstraints") or ()
    )


def added_affinity(args: Obj) -> tuple[NodeSelector | None, tuple[PreferredNode, ...]]:
    added = args.get("addedAffinity") or {}
    required = added.get(REQUIRED)
    return (
        NodeSelector.of(None, required) if required is not None else None,
        tuple(PreferredNode.of(item) for item in added.get(PREFERRED) or ()),
    )
