"""Directives of a line or two.

Source: github.com/coredns/coredns plugin/{errors,log,health,ready,metrics,reload,bind,bufsize,loadbalance,loop}/setup.go
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

from sampan.network.dns import names
from sampan.network.dns.corefile import CorefileError, Dispenser
from sampan.network.dns.errorlog import LEVELS, ErrorLog, Kind
from sampan.network.dns.loop import Loop
from sampan.network.dns.querylog import CLASSES, COMBINED, COMMON, Rule
from sampan.network.dns.setup.draft import Draft, Reload, number, once, seconds

MIN_INTERVAL, MIN_JITTER = 2.0, 1.0


def errors(c: Dispenser, draft: Draft) -> None:
    for _ in once(c):
        if c.args():
            raise c.wrong_arguments()
        kinds = []
        while c.next_block():
            name, args = c.val, c.args()
            if name == "consolidate":
                kinds.append(_consolidated(c, args))
            elif name != "stacktrace":  # that is always told
                raise c.error(f"unknown property '{name}'")
        draft.errors = ErrorLog(tuple(kinds))


def _consolidated(c: Dispenser, args: list[str]) -> Kind:
    show_first = args[-1:] == ["show_first"]
    words = args[:-1] if show_first else args
    if not 2 <= len(words) <= 3:
        raise c.wrong_arguments()
    every = seconds(words[0])
    if every <= 0:
        raise c.error(f"invalid duration: {words[0]}")
    if words[2:] and words[2] not in LEVELS:
        raise c.error(f"unknown log level {words[2]} in consolidate")
    re2: Any = importlib.import_module("re2")
    try:
        pattern = re2.compile(words[1])
    except re2.error as error:
        raise c.error(str(error)) from None
    level = LEVELS[words[2]] if words[2:] else LEVELS["error"]
    return Kind(every, words[0], pattern, words[1], level, show_first)


def log(c: Dispenser, draft: Draft) -> None:
    while c.next():
        args = c.args()
        form = COMMON
        if args and "{" in args[-1]:
            form = args.pop().replace("{common}", COMMON).replace("{combined}", COMBINED)
        rule = Rule(tuple(names.all_zones(args)) or tuple(draft.zones), form)
        classes: set[str] = set()
        while c.next_block():
            if c.val != "class":
                raise c.wrong_arguments()
            found = c.args()
            if not found:
                raise c.wrong_arguments()
            if unknown := [each for each in found if each not in CLASSES]:
                raise CorefileError(f"invalid Class: {unknown[0]}")
            classes.update(found)
        draft.log.append(replace(rule, classes=frozenset(classes)) if classes else rule)


def health(c: Dispenser, draft: Draft) -> None:
    draft.health = ":8080"
    for _ in once(c):
        args = c.args()
        if len(args) > 1:
            raise c.wrong_arguments()
        draft.health = _listening(args[0]) if args else draft.health
        while c.next_block():
            if c.val != "lameduck":
                raise c.wrong_arguments()
            found = c.args()
            if len(found) != 1:
                raise c.wrong_arguments()
            try:
                draft.lameduck = seconds(found[0])
            except CorefileError as error:
                raise CorefileError(f"unable to parse lameduck duration value: '{found[0]}' : {error}") from None


def ready(c: Dispenser, draft: Draft) -> None:
    draft.ready = ":8181"
    for _ in once(c):
        args = c.args()
        if len(args) > 1:
            raise c.wrong_arguments()
        draft.ready = _listening(args[0]) if args else draft.ready
        if c.next_block():
            raise c.wrong_arguments()


def prometheus(c: Dispenser, draft: Draft) -> None:
    draft.metrics = "localhost:9153"
    for _ in once(c):
        args = c.args()
        if len(args) > 1:
            raise c.wrong_arguments()
        draft.metrics = _listening(args[0]) if args else draft.metrics


def _listening(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise CorefileError(f"address {text}: missing port in address")
    if not port.isdigit() or int(port) > 65535:
        raise CorefileError(f"address {text}: invalid port")
    return f"{host.strip('[]')}:{port}"


def reload(c: Dispenser, draft: Draft) -> None:
    for _ in once(c):
        args = c.args()
        if len(args) > 2:
            raise c.wrong_arguments()
        interval = seconds(args[0]) if args else Reload().interval
        if interval < MIN_INTERVAL:
            raise CorefileError(f"interval value must be greater or equal to {MIN_INTERVAL:g}s")
        jitter = seconds(args[1]) if len(args) > 1 else min(Reload().jitter, interval / 2)
        if jitter < MIN_JITTER:
            raise CorefileError(f"jitter value must be greater or equal to {MIN_JITTER:g}s")
        draft.reload = Reload(interval, min(jitter, interval / 2))


def bind(c: Dispenser, draft: Draft) -> None:
    while c.next():
        args = c.args()
        if not args:
            raise CorefileError("at least one address or interface name is expected")
        # DEVIATION: `bind` takes addresses, no names of interfaces.
        if bad := [each for each in args if not names.is_ip(each)]:
            raise CorefileError(f"not a valid IP address or interface name: {bad[0]!r}".replace("'", '"'))
        draft.hosts += args


def bufsize(c: Dispenser, draft: Draft) -> None:
    for _ in once(c):
        args = c.args()
        if len(args) > 1:
            raise c.wrong_arguments()
        size = number(args[0]) if args else 1232
        if not 512 <= size <= 4096:
            raise CorefileError("must be within 512 - 4096")
        draft.buffer = size


def loadbalance(c: Dispenser, draft: Draft) -> None:
    for _ in once(c):
        args = c.args()
        # DEVIATION: `loadbalance` has no policy `weighted`.
        if args not in ([], ["round_robin"]):
            raise CorefileError(f"unknown policy: {args[0]}")
        draft.balanced = True


def loop(c: Dispenser, draft: Draft) -> None:
    for _ in once(c):
        if c.next_arg():
            raise c.wrong_arguments()
        draft.plugins["loop"] = [Loop(draft.zones[0], draft.itself, draft.around.rng)]
