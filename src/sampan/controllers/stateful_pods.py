"""The pods of StatefulSets, which have identities: names with ordinals, labels, host names, claims of their own.

Source: kubernetes/pkg/controller/statefulset/stateful_set_utils.go
"""

from __future__ import annotations

import re
from typing import Any

from sampan.controllers.pod_control import owner_reference, pod_from
from sampan.controllers.pods import is_available, is_ready, phase_of

Obj = dict[str, Any]
NAME = "statefulset.kubernetes.io/pod-name"
INDEX = "apps.kubernetes.io/pod-index"
REVISION = "controller-revision-hash"
_POD = re.compile(r"(.*)-([0-9]+)", re.DOTALL)
MAX_ORDINAL = 2**31 - 1


def parent_and_ordinal(pod: Obj) -> tuple[str, int]:
    """The set its name speaks of; -1: of none."""
    match = _POD.fullmatch(pod["metadata"]["name"])
    if match is None or int(match[2]) > MAX_ORDINAL:
        return "", -1
    return match[1], int(match[2])


def ordinal_of(pod: Obj) -> int:
    return parent_and_ordinal(pod)[1]


def is_member(pod: Obj, stateful_set: Obj) -> bool:
    return bool(parent_and_ordinal(pod)[0] == stateful_set["metadata"]["name"])


def first_ordinal(stateful_set: Obj) -> int:
    return int((stateful_set["spec"].get("ordinals") or {}).get("start", 0))


def is_in_range(ordinal: int, stateful_set: Obj) -> bool:
    first = first_ordinal(stateful_set)
    return bool(first <= ordinal < first + stateful_set["spec"]["replicas"])


def revision_of(pod: Obj) -> str:
    return str((pod["metadata"].get("labels") or {}).get(REVISION, ""))


def is_leaving(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def is_running(pod: Obj) -> bool:
    """And ready."""
    return phase_of(pod) == "Running" and is_ready(pod)


def is_healthy(pod: Obj) -> bool:
    return is_running(pod) and not is_leaving(pod)


def is_serving(pod: Obj, stateful_set: Obj, now: float) -> bool:
    """Running, and ready for long enough."""
    return is_running(pod) and is_available(pod, stateful_set["spec"].get("minReadySeconds", 0), now)


# -- what they should be -----------------------------------------------------------------------------------------------


def make_pod(stateful_set: Obj, template: Obj, revision: str, ordinal: int) -> Obj:
    pod = pod_from(template, stateful_set)
    name = f"{stateful_set['metadata']['name']}-{ordinal}"
    meta = {**pod["metadata"], "name": name, "namespace": stateful_set["metadata"]["namespace"]}
    meta["labels"] = {**(meta.get("labels") or {}), **_labels(name, ordinal), REVISION: revision}
    spec = {**pod["spec"], "hostname": name}
    if stateful_set["spec"].get("serviceName"):
        spec["subdomain"] = stateful_set["spec"]["serviceName"]
    volumes = _volumes(stateful_set, spec.get("volumes") or [], ordinal)
    if volumes:
        spec["volumes"] = volumes
    return {**pod, "metadata": meta, "spec": spec}


def _labels(name: str, ordinal: int) -> Obj:
    return {NAME: name, INDEX: str(ordinal)}


def _volumes(stateful_set: Obj, known: list[Obj], ordinal: int) -> list[Obj]:
    """A template of a claim goes before a volume of the same name."""
    claims = {
        template: {"name": template, "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
        for template, claim in claims_of(stateful_set, ordinal).items()
    }
    return [*claims.values(), *(volume for volume in known if volume["name"] not in claims)]


def claims_of(stateful_set: Obj, ordinal: int) -> dict[str, Obj]:
    """The claims of a pod, by the name of their template."""
    meta = stateful_set["metadata"]
    out = {}
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        name = template["metadata"]["name"]
        labels = {
            **(template["metadata"].get("labels") or {}),
            **(stateful_set["spec"]["selector"].get("matchLabels") or {}),
        }
        own = {"name": f"{name}-{meta['name']}-{ordinal}", "namespace": meta["namespace"]}
        if labels:
            own["labels"] = labels
        if template["metadata"].get("annotations"):
            own["annotations"] = template["metadata"]["annotations"]
        head = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        out[name] = {**head, "metadata": own, "spec": template["spec"]}
    return out


def with_identity(pod: Obj, stateful_set: Obj) -> Obj:
    """The same object if its labels say who it is and its volumes are the set's claims."""
    meta, ordinal = pod["metadata"], ordinal_of(pod)
    labels = meta.get("labels") or {}
    out = pod
    if labels.get(NAME) != meta["name"]:
        out = {**out, "metadata": {**meta, "labels": {**labels, **_labels(meta["name"], ordinal)}}}
    names = {
        volume["name"]: (volume.get("persistentVolumeClaim") or {}).get("claimName")
        for volume in pod["spec"].get("volumes") or ()
    }
    claims = claims_of(stateful_set, ordinal)
    if any(names.get(template) != claim["metadata"]["name"] for template, claim in claims.items()):
        volumes = _volumes(stateful_set, pod["spec"].get("volumes") or [], ordinal)
        out = {**out, "spec": {**out["spec"], "volumes": volumes}}
    return out


# -- who owns the claims -----------------------------------------------------------------------------------------------


def with_owners(claim: Obj, stateful_set: Obj, pod: Obj | None, ordinal: int) -> Obj:
    """The same object if its owners are what the set's retention policy says: the set, for claims that go with it; the
    pod, for claims of a pod that is scaled away. `pod` is None while it is not made. What belongs to a set or a pod of the
    same name that is gone is left to the garbage collector."""
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    references = claim["metadata"].get("ownerReferences") or []
    possible = [owner_reference(stateful_set)]
    if pod is not None:
        possible.append(owner_reference({"apiVersion": "v1", "kind": "Pod", **pod}))
    if any(_is_left_by(reference, owner) for reference in references for owner in possible):
        return claim
    others = [reference for reference in references if not any(_names(reference, owner) for owner in possible)]
    wanted: list[Obj] = []
    with_pod = policy.get("whenScaled") == "Delete" and not is_in_range(ordinal, stateful_set)
    if with_pod:
        wanted = possible[1:]
    elif policy.get("whenDeleted") == "Delete":
        wanted = possible[:1]
    if any(reference.get("controller") for reference in others):
        wanted = []  # somebody else's
    own = [reference for reference in references if reference not in others]
    if {_owner(reference) for reference in own} == {_owner(reference) for reference in wanted}:
        return claim
    meta = {name: value for name, value in claim["metadata"].items() if name != "ownerReferences"}
    if others or wanted:
        meta["ownerReferences"] = [*others, *wanted]
    return {**claim, "metadata": meta}


def is_stale(claim: Obj, stateful_set: Obj, pod: Obj) -> bool:
    """It belongs to a pod of the same name that is gone, and is going too."""
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    if policy.get("whenScaled") != "Delete":
        return False
    meta = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta.get("uid")}
    return any(_is_left_by(reference, owner) for reference in claim["metadata"].get("ownerReferences") or ())


def _names(reference: Obj, owner: Obj) -> bool:
    return all(reference[part] == owner[part] for part in ("apiVersion", "kind", "name"))


def _is_left_by(reference: Obj, owner: Obj) -> bool:
    return _names(reference, owner) and bool(reference["uid"] != owner["uid"])


def _owner(reference: Obj) -> tuple[str, bool]:
    return reference["uid"], bool(reference.get("controller"))
