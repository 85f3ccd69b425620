"""The table as text for nftables: all of it, or what has changed.

Source: nftables/doc/nft.txt
"""

from __future__ import annotations

from collections import defaultdict

from sampan.network.nft import elements, replaced
from sampan.network.policy.rules import TABLE, Table

_HOOKS = """\
 map ingress { type ipv4_addr : verdict; }
 map egress { type ipv4_addr : verdict; }
 set self { type ipv4_addr . ipv4_addr; }
 chain forward-egress {
  type filter hook forward priority 0; policy accept;
  ct state established,related accept;
  ip saddr . ip daddr @self accept;
  ip saddr vmap @egress;
 }
 chain forward-ingress {
  type filter hook forward priority 1; policy accept;
  ct state established,related accept;
  ip saddr . ip daddr @self accept;
  ip daddr vmap @ingress;
 }
"""
NOTHING = f"table ip {TABLE}\ndelete table ip {TABLE}\n"


def program(table: Table) -> str:
    """In the place of what was there."""
    out = [f"table ip {TABLE} {{\n"]
    for name, (kind, _) in table.sets.items():
        interval = " flags interval;" if name.startswith("ports") else ""
        out.append(f" set {name} {{ type {kind};{interval} }}\n")
    # chains that are jumped to must be there first
    for name, rules in sorted(table.chains.items(), key=lambda each: each[0].startswith("pods-")):
        out.append(f" chain {name} {{\n{''.join(f'  {rule};{chr(10)}' for rule in rules)} }}\n")
    out.append(f"{_HOOKS}}}\n")
    return replaced(TABLE, "".join(out)) + _commands("add", table.elements())


def change(before: Table, after: Table) -> str:
    """Between two of the same structure."""
    old, new = before.elements(), after.elements()
    gone = {each: value for each, value in old.items() if new.get(each) != value}
    come = {each: value for each, value in new.items() if old.get(each) != value}
    return _commands("delete", gone) + _commands("add", come)


def _commands(verb: str, found: dict[tuple[str, str], str]) -> str:
    lists: dict[str, list[str]] = defaultdict(list)
    for (name, key), value in found.items():
        lists[name].append(f"{key} : {value}" if value and verb == "add" else key)
    return "".join(elements(verb, TABLE, name, items) for name, items in lists.items())
