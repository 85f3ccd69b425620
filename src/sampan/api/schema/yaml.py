"""YAML bodies: one pass over the parser's events, which makes JSON values and finds keys that are given twice.

Aliases are not accepted, since they can blow a document up. Parsing takes a hundred times as long as that of JSON:
documents have a bound on their parts, and long ones let others have their turn.

DEVIATION: upstream accepts aliases up to a ratio, and has no bound but the body's size.

Source: sigs.k8s.io/yaml (YAMLToJSONStrict), go.yaml.in/yaml
"""

from __future__ import annotations

import json
from typing import Any

import yaml

from sampan.api import pace

MAX_PARTS, MAX_DEPTH = 100_000, 250
_STRETCH = 256
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT = "tag:yaml.org,2002:str"


class NotAccepted(ValueError):
    """It is YAML, but more than we take."""


class _Open:
    """A list or map whose end has not come. `key`: of the value that comes next; None: the next is a key."""

    __slots__ = ("into", "key", "path")

    def __init__(self, into: dict[str, Any] | list[Any], path: str) -> None:
        self.into = into
        self.path = path
        self.key: str | None = None

    @property
    def below(self) -> str:
        """The path of what comes next."""
        if isinstance(self.into, list):
            return f"{self.path}[{len(self.into)}]"
        return f"{self.path}.{self.key}" if self.path else str(self.key)


def load(data: bytes) -> tuple[Any, list[str]]:
    """The value, and `duplicate field "..."` texts. Raises yaml.YAMLError, ValueError."""
    loader = _LOADER(data)
    try:
        return _Reader(loader).read()
    finally:
        loader.dispose()


class _Reader:
    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.open: list[_Open] = []
        self.duplicates: dict[str, None] = {}
        self.documents = 0
        self.root: Any = None
        #: plain scalars seen before
        self.known: dict[str, Any] = {}

    def read(self) -> tuple[Any, list[str]]:
        running = pace.current.get()
        parts = 0
        while self.loader.check_event():
            parts += 1
            if parts > MAX_PARTS:
                raise NotAccepted(f"a document may not have more than {MAX_PARTS} parts; send it as JSON")
            if running is not None and parts % _STRETCH == 0:
                running.pause()
            self._take(self.loader.get_event())
        return self.root, [f'duplicate field "{path}"' for path in self.duplicates]

    def _take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._put(self._scalar(event))
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._begin({} if kind is yaml.MappingStartEvent else [])
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self.open.pop()
        elif kind is yaml.AliasEvent:
            raise NotAccepted("aliases are not accepted")
        elif kind is yaml.DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                raise NotAccepted("expected a single document in the stream")

    def _begin(self, made: dict[str, Any] | list[Any]) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise NotAccepted("the object is nested too deeply")
        within = self.open[-1] if self.open else None
        if within is not None and isinstance(within.into, dict) and within.key is None:
            raise NotAccepted("keys must be scalars")
        path = within.below if within is not None else ""
        self._put(made)
        self.open.append(_Open(made, path))

    def _put(self, value: Any) -> None:
        if not self.open:
            self.root = value
            return
        within = self.open[-1]
        if isinstance(within.into, list):
            within.into.append(value)
        elif within.key is None:
            within.key = value if isinstance(value, str) else json.dumps(value)
            if within.key in within.into:
                self.duplicates[within.below] = None
        else:
            within.into[within.key] = value
            within.key = None

    def _scalar(self, event: Any) -> Any:
        """Dates as text, as JSON has none."""
        tag, text = event.tag, event.value
        if tag is None and event.implicit[0]:
            if text not in self.known:
                self.known[text] = self._value(event, self.loader.resolve(yaml.ScalarNode, text, event.implicit))
            return self.known[text]
        if tag is None or tag == "!":
            tag = self.loader.resolve(yaml.ScalarNode, text, event.implicit)
        return self._value(event, tag)

    def _value(self, event: Any, tag: str) -> Any:
        if tag == _TEXT:
            return event.value
        value = self.loader.construct_object(yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark))
        if value is None or isinstance(value, (str, int, float, bool)):
            return value
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
