"""KubeSchedulerConfiguration: which schedulers there are, and with which plugins.

    apiVersion: kubescheduler.config.k8s.io/v1
    kind: KubeSchedulerConfiguration
    profiles:
      - schedulerName: default-scheduler
        plugins: {score: {disabled: [{name: ImageLocality}], enabled: [{name: NodeResourcesFit, weight: 5}]}}
        pluginConfig:
          - name: NodeResourcesFit
            args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}}

`read` gives a `Configuration` or raises ConfigurationError with every mistake in it; `build` makes a profile.

DEVIATION: `percentageOfNodesToScore` and `parallelism` are checked and have no effect: all nodes are always scored, in one
operation. Extenders are not called: a configuration with some is refused.

Source: pkg/scheduler/apis/config/{types.go,v1/default_plugins.go,validation/validation.go}, framework/runtime/framework.go
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import yaml

from sampan.api.field import ErrorList, Path
from sampan.scheduler import plugin_args
from sampan.scheduler.framework import Plugin
from sampan.scheduler.handle import Handle
from sampan.scheduler.profile import Profile, takes_part
from sampan.scheduler.registry import ABSENT, DEFAULTS, FACTORIES, Factory

Obj = dict[str, Any]
API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
DEFAULT_NAME = "default-scheduler"
#: extension points: upstream's name, and what plugins call it here
POINTS = {
    "preEnqueue": "pre_enqueue", "queueSort": "", "preFilter": "prefilter", "filter": "filter",
    "postFilter": "post_filter", "preScore": "", "score": "score", "reserve": "reserve", "permit": "permit",
    "preBind": "pre_bind", "bind": "bind", "postBind": "post_bind",
}  # fmt: skip
TOP = {
    "apiVersion", "kind", "parallelism", "leaderElection", "clientConnection", "percentageOfNodesToScore",
    "podInitialBackoffSeconds", "podMaxBackoffSeconds", "profiles", "extenders", "delayCacheUntilActive",
    "enableProfiling", "enableContentionProfiling",
}  # fmt: skip
SORT = "PrioritySort"


class ConfigurationError(ValueError):
    """`problems`: each with the path of its field."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Enabled:
    name: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class PluginSet:
    enabled: tuple[Enabled, ...] = ()
    disabled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    """`plugins`: by extension point (upstream's names, and `multiPoint`); `args`: by plugin."""

    scheduler_name: str = DEFAULT_NAME
    plugins: Mapping[str, PluginSet] = field(default_factory=dict)
    args: Mapping[str, Obj] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeaderElection:
    leader_elect: bool = True
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    namespace: str = "kube-system"
    name: str = "kube-scheduler"


@dataclass(frozen=True, slots=True)
class Configuration:
    profiles: tuple[ProfileConfig, ...] = (ProfileConfig(),)
    initial_backoff: float = 1.0
    max_backoff: float = 10.0
    leader_election: LeaderElection = LeaderElection()
    kubeconfig: str = ""


def configz(found: Configuration) -> Obj:
    """As `/configz` shows it: upstream's own names of the fields."""
    election = found.leader_election
    return {
        "componentconfig": {
            "LeaderElection": {
                "LeaderElect": election.leader_elect,
                "LeaseDuration": f"{election.lease_duration:g}s",
                "RenewDeadline": f"{election.renew_deadline:g}s",
                "RetryPeriod": f"{election.retry_period:g}s",
                "ResourceName": election.name,
                "ResourceNamespace": election.namespace,
            },
            "PodInitialBackoffSeconds": int(found.initial_backoff),
            "PodMaxBackoffSeconds": int(found.max_backoff),
            "Profiles": [
                {
                    "SchedulerName": profile.scheduler_name,
                    "Plugins": {
                        point[:1].upper() + point[1:]: {
                            "Enabled": [{"Name": each.name, "Weight": each.weight} for each in chosen.enabled],
                            "Disabled": [{"Name": name} for name in sorted(chosen.disabled)],
                        }
                        for point, chosen in profile.plugins.items()
                    },
                    "PluginConfig": [{"Name": name, "Args": args} for name, args in profile.args.items()],
                }
                for profile in found.profiles
            ],
        }
    }


# -- reading -----------------------------------------------------------------------------------------------------------


def load(file: File, known: Mapping[str, Factory] = FACTORIES) -> Configuration:
    """From a file of YAML. Raises ConfigurationError, OSError."""
    try:
        found = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: {error}") from None
    return read(found, known)


