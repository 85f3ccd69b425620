"""Who owns whom: every object that has owners or is one, and what to look at when that changes.

Pure bookkeeping. Observers say what came, changed and went; the graph answers by calling `delete(uid)` (look whether this
is to be deleted) and `orphan(uid)` (its dependents are to be set free). An owner that was named and not seen yet is a
virtual node, until it is seen or the server says that it is not there.

Source: kubernetes/pkg/controller/garbagecollector/{graph,graph_builder}.go
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sampan.api.field import go_quote

Obj = dict[str, Any]
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
ABSENT = 500


class Identity(NamedTuple):
    """Where an object is (or is said to be)."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"[{self.api_version}/{self.kind}, namespace: {self.namespace}, name: {self.name}, uid: {self.uid}]"


class Owner(NamedTuple):
    """An owner reference."""

    api_version: str
    kind: str
    name: str
    uid: str
    blocks: bool

    def at(self, namespace: str) -> Identity:
        return Identity(self.api_version, self.kind, namespace, self.name, self.uid)

    def means(self, found: Identity) -> bool:
        return (self.api_version, self.kind, self.name, self.uid) == (
            found.api_version, found.kind, found.name, found.uid,
        )  # fmt: skip


class Node:
    """`dependents` keeps the order in which they came."""

    __slots__ = ("deleting", "deleting_dependents", "dependents", "identity", "owners", "virtual")

    def __init__(self, identity: Identity, owners: tuple[Owner, ...] = (), *, virtual: bool = False) -> None:
        self.identity = identity
        self.owners = owners
        self.virtual = virtual
        self.deleting = False
        self.deleting_dependents = False
        self.dependents: dict[Node, None] | None = None

    def of(self) -> list[Node]:
        return list(self.dependents or ())

    def blocking(self) -> list[Node]:
        """Dependents that must be gone first."""
        uid = self.identity.uid
        return [node for node in self.of() if any(owner.blocks and owner.uid == uid for owner in node.owners)]


class Absent:
    """Owners that the server said are not there; the last few hundred. A uid never comes back."""

    def __init__(self) -> None:
        self._known: OrderedDict[Identity, None] = OrderedDict()

    def add(self, identity: Identity) -> None:
        self._known[identity] = None
        self._known.move_to_end(identity)
        if len(self._known) > ABSENT:
            self._known.popitem(last=False)

    def __contains__(self, identity: Identity) -> bool:
        return identity in self._known


