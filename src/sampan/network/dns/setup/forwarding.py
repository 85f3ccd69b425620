"""The `forward` directive: where to, and how.

Source: github.com/coredns/coredns plugin/forward/setup.go, plugin/pkg/parse/{host,transport}.go
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

from sampan.network.dns import names, wire
from sampan.network.dns.corefile import CorefileError, Dispenser
from sampan.network.dns.forward import Forward, Options
from sampan.network.dns.plugin import Plugin
from sampan.network.dns.setup.draft import Draft, number, seconds
from sampan.network.dns.upstream import Address, Upstream

MAX_UPSTREAMS = 15
_POLICIES = ("random", "round_robin", "sequential")


def forward(c: Dispenser, draft: Draft) -> None:
    made: list[Plugin] = []
    while c.next():
        args = c.args()
        if len(args) < 2:
            raise c.wrong_arguments()
        addresses = [found for each in args[1:] for found in servers(each, draft.root)]
        if len(addresses) > MAX_UPSTREAMS:
            raise CorefileError(f"more than {MAX_UPSTREAMS} TOs configured: {len(addresses)}")
        options = Options(names.zones(args[0])[0])
        tls: tuple[str, ...] = ()
        server_name = ""
        while c.next_block():
            name, rest = c.val, c.args()
            if name == "tls":
                if len(rest) > 3:
                    raise c.wrong_arguments()
                tls = tuple(rest)
            elif name == "tls_servername":
                server_name = _one(c, rest)
            else:
                options = _property(c, name, rest, options)
        context = _context(tls) if any(address.tls for address in addresses) else None
        upstreams = [
            Upstream(each, context=context if each.tls else None, server_name=server_name) for each in addresses
        ]
        made.append(Forward(upstreams, options, draft.around.metrics, draft.around.rng))
    draft.plugins["forward"] = made


def servers(text: str, root: Path) -> list[Address]:
    """An address, or those of a file like resolv.conf. Raises CorefileError."""
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "dns", text
    if scheme not in ("dns", "tls"):
        raise CorefileError(f"'{scheme}' is not supported as a destination protocol in forward: {text}")
    default = 853 if scheme == "tls" else 53
    host, port = rest, default
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = int(tail[1:]) if tail.startswith(":") and tail[1:].isdigit() else default
    elif rest.count(":") == 1:
        host, _, tail = rest.partition(":")
        port = int(tail) if tail.isdigit() else default
    if names.is_ip(host):
        return [Address(host, port, scheme == "tls")]
    try:
        lines = (root / text).read_text(errors="replace").splitlines()
    except OSError:
        raise CorefileError(f'not an IP address or file: "{text}"') from None
    found_servers = [
        words[1].partition("%")[0] for line in lines if (words := line.split())[:1] == ["nameserver"] and words[1:]
    ]
    good = [Address(each) for each in found_servers if names.is_ip(each)]
    if not good:
        raise CorefileError("no nameservers found")
    return good


def _one(c: Dispenser, rest: list[str]) -> str:
    if len(rest) != 1:
        raise c.wrong_arguments()
    return rest[0]


def _property(c: Dispenser, name: str, rest: list[str], options: Options) -> Options:
    if name == "except":
        if not rest:
            raise c.wrong_arguments()
        return replace(options, ignored=(*options.ignored, *names.all_zones(rest)))
    if name in ("force_tcp", "prefer_udp", "failfast_all_unhealthy_upstreams"):
        if rest:
            raise c.wrong_arguments()
        return replace(
            options,
            force_tcp=options.force_tcp or name == "force_tcp",
            prefer_udp=options.prefer_udp or name == "prefer_udp",
            fail_fast=options.fail_fast or name == "failfast_all_unhealthy_upstreams",
        )
    if name == "max_fails":
        found = number(_one(c, rest))
        if found < 0:
            raise CorefileError(f'strconv.ParseUint: parsing "{found}": invalid syntax')
        return replace(options, max_fails=found)
    if name == "expire":
        if seconds(_one(c, rest)) < 0:
            raise CorefileError(f"expire can't be negative: {rest[0]}")
        return options  # connections are not kept
    if name == "policy":
        if _one(c, rest) not in _POLICIES:
            raise c.error(f"unknown policy '{rest[0]}'")
        return replace(options, policy=rest[0])
    if name == "max_concurrent":
        found = number(_one(c, rest))
        if found < 0:
            raise CorefileError(f"max_concurrent can't be negative: {found}")
        return replace(options, max_concurrent=found)
    if name in ("next", "failover"):
        return _codes(c, name, rest, options)
    if name == "health_check":
        return _health_check(c, rest, options)
    raise c.error(f"unknown property '{name}'")


def _codes(c: Dispenser, name: str, rest: list[str], options: Options) -> Options:
    known = {text: number for number, text in wire.RCODES.items()}
    if not rest:
        raise c.wrong_arguments()
    for each in rest:
        if each.upper() not in known:
            raise c.error(f"{each} is not a valid rcode")
    codes = frozenset(known[each.upper()] for each in rest)
    return replace(options, next_on=codes) if name == "next" else replace(options, failover=codes)


def _health_check(c: Dispenser, rest: list[str], options: Options) -> Options:
    if not rest:
        raise c.wrong_arguments()
    interval = seconds(rest[0])
    if interval < 0:
        raise CorefileError(f"health_check can't be negative: {rest[0]}")
    options = replace(options, interval=interval)
    words = iter(rest[1:])
    for word in words:
        if word == "no_rec":
            options = replace(options, check_recursion=False)
        elif word == "domain":
            name = next(words, "")
            if not name:
                raise c.wrong_arguments()
            options = replace(options, check_name=names.fqdn(name.lower()))
        else:
            raise CorefileError(f"health_check: unknown option {word}")
    return options


def _context(files: tuple[str, ...]) -> ssl.SSLContext:
    """`tls`, `tls CA`, `tls CERT KEY`, `tls CERT KEY CA`. Raises CorefileError."""
    try:
        context = ssl.create_default_context(cafile=files[-1] if len(files) in (1, 3) else None)
        if len(files) > 1:
            context.load_cert_chain(files[0], files[1])
    except (OSError, ssl.SSLError) as error:
        raise CorefileError(f"could not load TLS cert: {error}") from None
    return context
