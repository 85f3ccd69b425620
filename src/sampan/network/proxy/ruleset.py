"""What of the Services is in the kernel, and the transactions that change it.

Holds nothing but text: `change` is told what some Services shall be and says what to do; `program` is all of it in the
place of whatever is there. After a transaction that was refused, only `program` is sure.

A frontend that two Services claim (an external IP) is the first one's, until that goes.
"""

from __future__ import annotations

import contextlib
import gc
import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from sampan.network.nft import elements, replaced
from sampan.network.proxy import table
from sampan.network.proxy.frontends import Chain, Frontend
from sampan.network.proxy.table import TABLE

log = logging.getLogger("sampan.network.proxy")
Elements = dict[tuple[str, str], str]
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of one Service. `near`: its endpoints that may meet themselves."""

    frontends: tuple[Frontend, ...] = ()
    near: frozenset[str] = frozenset()


_NOBODY = Wanted()


@dataclass(slots=True)
class Change:
    """`text`: the transaction. `moved`: frontends that lead elsewhere than before, with the endpoints they lead to now; `affine`: those of them
    whose clients are remembered."""

    text: str = ""
    moved: dict[str, frozenset[str]] = field(default_factory=dict)
    affine: set[str] = field(default_factory=set)


@contextlib.contextmanager
def many() -> Iterator[None]:
    """While thousands of Services are taken in at once: all that is made stays, and to look again and again whether it
    does would take Python as long as the rest."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Ruleset:
    """`cluster`: range of all pods, if known; `node_port_addresses`: where node ports are served, empty for all."""

    def __init__(
        self, *, cluster: IPv4Network | None = None, masquerade_all: bool = False, masquerade_bit: int = 14,
        node_port_addresses: Collection[IPv4Network] = (),
    ) -> None:  # fmt: skip
        self._cluster = cluster
        self._masquerade_all = masquerade_all
        self._masquerade_bit = masquerade_bit
        self._node_port_addresses = node_port_addresses
        self._ranges: frozenset[IPv4Network] = frozenset()
        self._wanted: dict[str, Wanted] = {}
        #: by frontend: whose it is, as it is installed, and who else wants it
        self._owners: dict[str, str] = {}
        self._installed: dict[str, Frontend] = {}
        self._waiting: dict[str, dict[str, None]] = {}
        self._near: Counter[str] = Counter()
        self._chains: dict[str, Chain] = {}
        self._made: set[str] = set()
        self._learning: set[str] = set()
        #: a change has to say what it does
        self._told = True

    def __len__(self) -> int:
        return len(self._wanted)

    def set_ranges(self, ranges: Iterable[IPv4Network]) -> str:
        """Of cluster IPs. The transaction."""
        before, self._ranges = self._ranges, frozenset(ranges)
        return _commands("delete", {"service-ranges": sorted(map(str, before - self._ranges))}) + _commands(
            "add", {"service-ranges": sorted(map(str, self._ranges - before))}
        )

    # -- a change ------------------------------------------------------------------------------------------------------

    def change(self, services: Mapping[str, Wanted | None], *, text: bool = True) -> Change:
        """By the Services' keys; None: gone. Without `text` the transaction has to be `program`."""
        change, gone, new = Change(), Elements(), Elements()
        self._told = text
        freed: list[str] = []
        for key, wanted in services.items():
            before = self._wanted.pop(key, _NOBODY)
            if wanted is not None:
                self._wanted[key] = wanted
            claims = {each.key for each in wanted.frontends} if wanted and before.frontends else ()
            for frontend in before.frontends:
                if frontend.key in claims:
                    continue
                if frontend.key in self._waiting:
                    self._waiting[frontend.key].pop(key, None)
                if self._owners.get(frontend.key) == key:
                    del self._owners[frontend.key]
                    self._install(frontend.key, None, gone, new, change)
                    freed.append(frontend.key)
            near = wanted.near if wanted else _NOTHING
            if near != before.near:
                self._count(before.near, near, gone, new)
        for key, wanted in services.items():
            for frontend in wanted.frontends if wanted else ():
                self._claim(key, frontend, gone, new, change)
        for name in freed:
            for key in self._waiting.pop(name, {}):
                for frontend in self._wanted[key].frontends:
                    if frontend.key == name:
                        self._claim(key, frontend, gone, new, change)
        if text:
            change.text = self._new_chains(new) + _delete(gone, new) + _add(new, gone)
        return change

    def _claim(self, key: str, frontend: Frontend, gone: Elements, new: Elements, change: Change) -> None:
        owner = self._owners.setdefault(frontend.key, key)
        if owner == key:
            self._install(frontend.key, frontend, gone, new, change)
        else:
            log.warning("service %s: %s is used by service %s already", key, frontend.key, owner)
            self._waiting.setdefault(frontend.key, {})[key] = None

    def _install(self, key: str, frontend: Frontend | None, gone: Elements, new: Elements, change: Change) -> None:
        before = self._installed.pop(key, None)
        if frontend is not None:
            self._installed[key] = frontend
            for chain in frontend.chains:
                self._chains.setdefault(chain.name, chain)
        was, now = before.elements if before else (), frontend.elements if frontend else ()
        if self._told and was != now:
            gone.update(((name, key), value) for name, key, value in was)
            new.update(((name, key), value) for name, key, value in now)
        led, leads = (before.leads if before else _NOTHING), (frontend.leads if frontend else _NOTHING)
        # a new flow to what is new can be there already, and lead nowhere
        if led - leads or not led:
            change.moved[key] = leads
            if before is not None and before.affinity:
                change.affine.add(key)

    def _count(self, before: frozenset[str], after: frozenset[str], gone: Elements, new: Elements) -> None:
        for ip in after - before:
            self._near[ip] += 1
            if self._near[ip] == 1:
                new["hairpin", f"{ip} . {ip}"] = ""
        for ip in before - after:
            self._near[ip] -= 1
            if not self._near[ip]:
                del self._near[ip]
                gone["hairpin", f"{ip} . {ip}"] = ""

    # -- chains --------------------------------------------------------------------------------------------------------

    def _new_chains(self, new: Elements) -> str:
        """What the new elements need and is not there yet. Chains stay: there are as many as there are numbers."""
        learning = {name for name, _ in new if name.startswith("affine-")} - self._learning
        self._learning |= learning
        chains = [chain for name, chain in self._chains.items() if name not in self._made]
        self._made.update(chain.name for chain in chains)
        return table.add_learning(sorted(learning)) + table.add_chains(chains, **self._options())

    def _options(self) -> dict[str, bool]:
        return {"outside_is_masqueraded": self._cluster is not None, "masquerade_all": self._masquerade_all}

    # -- all of it -----------------------------------------------------------------------------------------------------

    def program(self) -> str:
        """The whole table, in the place of what there is. What clients were remembered is forgotten."""
        lists: dict[str, list[str]] = defaultdict(list)
        lists["hairpin"] = [f"{ip} . {ip}" for ip in self._near]
        chains: set[Chain] = set()
        for frontend in self._installed.values():
            # no two frontends have an element in common
            for name, key, value in frontend.elements:
                lists[name].append(f"{key} : {value}" if value else key)
            chains.update(frontend.chains)
        self._chains = {chain.name: chain for chain in sorted(chains)}
        self._learning = {name for name in lists if name.startswith("affine-")}
        self._made = set(self._chains)
        inside = table.base(
            cluster=self._cluster, ranges=sorted(self._ranges), masquerade_bit=self._masquerade_bit,
            node_port_addresses=self._node_port_addresses,
        )  # fmt: skip
        head = replaced(TABLE, f"table ip {TABLE} {{\n{inside}}}\n")
        return (
            head
            + table.add_learning(sorted(self._learning))
            + table.add_chains(self._chains.values(), **self._options())
            + _commands("add", lists)
        )

    def endpoints(self) -> dict[str, frozenset[str]]:
        """Of every frontend."""
        return {key: each.leads for key, each in self._installed.items()}


def _delete(gone: Elements, new: Elements) -> str:
    lists: dict[str, list[str]] = defaultdict(list)
    for each, value in gone.items():
        if each not in new or new[each] != value:
            lists[each[0]].append(each[1])
    return _commands("delete", lists)


def _add(new: Elements, gone: Elements) -> str:
    lists: dict[str, list[str]] = defaultdict(list)
    for each, value in new.items():
        if each not in gone or gone[each] != value:
            lists[each[0]].append(f"{each[1]} : {value}" if value else each[1])
    return _commands("add", lists)


def _commands(verb: str, lists: Mapping[str, Iterable[str]]) -> str:
    return "".join(elements(verb, TABLE, name, items) for name, items in lists.items())
