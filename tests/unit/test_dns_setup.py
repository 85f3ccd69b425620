"""What a Corefile comes to, and what CoreDNS says of one that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.client import Client, Config, ConfigError
from sampan.client.config import NOT_IN_CLUSTER
from sampan.cluster.addons.coredns import corefile
from sampan.network.dns.cache import Cache
from sampan.network.dns.corefile import CorefileError
from sampan.network.dns.forward import Forward
from sampan.network.dns.kubernetes import Kubernetes
from sampan.network.dns.metrics import Metrics
from sampan.network.dns.setup import DIRECTIVES, drafts
from sampan.network.dns.setup.draft import Draft, Surroundings, seconds
from tests.dns import rng


def around(connect: Any = None) -> Surroundings:
    def nowhere(config: Config | None) -> Client:
        raise ConfigError(NOT_IN_CLUSTER)

    return Surroundings(Metrics(), rng(), lambda: 0.0, connect or nowhere, lambda: ["10.244.0.2"])


def read(text: str, connect: Any = None) -> list[Draft]:
    return drafts(text, "/etc/coredns/Corefile", around(connect))


def test_kubeadms_corefile(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("search x\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\noptions ndots:5\n")
    text = corefile("cluster.local").replace("/etc/resolv.conf", str(tmp_path / "resolv.conf"))
    (draft,) = read(text, lambda config: Client(None))  # type: ignore[arg-type]  # nobody asks
    assert draft.zones == ["."] and draft.port == 53 and draft.server == "dns://:53"
    assert draft.errors and draft.balanced and draft.lameduck == 5.0 and not draft.log
    assert (draft.health, draft.ready, draft.metrics) == (":8080", ":8181", ":9153")
    assert draft.reload is not None and (draft.reload.interval, draft.reload.jitter) == (30.0, 15.0)
    assert [name for name in DIRECTIVES if name in draft.plugins] == ["cache", "kubernetes", "loop", "forward"]
    kubernetes, cache, forward = (draft.plugins[name][0] for name in ("kubernetes", "cache", "forward"))
    assert isinstance(kubernetes, Kubernetes) and isinstance(cache, Cache) and isinstance(forward, Forward)
    assert kubernetes.options.zones == ("cluster.local.", "in-addr.arpa.", "ip6.arpa.")
    assert (kubernetes.options.pods, kubernetes.options.ttl) == ("insecure", 30)
    assert cache.options.success.most == cache.options.denial.most == 30
    assert cache.options.without == {"success": ("cluster.local.",), "denial": ("cluster.local.",)}
    assert [str(each.address) for each in forward._upstreams] == ["192.0.2.53:53", "[fe80::1]:53"]
    assert forward._options.max_concurrent == 1000


def test_stub_domains() -> None:
    found = read(
        "example.org:1053, b.org {\n forward . 10.0.0.1\n}\n10.0.0.0/23 {\n forward . tls://9.9.9.9:8853 [fd00::1]:5353 {\n"
        "  tls_servername dns.quad9.net\n  policy sequential\n  except x.org\n  health_check 1s domain a.b\n }\n}"
    )
    assert [(draft.port, draft.zones) for draft in found] == [
        (1053, ["example.org."]),
        (53, ["b.org."]),
        (53, ["0.0.10.in-addr.arpa.", "1.0.10.in-addr.arpa."]),
    ]
    forward = found[2].plugins["forward"][0]
    assert isinstance(forward, Forward)
    assert [str(each.address) for each in forward._upstreams] == ["9.9.9.9:8853", "[fd00::1]:5353"]
    assert (forward._options.policy, forward._options.ignored) == ("sequential", ("x.org.",))


WRONG = "Wrong argument count or unexpected line ending after"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("erors", "/etc/coredns/Corefile:2 - Error during parsing: Unknown directive 'erors'"),
        ("file db.x", "/etc/coredns/Corefile:2 - Error during parsing: Unknown directive 'file'"),
        ("forward .", f"plugin/forward: /etc/coredns/Corefile:2 - Error during parsing: {WRONG} '.'"),
        ("forward . nowhere", 'plugin/forward: not an IP address or file: "nowhere"'),
        ("forward . /dev/null", "plugin/forward: no nameservers found"),
        ("forward . https://1.1.1.1", "plugin/forward: 'https' is not supported as a destination protocol in forward: https://1.1.1.1"),
        ("forward . 1.1.1.1 {\n max_concurrent x\n}", 'plugin/forward: strconv.Atoi: parsing "x": invalid syntax'),
        ("forward . 1.1.1.1 {\n policy best\n}", "plugin/forward: /etc/coredns/Corefile:3 - Error during parsing: unknown policy 'best'"),
        ("forward . 1.1.1.1 {\n fast\n}", "plugin/forward: /etc/coredns/Corefile:3 - Error during parsing: unknown property 'fast'"),
        ("forward . " + "1.1.1.1 " * 16, "plugin/forward: more than 15 TOs configured: 16"),
        ("cache 0", "plugin/cache: cache TTL can not be zero or negative: 0"),
        ("cache {\n prefetch 1 1m 95%\n}", "plugin/cache: percentage should fall in range [10, 90]: 95"),
        ("cache {\n serve_stale 1\n}", 'plugin/cache: time: missing unit in duration "1"'),
        ("cache {\n servfail 10m\n}", "plugin/cache: caching SERVFAIL responses over 5 minutes is not permitted"),
        ("cache\ncache", "plugin/cache: this plugin can only be used once per Server Block"),
        ("cache {\n size 1\n}", f"plugin/cache: /etc/coredns/Corefile:3 - Error during parsing: {WRONG} '1'"),
        ("kubernetes in-addr.arpa", "plugin/kubernetes: non-reverse zone name must be used"),
        ("kubernetes {\n pods some\n}", "plugin/kubernetes: wrong value for pods: some,  must be one of: disabled, verified, insecure"),
        ("kubernetes {\n ttl 4000\n}", "plugin/kubernetes: /etc/coredns/Corefile:3 - Error during parsing: ttl must be in range [0, 3600]: 4000"),
        ("kubernetes {\n upstream\n}", "plugin/kubernetes: /etc/coredns/Corefile:3 - Error during parsing: unknown property 'upstream'"),
        ("kubernetes {\n namespaces a\n namespace_labels b\n}",
         "plugin/kubernetes: /etc/coredns/Corefile:5 - Error during parsing: namespaces and namespace_labels cannot both be set"),
        ("kubernetes", f"plugin/kubernetes: {NOT_IN_CLUSTER}"),
        ("health {\n lameduck soon\n}", 'plugin/health: unable to parse lameduck duration value: \'soon\' : time: invalid duration "soon"'),
        ("health nowhere", "plugin/health: address nowhere: missing port in address"),
        ("reload 1s", "plugin/reload: interval value must be greater or equal to 2s"),
        ("bufsize 100", "plugin/bufsize: must be within 512 - 4096"),
        ("loop x", f"plugin/loop: /etc/coredns/Corefile:2 - Error during parsing: {WRONG} 'x'"),
        ("rewrite names a b", 'plugin/rewrite: invalid rule type "names"'),
        ("rewrite name a", "plugin/rewrite: too few arguments for a name rule: a"),
        ("hosts {\n nonsense\n}", "plugin/hosts: /etc/coredns/Corefile:3 - Error during parsing: unknown property 'nonsense'"),
        ("template IN X", "plugin/template: /etc/coredns/Corefile:2 - Error during parsing: invalid RR type X"),
        ("log {\n class odd\n}", "plugin/log: invalid Class: odd"),
        ("bind eth0", 'plugin/bind: not a valid IP address or interface name: "eth0"'),
    ],
)  # fmt: skip
def test_what_is_wrong(lines: str, message: str) -> None:
    with pytest.raises(CorefileError) as caught:
        read(f". {{\n{lines}\n}}")
    assert str(caught.value) == message


def test_a_zone_is_served_once() -> None:
    with pytest.raises(CorefileError, match=r"^cannot serve dns://a\.:53 - it is already defined$"):
        read("a {\n errors\n}\na {\n errors\n}")
    assert len(read("a {\n errors\n}\na:1053 {\n errors\n}")) == 2


def test_durations() -> None:
    assert [seconds(each) for each in ("5s", "1.5h", "2h45m", "300ms", "0", "-1s")] == [5, 5400, 9900, 0.3, 0, -1]
