"""The rules of the proxy, which are the same for one Service and for ten thousand.

`service . endpoint number` are looked up in one map for each number of endpoints, so a change of a Service is a change of
elements: a rule is added only when a number of endpoints is seen for the first time.

Order of what a packet meets: dropped and guarded frontends; translation; refusal of what was not translated; the memory
of session affinity; masquerading of what would not come back by itself.

DEVIATION: session affinity is by address and port of the Service, so a client that comes by the cluster IP and by the
node port may meet two endpoints.

DEVIATION: everything in the Services' ranges that no Service has is refused; upstream drops addresses nobody has.

Source: kubernetes/pkg/proxy/nftables/{proxier.go,README.md}
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Network

from sampan.network.proxy.frontends import Chain

TABLE = "kube-proxy"
_KEY, _NODE_KEY = "ip daddr . meta l4proto . th dport", "meta l4proto . th dport"
_TYPES = {
    "services": "map services { type ipv4_addr . inet_proto . inet_service : verdict; }",
    "short": "map short { type ipv4_addr . inet_proto . inet_service : verdict; }",
    "nodeports": "map nodeports { type inet_proto . inet_service : verdict; }",
    "nodeports-short": "map nodeports-short { type inet_proto . inet_service : verdict; }",
    "refused": "set refused { type ipv4_addr . inet_proto . inet_service; }",
    "refused-ports": "set refused-ports { type inet_proto . inet_service; }",
    "dropped": "set dropped { type ipv4_addr . inet_proto . inet_service; }",
    "dropped-outside": "set dropped-outside { type ipv4_addr . inet_proto . inet_service; }",
    "dropped-ports": "set dropped-ports { type inet_proto . inet_service; }",
    "guarded": "set guarded { type ipv4_addr . inet_proto . inet_service; }",
    "allowed": "set allowed { type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags interval; }",
    "hairpin": "set hairpin { type ipv4_addr . ipv4_addr; }",
    "affinity": "map affinity { type ipv4_addr . ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;"
                " size 65535; flags dynamic,timeout; timeout 3h; }",
}  # fmt: skip
_RULES = """\
 set inside {{ type ipv4_addr; flags interval; {inside} }}
 set service-ranges {{ type ipv4_addr; flags interval; auto-merge; {ranges} }}
 chain mark-for-masquerade {{ meta mark set meta mark or {mark}; }}
 chain learn {{ }}
 chain services {{
  ip saddr @inside ip daddr . meta l4proto . th dport vmap @short;
  fib saddr type local ip daddr . meta l4proto . th dport vmap @short;
  ip daddr . meta l4proto . th dport vmap @services;
  fib daddr type local {node_addresses}jump node-ports;
 }}
 chain node-ports {{
  ip saddr @inside meta l4proto . th dport vmap @nodeports-short;
  fib saddr type local meta l4proto . th dport vmap @nodeports-short;
  meta l4proto . th dport vmap @nodeports;
 }}
 chain drops {{
  ip daddr . meta l4proto . th dport @guarded ip saddr . ip daddr . meta l4proto . th dport != @allowed drop;
  ip daddr . meta l4proto . th dport @dropped drop;
  ip saddr @inside return;
  fib saddr type local return;
  ip daddr . meta l4proto . th dport @dropped-outside drop;
  fib daddr type local meta l4proto . th dport @dropped-ports drop;
 }}
 chain refusals {{
  ip daddr . meta l4proto . th dport @refused goto refuse;
  fib daddr type local meta l4proto . th dport @refused-ports goto refuse;
  ip daddr @service-ranges goto refuse;
 }}
 chain refuse {{
  meta l4proto tcp reject with tcp reset;
  reject;
 }}
 chain filter-prerouting {{ type filter hook prerouting priority -110; policy accept; ct state new jump drops; }}
 chain filter-input {{
  type filter hook input priority -110; policy accept;
  iifname != "lo" ip daddr 127.0.0.0/8 ct state new drop;
  ct state new jump refusals;
 }}
 chain filter-forward {{ type filter hook forward priority -110; policy accept; ct state new jump refusals; }}
 chain filter-output {{ type filter hook output priority -110; policy accept; ct state new jump drops; }}
 chain filter-output-translated {{ type filter hook output priority -90; policy accept; ct state new jump refusals; }}
 chain filter-postrouting {{ type filter hook postrouting priority 99; policy accept; ct state new ct status dnat jump learn; }}
 chain nat-prerouting {{ type nat hook prerouting priority -100; policy accept; jump services; }}
 chain nat-output {{ type nat hook output priority -100; policy accept; jump services; }}
 chain nat-postrouting {{
  type nat hook postrouting priority 100; policy accept;
  ip saddr . ip daddr @hairpin ct status dnat masquerade fully-random;
  meta mark and {mark} == 0 return;
  meta mark set meta mark xor {mark};
  masquerade fully-random;
 }}
