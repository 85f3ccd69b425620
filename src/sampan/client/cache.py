"""What an informer knows: objects by key, kept as bytes, decoded when someone looks.

A decoded Pod takes 29 KB, its bytes 4; so the bytes are kept, with labels and index values beside them, and only the
objects looked at last stay decoded (`decoded_bytes` bounds them, by their encoded size). One that comes decoded is
encoded when its turn to go has come (`Record.slim`), not before: most change until then. Whoever looks at many of them
again and again takes a note of each as it comes (`add_note`). Whoever gets an object from here shares it with all others
and must not change it: copy first (`copied`, or copy the parts on the way to the change). With `detect_mutation` every
object handed out is compared with what it was, and `CacheMutated` raised.

Source: client-go/tools/cache/{thread_safe_store,index,mutation_detector}.go
"""

from __future__ import annotations

import builtins
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from sampan.api.selectors import LabelSelector
from sampan.http import ProtocolError

Obj = dict[str, Any]
Indexer = Callable[[Obj], Iterable[str]]
NAMESPACE = "namespace"
OWNER = "owner"
NODE = "node"
DECODED_BYTES = 8 << 20
_SHARED_LABELS = 20_000


def by_owner(obj: Obj) -> Iterable[str]:
    """The uid of the owner that controls it; an orphan is found under the empty string."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return (owner["uid"],)
    return ("",)


def by_node(obj: Obj) -> Iterable[str]:
    """The node a pod is on; one that is on none is found under the empty string."""
    return ((obj.get("spec") or {}).get("nodeName", ""),)


def key_of(obj: Obj) -> str:
    """`namespace/name`, or `name` of what is in no namespace."""
    meta = obj["metadata"]
    namespace = meta.get("namespace")
    return f"{namespace}/{meta['name']}" if namespace else str(meta["name"])


def split_key(key: str) -> tuple[str, str]:
    """Namespace and name."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def copied(obj: Obj) -> Obj:
    """All of it, the caller's own to change. For JSON it takes a tenth of the time of `copy.deepcopy`."""
    out: Obj = orjson.loads(orjson.dumps(obj))
    return out


def trim(obj: Obj) -> Obj:
    """The usual transform: without managedFields, which no controller reads and which are a third of an object."""
    obj["metadata"].pop("managedFields", None)
    return obj


class CacheMutated(AssertionError):
    """Someone changed an object that belongs to everyone."""


class Record:
    """One object, decoded or as bytes; `labels`, the names and `note` are there in both forms.

    It is encoded when it has not been looked at for a while (`slim`): most objects change before.
    """

    __slots__ = ("indexed", "key", "labels", "note", "obj", "raw", "size", "uid", "version")

    def __init__(
        self, key: str, size: int, obj: Obj, labels: Mapping[str, str], indexed: tuple[Any, ...], note: Any = None
    ) -> None:
        """`size`: about how many bytes it takes encoded."""
        meta = obj["metadata"]
        self.key = key
        self.size = size
        self.raw = b""
        self.uid: str = meta.get("uid", "")
        self.version: str = meta.get("resourceVersion", "")
        self.labels = labels
        self.indexed = indexed
        self.note = note
        self.obj: Obj | None = obj

    def decode(self) -> Obj:
        if self.obj is None:
            self.obj = orjson.loads(self.raw)
        return self.obj

    def encode(self) -> bytes:
        if not self.raw:
            # orjson leaves its bytes in a buffer of twice their size: only a copy gives the rest back
            self.raw = bytes(memoryview(orjson.dumps(self.obj)))
        return self.raw

    def slim(self) -> None:
        """Bytes alone from here on."""
        self.encode()
        self.obj = None