class Graph:
    def __init__(
        self,
        delete: Callable[[str], object],
        orphan: Callable[[str], object],
        warn: Callable[[Identity, str], object],
    ) -> None:
        """`warn`: says in an event about an object that an owner it names is in another namespace."""
        self.nodes: dict[str, Node] = {}
        self.absent = Absent()
        self.delete = delete
        self.orphan = orphan
        self.warn = warn

    # -- what observers say --------------------------------------------------------------------------------------------

    def seen(self, identity: Identity, meta: Obj, old: Obj | None) -> None:
        """An object is there, or has changed (`old`: its metadata before)."""
        node = self.nodes.get(identity.uid)
        owners = owners_of(meta) if "ownerReferences" in meta else ()
        deleting = "deletionTimestamp" in meta
        if node is None:
            node = self._insert(Node(identity, owners))
            node.deleting = deleting
            node.deleting_dependents = deleting and FOREGROUND in (meta.get("finalizers") or ())
            self._join(node, owners)
        else:
            if node.virtual:
                self._observe(node, identity)
            elif node.identity != identity:
                node.identity = identity
            if owners != node.owners:
                self._owners_changed(node, owners)
            node.deleting = node.deleting or deleting
        if deleting:
            self._deletion(node, meta, old)

    def gone(self, identity: Identity) -> None:
        """An object was deleted."""
        node = self.nodes.get(identity.uid)
        if node is not None:
            self._remove(node, identity)

    def gone_virtually(self, identity: Identity) -> None:
        """The server says that there is no such object."""
        node = self.nodes.get(identity.uid)
        if node is None:
            return
        if node.virtual:
            matching, others = partition(node, identity)
            if not others:
                self._remove(node, identity)
                return
            self._dangling(matching, identity)
            if node.identity == identity:
                # those who disagree about where it is: the next of the places that they name
                other = alternative(others, identity)
                if other is not None:
                    node.identity = other
                    self.delete(identity.uid)
        elif node.identity == identity:
            self._remove(node, identity)
        else:
            self._dangling(partition(node, identity)[0], identity)

    # -- changes -------------------------------------------------------------------------------------------------------

    def _insert(self, node: Node) -> Node:
        self.nodes[node.identity.uid] = node
        return node

    def _observe(self, node: Node, identity: Identity) -> None:
        """A virtual node turns out to be real."""
        if identity != node.identity:
            for dependent in partition(node, identity)[1]:
                if identity.namespace and dependent.identity.namespace != identity.namespace:
                    self._warn(dependent, identity.uid)
                self.delete(dependent.identity.uid)
            node.identity = identity
        node.virtual = False

    def _owners_changed(self, node: Node, owners: tuple[Owner, ...]) -> None:
        before = {owner.uid: owner for owner in node.owners}
        after = {owner.uid: owner for owner in owners}
        node.owners = owners
        for uid, owner in before.items():
            now = after.get(uid)
            if owner.blocks and uid in self.nodes and not (now is not None and now.blocks):
                self.delete(uid)  # it may have waited for this
        self._join(node, [owner for uid, owner in after.items() if uid not in before])
        self._part(node, [owner for uid, owner in before.items() if uid not in after])

    def _join(self, node: Node, owners: Iterable[Owner]) -> None:
        """Among the dependents of its owners; virtual ones are made where they are not known."""
        doubtful = False
        for owner in owners:
            found = self.nodes.get(owner.uid)
            if found is None:
                found = self._insert(Node(owner.at(node.identity.namespace), virtual=True))
                found.dependents = {node: None}
                self.delete(owner.uid)
                continue
            if not found.dependents:
                found.dependents = {node: None}
            else:
                sibling = next(iter(found.dependents))
                if sibling.owners == node.owners:
                    node.owners = sibling.owners  # one tuple for a thousand pods
                found.dependents[node] = None
            if doubtful:
                continue
            here, there = node.identity.namespace, found.identity.namespace
            if there and there != here:
                if not found.virtual:
                    self._warn(node, owner.uid)
                doubtful = True
            elif not owner.means(found.identity):
                doubtful = True
            elif not there and here != there and found.virtual:
                # it may be one of a kind with namespaces, named by something that is in none
                doubtful = True
        if doubtful:
            self.delete(node.identity.uid)

    def _part(self, node: Node, owners: Iterable[Owner]) -> None:
        for owner in owners:
            found = self.nodes.get(owner.uid)
            if found is not None and found.dependents is not None:
                found.dependents.pop(node, None)

    def _deletion(self, node: Node, meta: Obj, old: Obj | None) -> None:
        """Whether the deletion begins with one of the two finalizers."""
        finalizers = meta.get("finalizers") or ()
        was = (old or {}).get("finalizers") or () if "deletionTimestamp" in (old or {}) else ()
        if ORPHAN in finalizers and ORPHAN not in was:
            self.orphan(node.identity.uid)
        elif FOREGROUND in finalizers and FOREGROUND not in was:
            node.deleting_dependents = True
            for dependent in node.of():
                self.delete(dependent.identity.uid)
            self.delete(node.identity.uid)

    def _remove(self, node: Node, identity: Identity) -> None:
        self.nodes.pop(identity.uid, None)
        self._part(node, node.owners)
        if node.dependents:
            self._dangling(node.of(), identity)
        for owner in node.owners:
            found = self.nodes.get(owner.uid)
            if found is not None and found.deleting_dependents:
                self.delete(owner.uid)

    def _dangling(self, dependents: list[Node], identity: Identity) -> None:
        if dependents:
            self.absent.add(identity)
        for dependent in dependents:
            self.delete(dependent.identity.uid)

    def _warn(self, node: Node, uid: str) -> None:
        owner = next((owner for owner in node.owners if owner.uid == uid), None)
        if owner is not None:
            namespace = node.identity.namespace
            said = f"ownerRef {owner.at(namespace)} does not exist in namespace {go_quote(namespace)}"
            self.warn(node.identity, said)


def owners_of(meta: Obj) -> tuple[Owner, ...]:
    return tuple(
        Owner(item["apiVersion"], item["kind"], item["name"], item["uid"], bool(item.get("blockOwnerDeletion")))
        for item in meta.get("ownerReferences") or ()
    )


def partition(node: Node, identity: Identity) -> tuple[list[Node], list[Node]]:
    """Dependents that name the owner as `identity` has it, and those that name it otherwise (some do both)."""
    matching: list[Node] = []
    others: list[Node] = []
    for dependent in node.of():
        if identity.namespace and identity.namespace != dependent.identity.namespace:
            others.append(dependent)
            continue
        named = [owner.means(identity) for owner in dependent.owners if owner.uid == identity.uid]
        if any(named):
            matching.append(dependent)
        if not all(named):
            others.append(dependent)
    return matching, others


def alternative(dependents: Iterable[Node], absent: Identity) -> Identity | None:
    """The next place, after the absent one, where dependents say that it is; they are tried in turn."""
    named = set()
    for dependent in dependents:
        for owner in dependent.owners:
            if owner.uid == absent.uid:
                # of an owner without a namespace nobody knows whether its kind has none
                found = owner.at(dependent.identity.namespace)
                if found != absent:
                    named.add(found)
    later = sorted(found for found in named if found > absent)
    return later[0] if later else min(named, default=None)
