"""What those who write say of it, and what they are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sampan.api.field import ErrorList
from sampan.api.frozen import frozen
from sampan.api.kind import Obj
from sampan.apiserver.cache import Record


@dataclass(slots=True, repr=False)
class Produced:
    """The new object in the served version; `managed`: its field owners, where the producer knows them (apply)."""

    obj: Obj
    managed: list[Obj] | None = None


@dataclass(slots=True)
class Written:
    """`record` shows the object as it is now stored (or would be); `deleted`: the write let go the last finalizer."""

    record: Record
    created: bool = False
    deleted: bool = False


Produce = Callable[[Obj | None], Produced]
#: what a subresource takes of a new object, given the old one, and what is wrong with it
Finish = Callable[[Obj, Obj], tuple[Obj, ErrorList]]


@frozen
class View:
    """Another form of the stored object that a subresource speaks in, and admission is asked about: a Scale.

    `show` makes it; `take` puts it back into the object it was made of.
    """

    gvk: tuple[str, str, str]
    show: Callable[[Obj], Obj]
    take: Callable[[Obj, Obj], Obj]