class Cache:
    """Objects of one resource, in the order they came. Reads only; the informer writes."""

    def __init__(
        self,
        *,
        indexers: Mapping[str, Indexer] | None = None,
        transform: Callable[[Obj], Obj] = trim,
        decoded_bytes: int = DECODED_BYTES,
        detect_mutation: bool | None = None,
    ) -> None:
        self._records: dict[str, Record] = {}
        self._namespaces: dict[str, dict[str, None]] = {}
        self._indexers: dict[str, Indexer] = dict(indexers or {})
        # values of an index map to keys; dicts serve as ordered sets, so that runs can be repeated
        self._indexes: dict[str, dict[str, dict[str, None]]] = {name: {} for name in self._indexers}
        self._transform = transform
        self._note: Callable[[Obj], Any] | None = None
        self._decoded: OrderedDict[str, Record] = OrderedDict()
        self._decoded_size = 0
        self._decoded_limit = decoded_bytes
        self._labels: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
        if detect_mutation is None:
            detect_mutation = os.environ.get("SAMPAN_DETECT_MUTATION", "") not in ("", "0")
        self._detect = detect_mutation

    # -- reading -------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def keys(self) -> list[str]:
        return list(self._records)

    def get(self, name: str, namespace: str = "") -> Obj | None:
        return self.by_key(f"{namespace}/{name}" if namespace else name)

    def by_key(self, key: str) -> Obj | None:
        record = self._records.get(key)
        return None if record is None else self._decode(record)

    def record(self, key: str) -> Record | None:
        """Without decoding: uid, version, labels."""
        return self._records.get(key)

    def records(self, namespace: str = "") -> Iterator[Record]:
        if not namespace:
            return iter(tuple(self._records.values()))
        return iter([self._records[key] for key in self._namespaces.get(namespace, ())])

    def list(self, namespace: str = "", selector: LabelSelector | None = None) -> list[Obj]:
        """All, or those of one namespace, whose labels match."""
        found = self.records(namespace)
        if selector:
            return [self._decode(record) for record in found if selector.matches(record.labels)]
        return [self._decode(record) for record in found]

    def by_index(self, index: str, value: str) -> builtins.list[Obj]:
        """Raises KeyError for an index that was not asked for."""
        if index == NAMESPACE:
            return self.list(value)
        return [self._decode(self._records[key]) for key in self._indexes[index].get(value, ())]

    def records_by_index(self, index: str, value: str) -> builtins.list[Record]:
        """As `by_index`, without decoding."""
        return [self._records[key] for key in self._indexes[index].get(value, ())]

    def index_keys(self, index: str, value: str) -> builtins.list[str]:
        """As `by_index`, without decoding."""
        found = self._namespaces if index == NAMESPACE else self._indexes[index]
        return list(found.get(value, ()))

    def index_values(self, index: str) -> builtins.list[str]:
        return list(self._namespaces if index == NAMESPACE else self._indexes[index])

    def check(self) -> None:
        """Raises CacheMutated; finds something only with `detect_mutation`."""
        if self._detect:
            for record in self._decoded.values():
                self._check(record)

    # -- the informer's side -------------------------------------------------------------------------------------------

    def add_indexers(self, indexers: Mapping[str, Indexer]) -> None:
        """Only while empty. Raises ValueError."""
        new = {name: indexer for name, indexer in indexers.items() if self._indexers.get(name) is not indexer}
        if new and self._records:
            raise ValueError(f"informer has already started: cannot add indexers {', '.join(new)}")
        for name, indexer in new.items():
            if name in self._indexers or name == NAMESPACE:
                raise ValueError(f"indexer conflict: {name}")
            self._indexers[name] = indexer
            self._indexes[name] = {}

    def add_note(self, note: Callable[[Obj], Any]) -> None:
        """What every record is to have as its `note`; one function for all who ask. Raises ValueError for another one."""
        if self._note is note:
            return
        if self._note is not None:
            raise ValueError("note conflict: another one is taken already")
        self._note = note
        for record in self._records.values():
            record.note = note(record.obj if record.obj is not None else orjson.loads(record.raw))

    @property
    def shares(self) -> bool:
        """Objects that belong to others as well may be put in: nothing here changes more than what it was given for that."""
        return self._transform is trim and not self._detect

    def make(self, obj: Obj, size: int = 0) -> Record:
        """A record of an object as it came, not yet put in; whoever keeps many makes them `slim`. `size`: of its bytes, where
        that is known."""
        try:
            obj = self._transform(obj)
            meta, key = obj["metadata"], key_of(obj)
        except (KeyError, TypeError, AttributeError):
            raise ProtocolError(f"object has no meta: {str(obj)[:200]}") from None
        indexed = tuple(tuple(indexer(obj)) for indexer in self._indexers.values())
        note = None if self._note is None else self._note(obj)
        record = Record(key, size, obj, self._share(meta.get("labels")), indexed, note)
        if self._detect or not size:
            record.size = len(record.encode())
        return record

    def put(self, record: Record) -> Record | None:
        """The record that was there before."""
        self.check()
        old = self._records.get(record.key)
        if old is not None:
            self._forget(old)
            if old.indexed != record.indexed:
                self._unindex(old)
                self._index(record)
        else:
            self._namespaces.setdefault(split_key(record.key)[0], {})[record.key] = None
            self._index(record)
        self._records[record.key] = record
        if record.obj is not None:
            self._keep(record)
        return old

    def remove(self, key: str) -> Record | None:
        self.check()
        old = self._records.pop(key, None)
        if old is not None:
            self._forget(old)
            self._unindex(old)
            namespace = split_key(key)[0]
            _discard(self._namespaces, namespace, key)
        return old

    def decode(self, record: Record) -> Obj:
        """Also of a record that is not in the cache (any more)."""
        return self._decode(record) if self._records.get(record.key) is record else record.decode()

    def _decode(self, record: Record) -> Obj:
        if record.obj is not None:
            self._decoded.move_to_end(record.key)
            return record.obj
        obj = record.decode()
        self._keep(record)
        return obj

    def _keep(self, record: Record) -> None:
        self._decoded[record.key] = record
        self._decoded_size += record.size
        while self._decoded_size > self._decoded_limit and not self._detect and len(self._decoded) > 1:
            _, oldest = self._decoded.popitem(last=False)
            oldest.slim()
            self._decoded_size -= oldest.size

    def _forget(self, record: Record) -> None:
        """Its decoded form stays with whoever has it, and with the record, but counts here no more."""
        if self._decoded.pop(record.key, None) is not None:
            self._decoded_size -= record.size

    def _check(self, record: Record) -> None:
        now = orjson.dumps(record.obj)
        if now != record.raw:
            raise CacheMutated(f"{record.key} was changed in the cache:\nwas {record.raw!r}\nis  {now!r}")

    def _index(self, record: Record) -> None:
        for index, values in zip(self._indexes.values(), record.indexed, strict=True):
            for value in values:
                index.setdefault(value, {})[record.key] = None

    def _unindex(self, record: Record) -> None:
        for index, values in zip(self._indexes.values(), record.indexed, strict=True):
            for value in values:
                _discard(index, value, record.key)

    def _share(self, labels: Mapping[str, str] | None) -> Mapping[str, str]:
        """Pods of one template have the same labels: one dict for all of them."""
        if not labels:
            return _NONE
        known = tuple(labels.items())
        found = self._labels.get(known)
        if found is None:
            if len(self._labels) >= _SHARED_LABELS:
                self._labels.clear()
            found = self._labels[known] = dict(labels)
        return found


_NONE: Mapping[str, str] = {}


def _discard(index: dict[str, dict[str, None]], value: str, key: str) -> None:
    keys = index.get(value)
    if keys is not None:
        keys.pop(key, None)
        if not keys:
            del index[value]
