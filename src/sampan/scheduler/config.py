"""KubeSchedulerConfiguration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sampan.scheduler.profile import Profile
from sampan.scheduler.registry import Factory, Handle


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    scheduler_name: str = "default-scheduler"


@dataclass(frozen=True, slots=True)
class Configuration:
    profiles: tuple[ProfileConfig, ...] = (ProfileConfig(),)
    initial_backoff: float = 1.0
    max_backoff: float = 10.0


def build(item: ProfileConfig, factories: Mapping[str, Factory], handle: Handle) -> Profile:
    plugins = [factory({}, handle) for factory in factories.values()]
    return Profile(item.scheduler_name, plugins, [(p, p.weight) for p in plugins if p.weight], plugins)