"""


def base(
    *, cluster: IPv4Network | None, ranges: Collection[IPv4Network], masquerade_bit: int = 14,
    node_port_addresses: Collection[IPv4Network] = (),
) -> str:  # fmt: skip
    """The inside of the table's braces, without elements of Services. `cluster`: range of all pods; `ranges`: those of
    cluster IPs."""
    sets = "".join(f" {declared}\n" for declared in _TYPES.values())
    nodes = f"ip daddr {{ {', '.join(map(str, node_port_addresses))} }} " if node_port_addresses else ""
    return sets + _RULES.format(
        inside=_listed([cluster] if cluster else []), ranges=_listed(ranges), mark=hex(1 << masquerade_bit),
        node_addresses=nodes,
    )  # fmt: skip


def _listed(networks: Collection[IPv4Network]) -> str:
    return f"elements = {{ {', '.join(map(str, networks))} }}" if networks else ""


def rules(chain: Chain, *, outside_is_masqueraded: bool = True, masquerade_all: bool = False) -> list[str]:
    """Of a chain, in order."""
    key = _NODE_KEY if chain.kind.startswith("node") else _KEY
    out = []
    if masquerade_all or chain.kind in ("external", "node"):
        out.append("jump mark-for-masquerade")
    elif chain.kind == "cluster" and outside_is_masqueraded:
        # the answer must come back through us
        out.append("ip saddr != @inside jump mark-for-masquerade")
    elif chain.kind in ("short", "nodeshort"):
        out.append("fib saddr type local jump mark-for-masquerade")
    protocols = "meta l4proto { tcp, udp, sctp }"
    if chain.affine:
        out.append(f"{protocols} dnat ip to ip saddr . ip daddr . meta l4proto . th dport map @affinity")
    out.append(f"{protocols} dnat ip to {key} . numgen random mod {chain.size} map @{chain.map}")
    return out


def learning(name: str) -> tuple[str, list[str]]:
    """For a set of frontends with session affinity (`affine-ips-SECONDS`): its declaration, and rules of `learn`."""
    _, kind, seconds = name.split("-")
    where = (
        "ct original ip daddr . meta l4proto . ct original proto-dst"
        if kind == "ips"
        else "meta l4proto . ct original proto-dst"
    )
    kinds = "ipv4_addr . inet_proto . inet_service" if kind == "ips" else "inet_proto . inet_service"
    key = "ip saddr . ct original ip daddr . meta l4proto . ct original proto-dst"
    # nft knows the size of `ct original proto-dst` only where it knows the protocol
    learn = [
        f"meta l4proto {protocol} {where} @{name} update @affinity {{ {key} timeout {seconds}s : ip daddr . th dport }}"
        for protocol in ("tcp", "udp", "sctp")
    ]
    return f" set {name} {{ type {kinds}; }}\n", learn


def add_chains(chains: Iterable[Chain], **options: bool) -> str:
    """What makes chains that are not there, and their maps."""
    out = []
    for chain in chains:
        key = _NODE_KEY if chain.kind.startswith("node") else _KEY
        declared = f" map {chain.map} {{ typeof {key} . numgen random mod {chain.size} : ip daddr . th dport; }}\n"
        body = "".join(f"  {rule};\n" for rule in rules(chain, **options))
        out.append(f"table ip {TABLE} {{\n{declared} chain {chain.name} {{\n{body} }}\n}}\n")
    return "".join(out)


def add_learning(names: Iterable[str]) -> str:
    out = []
    for name in names:
        declared, learn = learning(name)
        out.append(f"table ip {TABLE} {{\n{declared}}}\n")
        out += [f"add rule ip {TABLE} learn {rule}\n" for rule in learn]
    return "".join(out)
