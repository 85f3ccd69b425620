"""The three plain patches, compared with what kubectl makes of random objects and patches by itself (`patch --local`)."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sampan.api.errors import StatusError
from sampan.api.schema import facts
from sampan.apiserver.patch import json_patch, merge_patch, strategic
from tests import kubectls

pytestmark = [pytest.mark.clients, pytest.mark.slow]

Json = dict[str, Any]
NAMES = st.sampled_from(["a", "b", "c", "d"])
# a smaller example would cost a process for every try
FEW = settings(
    max_examples=25, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@st.composite
def fields(draw: st.DrawFn, /, patching: bool, **known: st.SearchStrategy[Any]) -> Json:
    """An object of some of the fields; a patch has nulls and now and then a directive of its own."""
    out = draw(st.fixed_dictionaries({}, optional=known))
    if patching:
        for name in draw(st.sets(st.sampled_from(sorted(known)), max_size=1)):
            out[name] = None
        directive = draw(st.integers(0, 14))
        if directive == 0:
            out["$patch"] = draw(st.sampled_from(["replace", "delete", "merge", "bogus"]))
        elif directive == 1:
            more = draw(st.lists(st.sampled_from(sorted(known)), max_size=2))
            out["$retainKeys"] = [*(key for key in out if draw(st.integers(0, 9))), *more]
    return out


@st.composite
def keyed(
    draw: st.DrawFn, key: str, keys: st.SearchStrategy[Any], item: st.SearchStrategy[Json], patching: bool
) -> Any:
    """Items with different keys; in a patch also directives, missing keys and the same key twice."""
    chosen = draw(st.lists(keys, max_size=4, unique=not patching or draw(st.booleans())))
    out = [{key: value, **draw(item)} for value in chosen]
    if patching:
        for each in out:
            odd = draw(st.integers(0, 12))
            if odd == 0:
                del each[key]
            elif odd in (1, 2):
                each["$patch"] = "delete"
            elif odd == 3:
                each["$patch"] = draw(st.sampled_from(["replace", "merge", "bogus"]))
    return out


def ordered(draw: st.DrawFn, out: Json, name: str, key: str, values: st.SearchStrategy[Any]) -> None:
    """Maybe an order for the list `name`: mostly one that agrees with the patch."""
    if draw(st.integers(0, 2)):
        return
    have = out.get(name) or []
    named = [item.get(key) for item in have if "$patch" not in item] if key else list(have)
    order = named if draw(st.integers(0, 5)) else draw(st.permutations(named))
    for value in draw(st.lists(values, max_size=3)):
        order.insert(draw(st.integers(0, len(order))), value)
    order = list(dict.fromkeys(order))
    out[f"$setElementOrder/{name}"] = [{key: value} for value in order] if key else order


@st.composite
def pod_spec(draw: st.DrawFn, patching: bool) -> Json:
    env = keyed("name", NAMES, fields(patching, value=NAMES), patching)
    ports = keyed(
        "containerPort", st.integers(1, 3), fields(patching, protocol=st.sampled_from(["TCP", "UDP"])), patching
    )
    container = fields(patching, image=NAMES, args=st.lists(NAMES, max_size=2), env=env, ports=ports)
    source = st.one_of(
        fields(patching, emptyDir=fields(patching, medium=NAMES)),
        fields(patching, secret=fields(patching, secretName=NAMES)),
    )
    toleration = fields(patching, key=NAMES, operator=st.sampled_from(["Exists", "Equal"]))
    out = draw(
        fields(
            patching,
            containers=keyed("name", NAMES, container, patching),
            volumes=keyed("name", NAMES, source, patching),
            tolerations=st.lists(toleration, max_size=2),
            imagePullSecrets=keyed("name", NAMES, st.just({}), patching),
            nodeSelector=fields(patching, a=NAMES, b=NAMES),
            hostNetwork=st.booleans(),
            terminationGracePeriodSeconds=st.one_of(st.integers(0, 3), st.just("text")),
            securityContext=fields(
                patching, runAsUser=st.integers(0, 3), supplementalGroups=st.lists(st.integers(0, 2))
            ),
        )
    )
    if patching and "$patch" not in out:
        for name in ("containers", "volumes", "imagePullSecrets"):
            ordered(draw, out, name, "name", NAMES)
    return out


@st.composite
def metadata(draw: st.DrawFn, patching: bool) -> Json:
    owner = keyed("uid", NAMES, fields(patching, name=NAMES), patching)
    finalizers = st.lists(NAMES, max_size=4, unique=not patching)
    out = draw(
        fields(patching, labels=fields(patching, a=NAMES, b=NAMES), finalizers=finalizers, ownerReferences=owner)
    )
    if patching and "$patch" not in out:
        if out.get("finalizers") is not None:
            ordered(draw, out, "finalizers", "", NAMES)
        if draw(st.integers(0, 2)) == 0:
            gone = draw(st.lists(NAMES, max_size=2))
            # which of both comes first is left to chance in Go
            out["$deleteFromPrimitiveList/finalizers"] = [x for x in gone if x not in (out.get("finalizers") or ())]
    if patching:
        out.pop("$patch", None)
        out.pop("$retainKeys", None)
    return out


@st.composite
def pod(draw: st.DrawFn, patching: bool) -> Json:
    return {"metadata": draw(metadata(patching)), "spec": draw(pod_spec(patching))}


@st.composite
def deployment(draw: st.DrawFn, patching: bool) -> Json:
    rolling = fields(patching, maxSurge=st.integers(0, 2), maxUnavailable=st.sampled_from(["1", "25%"]))
    strategy = fields(patching, type=st.sampled_from(["Recreate", "RollingUpdate"]), rollingUpdate=rolling)
    template = fields(False, spec=pod_spec(patching))
    return {"spec": draw(fields(patching, replicas=st.integers(0, 3), strategy=strategy, template=template))}


@st.composite
def service(draw: st.DrawFn, patching: bool) -> Json:
    port = fields(patching, targetPort=st.one_of(NAMES, st.integers(1, 2)), protocol=NAMES)
    spec = draw(
        fields(
            patching,
            ports=keyed("port", st.integers(1, 4), port, patching),
            externalIPs=st.lists(NAMES, max_size=3),
            selector=fields(patching, a=NAMES),
        )
    )
    if patching and "$patch" not in spec:
        ordered(draw, spec, "ports", "port", st.integers(1, 4))
    return {"spec": spec}


KINDS: dict[str, tuple[str, str, Callable[[bool], st.SearchStrategy[Json]]]] = {
    "Pod": ("v1", "core_v1", pod),
    "Deployment": ("apps/v1", "apps_v1", deployment),
    "Service": ("v1", "core_v1", service),
}


def kubectl(kind: str, media: str, objects: list[Json], patch: Any) -> tuple[dict[str, Json], list[str]]:
    """What it makes of the objects, by name, and its complaints about the others."""
    version = KINDS[kind][0]
    documents = []
    for index, each in enumerate(objects):
        meta = {**(each.get("metadata") or {}), "name": f"o{index}"}
        documents.append(json.dumps({**each, "apiVersion": version, "kind": kind, "metadata": meta}))
    command = [str(kubectls.kubectl("1.37")), "patch", "--local", "-f", "-", "--type", media, "-p", json.dumps(patch)]
    done = subprocess.run(
        [*command, "-o", "json"], input="\n---\n".join(documents), capture_output=True, text=True, timeout=30
    )
    found: dict[str, Json] = {}
    decoder, text = json.JSONDecoder(), done.stdout.strip()
    while text:
        made, end = decoder.raw_decode(text)
        text = text[end:].lstrip()
        found[made["metadata"]["name"]] = made
    return found, [line.removeprefix("error: ") for line in done.stderr.splitlines()]


def compare(kind: str, media: str, objects: list[Json], patch: Any, ours: Callable[[Json], Json]) -> None:
    found, complaints = kubectl(kind, media, objects, patch)
    said = "\n".join(complaints)
    for index, each in enumerate(objects):
        meta = {**(each.get("metadata") or {}), "name": f"o{index}"}
        whole = {**each, "apiVersion": KINDS[kind][0], "kind": kind, "metadata": meta}
        before = copy.deepcopy((whole, patch))
        try:
            made = ours(whole)
        except StatusError as error:
            assert f"o{index}" not in found, (error, whole, patch, found)
            why = error.message if error.code != 422 else error.status["details"]["causes"][0]["message"]
            gone = "replace operation does not apply: doc is missing key: "
            if why.startswith(gone):
                why = f"Object to be patched is missing field ({why.removeprefix(gone)}"
            tries = 0
            while why.strip() not in said and tries < 20:  # of several mistakes Go meets any first
                said, tries = "\n".join(kubectl(kind, media, objects, patch)[1]), tries + 1
            assert why.strip() in said, (why, complaints, whole, patch)
            continue
        assert (whole, patch) == before
        assert made == found.get(f"o{index}"), (whole, patch, said)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_strategic_merge(kind: str) -> None:
    _, package, shape = KINDS[kind]
    struct = facts.struct(package, kind)

    @FEW
    @given(st.lists(shape(False), min_size=5, max_size=5), shape(True))
    def check(objects: list[Json], patch: Json) -> None:
        compare(kind, "strategic", objects, patch, lambda old: strategic.apply(struct, old, patch))

    check()


def test_merge() -> None:
    @FEW
    @given(st.lists(pod(False), min_size=5, max_size=5), pod(True))
    def check(objects: list[Json], patch: Json) -> None:
        compare("Pod", "merge", objects, patch, lambda old: merge_patch.apply(old, patch))

    check()


POINTERS = st.sampled_from(
    ["/spec", "/spec/containers", "/spec/containers/0", "/spec/containers/-1", "/spec/containers/-", "/spec/containers/7",
     "/spec/containers/01", "/spec/containers/x", "/spec/containers/0/image", "/spec/nodeSelector/a", "/spec/a~1b", "spec",
     "/spec/nodeSelector/x/y", "/metadata/labels", "/metadata/finalizers/1", "x/spec", "/spec/hostNetwork/x"]
)  # fmt: skip
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "test", "move", "copy", "add", "replace", "bogus"]),
        "path": POINTERS,
    },
    optional={"value": st.sampled_from([1, True, None, "a", {"a": None}, ["a"], {"name": "a"}, 1.0]), "from": POINTERS},
)


def test_json() -> None:
    @FEW
    @given(st.lists(pod(False), min_size=5, max_size=5), st.lists(OPERATIONS, min_size=1, max_size=4))
    def check(objects: list[Json], patch: list[Json]) -> None:
        compare("Pod", "json", objects, patch, lambda old: json_patch.apply(old, patch))

    check()
