"""The `cache` directive.

Source: github.com/coredns/coredns plugin/cache/setup.go
"""

from __future__ import annotations

from dataclasses import replace

from sampan.network.dns import names
from sampan.network.dns.cache import DENIAL, SUCCESS, Cache, Options
from sampan.network.dns.corefile import CorefileError, Dispenser
from sampan.network.dns.setup.draft import Draft, number, once, seconds


def cache(c: Dispenser, draft: Draft) -> None:
    for _ in once(c):
        options = Options()
        args = c.args()
        if args and args[0].lstrip("+-").isdigit():
            ttl = _ttl(number(args.pop(0)))
            options = replace(
                options, success=replace(options.success, most=ttl), denial=replace(options.denial, most=ttl)
            )
        options = replace(options, zones=tuple(names.all_zones(args)) or tuple(draft.zones))
        while c.next_block():
            options = _property(c, options)
        draft.plugins["cache"] = [Cache(options, draft.around.metrics, draft.server)]


def _ttl(found: int) -> int:
    if found <= 0:
        raise CorefileError(f"cache TTL can not be zero or negative: {found}")
    return found


def _property(c: Dispenser, options: Options) -> Options:
    name = c.val
    args = c.args()
    if name in (SUCCESS, DENIAL):
        if not args:
            raise c.wrong_arguments()
        kind = replace(options.success if name == SUCCESS else options.denial, capacity=max(0, number(args[0])))
        if len(args) > 1:
            kind = replace(kind, most=_ttl(number(args[1])))
        if len(args) > 2:
            least = number(args[2])
            if least < 0:
                raise CorefileError(f"cache min TTL can not be negative: {least}")
            kind = replace(kind, least=least)
        return replace(options, success=kind) if name == SUCCESS else replace(options, denial=kind)
    if name == "prefetch":
        return _prefetch(c, args, options)
    if name == "serve_stale":
        return _stale(c, args, options)
    if name == "servfail":
        if len(args) != 1:
            raise c.wrong_arguments()
        found = seconds(args[0])
        if found < 0:
            raise CorefileError("invalid negative ttl for servfail")
        if found > 300:  # RFC 2308
            raise CorefileError("caching SERVFAIL responses over 5 minutes is not permitted")
        return replace(options, failures=int(found))
    if name == "disable":
        if not args:
            raise c.wrong_arguments()
        if args[0] not in (SUCCESS, DENIAL):
            raise CorefileError(f'cache type for disable must be "{SUCCESS}" or "{DENIAL}"')
        zones = tuple(names.all_zones(args[1:])) or options.zones
        return replace(options, without={**options.without, args[0]: zones})
    if name == "keepttl":
        if args:
            raise c.wrong_arguments()
        return replace(options, keep_ttl=True)
    raise c.wrong_arguments()


def _prefetch(c: Dispenser, args: list[str], options: Options) -> Options:
    if not 0 < len(args) < 4:
        raise c.wrong_arguments()
    amount = number(args[0])
    if amount < 0:
        raise CorefileError(f"prefetch amount should be positive: {amount}")
    options = replace(options, prefetch=amount)
    if len(args) > 1:
        options = replace(options, period=seconds(args[1]))
    if len(args) > 2:
        if args[2][-1] != "%":
            raise CorefileError(f"last character of percentage should be `%`, but is: {ord(args[2][-1])}")
        part = number(args[2][:-1])
        if not 10 <= part <= 90:
            raise CorefileError(f"percentage should fall in range [10, 90]: {part}")
        options = replace(options, percentage=part)
    return options


def _stale(c: Dispenser, args: list[str], options: Options) -> Options:
    if len(args) > 2:
        raise c.wrong_arguments()
    stale = seconds(args[0]) if args else 3600.0
    if stale < 0:
        raise CorefileError("invalid negative duration for serve_stale")
    mode = args[1].lower() if len(args) > 1 else "immediate"
    if mode not in ("verify", "immediate"):
        raise CorefileError(f"invalid value for serve_stale refresh mode: {mode}")
    return replace(options, stale=stale, verify=mode == "verify")