def read(obj: Any, known: Mapping[str, Factory] = FACTORIES) -> Configuration:
    """`known`: plugins that may be named. Raises ConfigurationError."""
    if not isinstance(obj, dict):
        raise ConfigurationError(f"a {KIND} is an object with `apiVersion: {API_VERSION}`")
    if (obj.get("apiVersion"), obj.get("kind")) != (API_VERSION, KIND):
        said = f"{obj.get('apiVersion')}, {obj.get('kind')}"
        raise ConfigurationError(f"this is {said}: write `apiVersion: {API_VERSION}` and `kind: {KIND}`")
    errors = ErrorList()
    strict(obj, TOP, Path(), errors)
    try:
        out = _read(obj, known, errors)
    except (AttributeError, TypeError, KeyError) as error:
        # a list where a map should be, and the like
        raise ConfigurationError(*map(str, errors), f"the configuration has a value of a wrong type: {error}") from None
    if errors:
        raise ConfigurationError(*map(str, errors))
    return out


def _read(obj: Obj, known: Mapping[str, Factory], errors: ErrorList) -> Configuration:
    first, most = obj.get("podInitialBackoffSeconds") or 1, obj.get("podMaxBackoffSeconds") or 10
    if obj.get("parallelism", 16) <= 0:
        errors.invalid(Path("parallelism"), obj["parallelism"], "should be an integer value greater than zero")
    _percentage(Path("percentageOfNodesToScore"), obj.get("percentageOfNodesToScore"), errors)
    if first <= 0:
        errors.invalid(Path("podInitialBackoffSeconds"), first, "must be greater than 0")
    if most < first:
        what = "must be greater than or equal to PodInitialBackoffSeconds"
        errors.invalid(Path("podMaxBackoffSeconds"), most, what)
    if obj.get("extenders"):
        errors.forbidden(Path("extenders"), "extenders are not supported; write a plugin instead, in Python")
    profiles: list[ProfileConfig] = []
    given = obj.get("profiles") or [{}]
    for index, raw in enumerate(given):
        path = Path("profiles") @ index
        name = raw.get("schedulerName")
        if name is None:
            # the only one need not say
            name = DEFAULT_NAME if len(given) == 1 else ""
        if not name:
            errors.required(path / "schedulerName", "")
        item = _profile(name, raw, path, known, errors)
        same = next(
            (number for number, other in enumerate(profiles) if other.scheduler_name == item.scheduler_name), None
        )
        if same is not None:
            errors.duplicate(path / "schedulerName", str(Path("profiles") @ same / "schedulerName"))
        profiles.append(item)
    sorts = [profile.plugins.get("queueSort", PluginSet()) for profile in profiles]
    for index, other in enumerate(sorts):
        if other != sorts[0]:
            shown = [item.name for item in other.enabled]
            errors.invalid(
                Path("profiles") @ index / "plugins" / "queueSort", shown, "must be the same for all profiles"
            )
    connection = obj.get("clientConnection") or {}
    return Configuration(
        tuple(profiles), float(first), float(most), _leader(obj.get("leaderElection") or {}, errors),
        connection.get("kubeconfig") or "",
    )  # fmt: skip


def _leader(raw: Obj, errors: ErrorList) -> LeaderElection:
    path = Path("leaderElection")
    names = {
        "leaderElect",
        "leaseDuration",
        "renewDeadline",
        "retryPeriod",
        "resourceLock",
        "resourceName",
        "resourceNamespace",
    }
    strict(raw, names, path, errors)
    if raw.get("resourceLock", "leases") not in ("", "leases"):
        errors.invalid(path / "resourceLock", raw["resourceLock"], 'resourceLock value must be "leases"')
    default = LeaderElection()

    def seconds(name: str, otherwise: float) -> float:
        try:
            return plugin_args.seconds(raw[name]) if raw.get(name) is not None else otherwise
        except ValueError as error:
            errors.invalid(path / name, raw[name], str(error))
            return otherwise

    out = LeaderElection(
        raw.get("leaderElect", True),
        seconds("leaseDuration", default.lease_duration),
        seconds("renewDeadline", default.renew_deadline),
        seconds("retryPeriod", default.retry_period),
        raw.get("resourceNamespace") or default.namespace,
        raw.get("resourceName") or default.name,
    )
    if not out.leader_elect:
        return out
    if out.lease_duration <= out.renew_deadline:
        errors.invalid(path / "leaseDuration", out.lease_duration, "LeaseDuration must be greater than RenewDeadline")
    if out.renew_deadline <= out.retry_period:
        errors.invalid(path / "renewDeadline", out.renew_deadline, "RenewDeadline must be greater than RetryPeriod")
    return out


