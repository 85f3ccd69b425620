"""KubeSchedulerConfiguration: what it makes of profiles, and what it says of mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.scheduler.cluster import Cluster
from sampan.scheduler.config import API_VERSION, KIND, Configuration, ConfigurationError, chosen, read
from sampan.scheduler.framework import Cycle
from sampan.scheduler.profile import Profile
from sampan.scheduler.shape import pod_info

Obj = dict[str, Any]


def given(**fields: Any) -> Configuration:
    return read({"apiVersion": API_VERSION, "kind": KIND, **fields})


def profile(**fields: Any) -> dict[str, list[str]]:
    (found,) = given(profiles=[fields]).profiles
    return {point: [item.name for item in items] for point, items in chosen(found).items()}


def test_the_defaults() -> None:
    found = given()
    assert [item.scheduler_name for item in found.profiles] == ["default-scheduler"]
    assert (found.initial_backoff, found.max_backoff) == (1, 10)
    scored = {item.name: item.weight for item in chosen(found.profiles[0])["score"] if item.weight}
    assert scored == {
        "TaintToleration": 3, "NodeAffinity": 2, "NodeResourcesFit": 1, "PodTopologySpread": 2, "InterPodAffinity": 2,
        "NodeResourcesBalancedAllocation": 1, "ImageLocality": 1,
    }  # fmt: skip


def test_plugins_are_turned_off_on_and_weighed() -> None:
    off = profile(plugins={"score": {"disabled": [{"name": "ImageLocality"}]}})
    assert "ImageLocality" not in off["score"] and "ImageLocality" in off["filter"]
    alone = profile(plugins={"multiPoint": {"disabled": [{"name": "*"}], "enabled": [{"name": "DefaultBinder"}]}})
    assert alone["bind"] == ["DefaultBinder"] and alone["filter"] == ["DefaultBinder"]
    first = profile(plugins={"filter": {"enabled": [{"name": "NodeName"}]}})
    assert first["filter"][0] == "NodeName" and first["filter"].count("NodeName") == 1
    only = profile(plugins={"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeAffinity", "weight": 9}]}})
    assert only["score"] == ["NodeAffinity"]
    (weighed,) = given(
        profiles=[{"plugins": {"multiPoint": {"enabled": [{"name": "NodeAffinity", "weight": 7}]}}}]
    ).profiles
    assert {item.name: item.weight for item in chosen(weighed)["score"]}["NodeAffinity"] == 7


def test_plugins_of_upstream_s_that_are_not_here_may_be_named() -> None:
    names = [{"name": "NodeDeclaredFeatures"}, {"name": "DefaultBinder"}]
    made = profile(plugins={"multiPoint": {"enabled": names}, "filter": {"disabled": [{"name": "GangScheduling"}]}})
    assert "NodeDeclaredFeatures" not in made["filter"] and made["bind"].count("DefaultBinder") == 1


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"paralelism": 4}, "paralelism: Forbidden: unknown field; it may be one of apiVersion"),
        ({"parallelism": 0}, "parallelism: Invalid value: 0: should be an integer value greater than zero"),
        ({"percentageOfNodesToScore": 101}, "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]"),
        (
            {"podInitialBackoffSeconds": 20},
            "podMaxBackoffSeconds: Invalid value: 10: must be greater than or equal to PodInitialBackoffSeconds",
        ),
        ({"extenders": [{}]}, "extenders: Forbidden: extenders are not supported; write a plugin instead, in Python"),
        (
            {"profiles": [{"schedulerName": "x"}, {"schedulerName": "x"}]},
            'profiles[1].schedulerName: Duplicate value: "profiles[0].schedulerName"',
        ),
        ({"profiles": [{"schedulerName": "x"}, {}]}, "profiles[1].schedulerName: Required value"),
        ({"profiles": [{"schedulerName": ""}]}, "profiles[0].schedulerName: Required value"),
        (
            {"profiles": [{"plugins": {"score": {"enabled": [{"name": "Foo"}]}}}]},
            'profiles[0].plugins.score.enabled[0].name: Unsupported value: "Foo": supported values: "DefaultBinder"',
        ),
        (
            {"leaderElection": {"leaseDuration": "soon"}},
            'leaderElection.leaseDuration: Invalid value: "soon": is no duration: write it as `15s` or `1m30s`',
        ),
        (
            {"leaderElection": {"leaseDuration": "5s"}},
            "leaderElection.leaseDuration: Invalid value: 5.0: LeaseDuration must be greater than RenewDeadline",
        ),
        (
            {"leaderElection": {"resourceLock": "endpoints"}},
            'leaderElection.resourceLock: Invalid value: "endpoints": resourceLock value must be "leases"',
        ),
        ({"profiles": [[]]}, "the configuration has a value of a wrong type"),
    ],
)
def test_mistakes(fields: Obj, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        given(**fields)
    assert error.value.problems[0].startswith(problem)


RATIO = {"type": "RequestedToCapacityRatio"}


@pytest.mark.parametrize(
    ("plugin", "args", "problem"),
    [
        (
            "DefaultPreemption",
            {"minCandidateNodesPercentage": 101},
            "minCandidateNodesPercentage: Invalid value: 101: not in valid range [0, 100]",
        ),
        (
            "DefaultPreemption",
            {"minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": 0},
            "minCandidateNodesPercentage: Invalid value: 0: cannot be zero at the same time as minCandidateNodesAbsolute",
        ),
        (
            "InterPodAffinity",
            {"hardPodAffinityWeight": 200},
            "hardPodAffinityWeight: Invalid value: 200: not in valid range [0, 100]",
        ),
        (
            "NodeResourcesFit",
            {"scoringStrategy": {"type": "Best"}},
            'scoringStrategy.type: Unsupported value: "Best": supported values: "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"',
        ),
        (
            "NodeResourcesFit",
            {"scoringStrategy": RATIO},
            "scoringStrategy.requestedToCapacityRatio: Required value: must be specified when type is RequestedToCapacityRatio",
        ),
        (
            "NodeResourcesFit",
            {"scoringStrategy": {**RATIO, "requestedToCapacityRatio": {"shape": [{"utilization": 5, "score": 11}]}}},
            "scoringStrategy.shape[0].score: Invalid value: 11: not in valid range [0, 10]",
        ),
        (
            "NodeResourcesFit",
            {"scoringStrategy": {"requestedToCapacityRatio": {"shape": []}}},
            "scoringStrategy.shape: Required value: at least one point must be specified",
        ),
        (
            "NodeResourcesFit",
            {"scoringStrategy": {"resources": [{"name": "cpu", "weight": 101}]}},
            "scoringStrategy.resources[0].weight: Invalid value: 101: resource weight of cpu not in valid range (0, 100]",
        ),
        (
            "NodeResourcesFit",
            {"ignoredResourceGroups": ["a/b"]},
            "ignoredResourceGroups[0]: Invalid value: \"a/b\": resource group name can't contain '/'",
        ),
        (
            "NodeResourcesBalancedAllocation",
            {"resources": [{"name": "cpu", "weight": 2}]},
            "resources[0].weight: Invalid value: 2: must be 1",
        ),
        (
            "PodTopologySpread",
            {"defaultConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
            'defaultingType: Invalid value: "System": when .defaultConstraints are not empty',
        ),
        (
            "PodTopologySpread",
            {"defaultingType": "List", "defaultConstraints": [{"maxSkew": 1}]},
            "defaultConstraints[0].topologyKey: Required value: can not be empty",
        ),
        (
            "NodeAffinity",
            {"addedAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}},
            "addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            "VolumeBinding",
            {"bindTimeoutSeconds": -1},
            "bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not be a negative value",
        ),
        (
            "VolumeBinding",
            {"shape": [{"utilization": 0, "score": 11}]},
            "shape[0].score: Invalid value: 11: not in valid range [0, 10]",
        ),
        ("ImageLocality", None, ""),
    ],
)
def test_mistakes_in_arguments(plugin: str, args: Obj | None, problem: str) -> None:
    fields = [{"pluginConfig": [{"name": plugin, "args": args}]}]
    if not problem:
        assert given(profiles=fields).profiles[0].args == {plugin: {}}
        return
    with pytest.raises(ConfigurationError) as error:
        given(profiles=fields)
    assert error.value.problems[0] == "profiles[0].pluginConfig[0].args." + problem


def test_the_page_s_examples_work() -> None:
    text = (Path(__file__).parents[2] / "docs" / "scheduler.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    assert [item.scheduler_name for item in read(yaml.safe_load(example)).profiles] == ["default-scheduler", "packing"]
    plugin, use = re.findall(r"```python\n(.*?)```", text, re.S)
    names: Obj = {}
    exec(plugin, names)
    exec(use.partition("scheduler = ")[0], names)
    (found,) = names["configuration"].profiles
    assert "EvenNodes" in [item.name for item in chosen(found)["filter"]]
    cluster = Cluster()
    for name in ("n1", "n2"):
        cluster.set_node({"metadata": {"name": name}})
    info = pod_info({"metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": []}})
    made = Profile("p", [names["EvenNodes"]()], [])
    feasible, why = made.feasible(cycle := Cycle(info, cluster))
    assert feasible.tolist() == [False, True] and why.histogram(cycle) == {"node(s) are odd": 1}


def test_something_else_altogether() -> None:
    with pytest.raises(ConfigurationError, match=r"write `apiVersion: kubescheduler.config.k8s.io/v1`"):
        read({"apiVersion": "v1", "kind": "Pod"})
    with pytest.raises(ConfigurationError, match="is an object"):
        read([])
