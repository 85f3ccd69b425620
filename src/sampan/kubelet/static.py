"""Static pods: those that a node runs because a file says so, with no API server needed.

    static = StaticPods(directory, "node-1", changed, clock=time.time)
    await static.run()                  # until cancelled; `changed(pods)` at first, and whenever they are others than before

A file holds one pod, in YAML or JSON. Its uid is a hash of what it says, so that a file that changes is another pod. A file that cannot
be used is left out and told of in the log, once for each of its contents; the others go on. Names that begin with a dot are not read.

The API server is shown a mirror of each (`mirror`), which can be looked at and not be changed: when it is deleted it comes again.

Source: kubernetes pkg/kubelet/config/{file,file_linux,common,config}.go, pkg/kubelet/pod/mirror_client.go
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sampan.api.core_v1 import pod_references
from sampan.api.times import format_time
from sampan.kubelet.inotify import Watch

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
SOURCE, HASH, SEEN, MIRROR = (f"kubernetes.io/config.{name}" for name in ("source", "hash", "seen", "mirror"))
#: everything is read again so often, for file systems that tell of nothing
CHECK_SECONDS = 20.0
MISSING_SECONDS = 1.0
#: files that are written in pieces are read when they are whole
SETTLE_SECONDS = 0.02


class Unusable(ValueError):
    """What a file says is no pod that can run here."""


class StaticPods:
    """`path`: a directory, or one file."""

    def __init__(
        self,
        path: Path,
        node: str,
        changed: Callable[[list[Obj]], None],
        *,
        clock: Callable[[], float],
        seconds: float = CHECK_SECONDS,
    ) -> None:
        self.path = path
        self.pods: dict[str, Obj] = {}
        self._node = node
        self._changed = changed
        self._clock = clock
        self._seconds = seconds
        self._told: dict[Path, bytes] = {}
        self._missing = False
        self._began = False

    async def run(self) -> None:
        while True:
            directory = self.path if self.path.is_dir() else self.path.parent
            try:
                with Watch(directory) as watch:
                    self.read()
                    while directory.is_dir():
                        if await watch.next(self._seconds):
                            await asyncio.sleep(SETTLE_SECONDS)
                        self.read()
            except FileNotFoundError:
                self.read()
            await asyncio.sleep(min(MISSING_SECONDS, self._seconds))

    def read(self) -> None:
        """All files, and tell what is new."""
        found: dict[str, Obj] = {}
        self._told = {path: digest for path, digest in self._told.items() if path.exists()}
        names: dict[tuple[str, str], Path] = {}
        for path in self._files():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                self._blame(path, b"", f"cannot be read: {error.strerror}")
                continue
            if not data.strip():
                continue  # it is being written
            try:
                pod = self._pod(path, data)
            except Unusable as error:
                self._blame(path, data, str(error))
                continue
            meta = pod["metadata"]
            name = meta["namespace"], meta["name"]
            if name in names:
                self._blame(path, data, f"pod {'/'.join(name)} is already in {names[name]}, ignoring this one")
                continue
            names[name] = path
            found[meta["uid"]] = self.pods.get(meta["uid"], pod)
        if found.keys() != self.pods.keys() or not self._began:
            self._began = True
            self.pods = found
            self._changed(list(found.values()))

    def _files(self) -> Iterator[Path]:
        if self.path.is_file():
            yield self.path
        elif self.path.is_dir():
            yield from sorted(each for each in self.path.iterdir() if not each.name.startswith(".") and each.is_file())
        elif not self._missing:
            log.warning("static pod path %s does not exist, ignoring", self.path)
        self._missing = not self.path.exists()

    def _blame(self, path: Path, data: bytes, why: str) -> None:
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        if self._told.get(path) != digest:
            self._told[path] = digest
            log.error("Could not process manifest file %s: %s", path, why)

    def _pod(self, path: Path, data: bytes) -> Obj:
        pod = parse(data)
        complete(pod, str(path.absolute()), self._node, format_time(self._clock()))
        return pod


def parse(data: bytes) -> Obj:
    """A file's pod, with defaults. Raises Unusable."""
    import yaml

    from sampan.api.errors import StatusError
    from sampan.api.field import Path as Field
    from sampan.api.registry import Registry
    from sampan.api.schema.decode import decode
    from sampan.api.validation.meta import validate_object_meta

    try:
        documents = [each for each in yaml.load_all(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if each]
    except yaml.YAMLError as error:
        raise Unusable(f"couldn't parse as pod({error}), please check config file") from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise Unusable("couldn't parse as pod(it must hold one object), please check config file")
    raw = documents[0]
    kind = Registry().by_kind("", "v1", "Pod")
    assert kind is not None
    if (raw.get("apiVersion"), raw.get("kind")) != ("v1", "Pod"):
        what = f"{raw.get('apiVersion', '')} {raw.get('kind', '')}".strip() or "an object without apiVersion and kind"
        raise Unusable(f"couldn't parse as pod(invalid pod: it is {what}), please check config file")
    try:
        pod = decode(kind.schema, raw, strict=None)
    except StatusError as error:
        raise Unusable(f"couldn't parse as pod({error}), please check config file") from None
    meta = pod.setdefault("metadata", {})
    if not meta.get("name"):
        raise Unusable("invalid pod: name is needed for the pod")
    kind.default(pod)
    meta.setdefault("namespace", "default")
    pod.pop("status", None)
    if errors := [*validate_object_meta(meta, True, kind.validate_name, Field("metadata")), *kind.validate(pod)]:
        raise Unusable("invalid pod: " + ", ".join(str(each) for each in errors))
    if kinds := sorted(_references(pod["spec"])):
        raise Unusable(f"static pods may not reference {', '.join(kinds)}")
    return {"apiVersion": "v1", "kind": "Pod", **pod}


def complete(pod: Obj, source: str, node: str, seen: str) -> None:
    """What makes it a pod of this node."""
    meta, spec = pod["metadata"], pod["spec"]
    if not meta.get("uid"):
        text = json.dumps(pod, sort_keys=True) + f"host:{node}file:{source}"
        meta["uid"] = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    meta["name"] = f"{meta['name']}-{node.lower()}"
    meta["annotations"] = {**(meta.get("annotations") or {}), HASH: meta["uid"], SEEN: seen, SOURCE: "file"}
    meta.setdefault("creationTimestamp", seen)
    spec["nodeName"] = node
    forever = {"operator": "Exists", "effect": "NoExecute"}
    others = [each for each in spec.get("tolerations") or () if each != forever]
    # trouble with the node is no reason to evict what nobody would start again elsewhere
    spec["tolerations"] = [*others, forever]
    pod["status"] = {"phase": "Pending"}


def _references(spec: Obj) -> set[str]:
    """Kinds of objects in the API that the pod would need."""
    out = set()
    if any(pod_references.secret_names(spec)):
        out.add("secrets")
    if any(pod_references.config_map_names(spec)):
        out.add("configmaps")
    if spec.get("serviceAccountName"):
        out.add("serviceaccounts")
    if spec.get("resourceClaims"):
        out.add("resourceclaims")
    for volume in spec.get("volumes") or ():
        if volume.get("persistentVolumeClaim") or volume.get("ephemeral"):
            out.add("persistentvolumeclaims")
        sources = (volume.get("projected") or {}).get("sources") or ()
        if any("serviceAccountToken" in each or "clusterTrustBundle" in each for each in sources):
            out.add("serviceaccounts")
    return out


# -- mirrors -----------------------------------------------------------------------------------------------------------


def mirror(pod: Obj, node: Obj) -> Obj:
    """The object that stands for a static pod at the API server; it belongs to the Node."""
    meta = pod["metadata"]
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node["metadata"]["name"],
        "uid": node["metadata"]["uid"],
        "controller": True,
    }
    kept = {key: meta[key] for key in ("name", "namespace", "labels") if key in meta}
    annotations = {**meta["annotations"], MIRROR: meta["annotations"][HASH]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**kept, "annotations": annotations, "ownerReferences": [owner]},
        "spec": pod["spec"],
    }


def mirrors(shown: Obj, pod: Obj) -> bool:
    """Does an object of the API stand for this very pod, and not for what its file said before?"""
    meta, ours = shown["metadata"], pod["metadata"]
    same = (meta.get("namespace"), meta["name"]) == (ours["namespace"], ours["name"])
    return same and (meta.get("annotations") or {}).get(MIRROR) == ours["annotations"][HASH]


def full_name(pod: Obj) -> str:
    """By which a static pod and its mirror find each other."""
    meta = pod["metadata"]
    return f"{meta['name']}_{meta['namespace']}"