def _profile(name: str, raw: Obj, path: Path, known: Mapping[str, Factory], errors: ErrorList) -> ProfileConfig:
    strict(raw, {"schedulerName", "plugins", "pluginConfig", "percentageOfNodesToScore"}, path, errors)
    _percentage(path / "percentageOfNodesToScore", raw.get("percentageOfNodesToScore"), errors)
    plugins = raw.get("plugins") or {}
    strict(plugins, {"multiPoint", *POINTS}, path / "plugins", errors)
    sets = {
        point: _plugin_set(found or {}, path / "plugins" / point, known, errors) for point, found in plugins.items()
    }
    if len(sets.get("queueSort", PluginSet()).enabled) > 1:
        where = path / "plugins" / "queueSort" / "Enabled"
        errors.invalid(where, len(sets["queueSort"].enabled), "only one queue sort plugin can be enabled")
    for index, item in enumerate(sets.get("queueSort", PluginSet()).enabled):
        if item.name != SORT:
            errors.not_supported(path / "plugins" / "queueSort" / "enabled" @ index / "name", item.name, (SORT,))
    args: dict[str, Obj] = {}
    for index, item in enumerate(raw.get("pluginConfig") or ()):
        where, plugin = path / "pluginConfig" @ index, item.get("name", "")
        strict(item, {"name", "args"}, where, errors)
        if plugin in args:
            errors.duplicate(where, plugin)
        if plugin not in {SORT, *ABSENT, *known}:
            _unknown(where / "name", plugin, known, errors)
        args[plugin] = item.get("args") or {}
        plugin_args.validate(plugin, args[plugin], where / "args", errors)
    return ProfileConfig(name, sets, args)


def _plugin_set(raw: Obj, path: Path, known: Mapping[str, Factory], errors: ErrorList) -> PluginSet:
    strict(raw, {"enabled", "disabled"}, path, errors)
    enabled: list[Enabled] = []
    for index, item in enumerate(raw.get("enabled") or ()):
        strict(item, {"name", "weight"}, path / "enabled" @ index, errors)
        name = item.get("name", "")
        if name in ABSENT - known.keys():
            continue
        if name != SORT and name not in known:
            _unknown(path / "enabled" @ index / "name", name, known, errors)
        if any(other.name == name for other in enabled):
            errors.duplicate(path / "enabled" @ index / "name", name)
        enabled.append(Enabled(name, item.get("weight") or 0))
    disabled = frozenset(item.get("name", "") for item in raw.get("disabled") or ())
    for name in sorted(disabled - {"*", SORT} - ABSENT - known.keys()):
        _unknown(path / "disabled", name, known, errors)
    return PluginSet(tuple(enabled), disabled)


def _unknown(path: Path, name: str, known: Mapping[str, Factory], errors: ErrorList) -> None:
    errors.not_supported(path, name, sorted({SORT, *known}))


def _percentage(path: Path, value: int | None, errors: ErrorList) -> None:
    if value is not None and not 0 <= value <= 100:
        errors.invalid(path, value, "not in valid range [0-100]")


strict, seconds = plugin_args.strict, plugin_args.seconds


# -- building ----------------------------------------------------------------------------------------------------------


def chosen(config: ProfileConfig) -> dict[str, list[Enabled]]:
    """The plugins of each extension point, in order: those named for the point that take the place of one of all
    points, those of all points, those named for the point alone."""
    everywhere = _merged(tuple(Enabled(name, weight) for name, weight in DEFAULTS), config.plugins.get("multiPoint"))
    out: dict[str, list[Enabled]] = {}
    for point in POINTS:
        given = config.plugins.get(point, PluginSet())
        names = {item.name for item in everywhere}
        first = [item for item in given.enabled if item.name in names]
        taken = {item.name for item in given.enabled} | given.disabled
        middle = [] if "*" in given.disabled else [item for item in everywhere if item.name not in taken]
        out[point] = [*first, *middle, *(item for item in given.enabled if item.name not in names)]
    return out


def _merged(defaults: tuple[Enabled, ...], given: PluginSet | None) -> list[Enabled]:
    if given is None:
        return list(defaults)
    by_name = {item.name: item for item in given.enabled}
    out = []
    if "*" not in given.disabled:
        for item in defaults:
            if item.name not in given.disabled:
                out.append(by_name.pop(item.name, item))
    return [*out, *(item for item in given.enabled if item.name in by_name)]


def build(config: ProfileConfig, factories: Mapping[str, Factory], handle: Handle) -> Profile:
    """Its plugins, made, and in their places."""
    points = chosen(config)
    made: dict[str, Plugin] = {}
    for items in points.values():
        for item in items:
            if item.name != SORT and item.name not in made:
                made[item.name] = factories[item.name](dict(config.args.get(item.name, {})), handle)

    def at(point: str, *methods: str) -> list[Plugin]:
        found = [made[item.name] for item in points[point] if item.name in made]
        return [plugin for plugin in found if any(takes_part(plugin, method) for method in methods)]

    weights = {item.name: item.weight for item in points["score"]}
    profile = Profile(
        config.scheduler_name,
        at("filter", "filter", "filter_at"),
        [(plugin, weights[plugin.name] or 1) for plugin in at("score", "score")],
        list(made.values()),
        prefilters=at("preFilter", "prefilter", "narrow"),
        points={
            "unreserve": at("reserve", "unreserve"),
            **{method: at(point, method) for point, method in POINTS.items() if method},
        },
    )
    handle.profile = profile
    return profile
