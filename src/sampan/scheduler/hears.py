"""Listening to informers for as long as one scheduler runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.client import Handler, Informer

Obj = dict[str, Any]


class Hears:
    """Handlers that end when who added them does: informers may be shared, and live longer."""

    def __init__(self) -> None:
        self._handlers: list[tuple[Informer, Handler]] = []

    def add(
        self,
        informer: Informer,
        add: Callable[[Obj], object] | None = None,
        update: Callable[[Obj, Obj], object] | None = None,
        delete: Callable[[Obj], object] | None = None,
    ) -> None:
        self._handlers.append((informer, informer.add_handler(add, update, delete)))

    def close(self) -> None:
        for informer, handler in self._handlers:
            informer.remove_handler(handler)
        self._handlers.clear()
