"""A real etcd, or a cluster of them, over gRPC: the store of several API servers.

Keys are as everywhere, under `/registry/`. Reads are linearizable. A call that fails for any reason but the ones the
contract names is `Unavailable`: whether a write happened is then unknown, as with every network.

Progress notifications are not used: those of 3.4 can be sent before the events they speak of.

Source: https://etcd.io/docs/v3.4/learning/api/
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sampan.store.contract import (
    NO_LEASE,
    Compacted,
    Compare,
    Delete,
    Event,
    FutureRevision,
    KeyValue,
    LeaseId,
    LeaseNotFound,
    Op,
    Put,
    Range,
    Revision,
    StoreError,
    TxnResult,
    Unavailable,
)
from sampan.store.etcd_messages import MESSAGES

SECONDS = 10.0
_RESULTS = {"=": 0, ">": 1, "<": 2, "!=": 3}
_TARGETS = {
    "version": (0, "version"),
    "create": (1, "create_revision"),
    "mod": (2, "mod_revision"),
    "value": (3, "value"),
}
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
]
_CALLS = {
    "Range": ("KV/Range", "RangeResponse"),
    "Txn": ("KV/Txn", "TxnResponse"),
    "Compact": ("KV/Compact", "CompactionResponse"),
    "LeaseGrant": ("Lease/LeaseGrant", "LeaseGrantResponse"),
    "LeaseRevoke": ("Lease/LeaseRevoke", "LeaseRevokeResponse"),
}


class EtcdStore:
    """See `Store`. `endpoints`: URLs, all http or all https."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self.endpoints = list(endpoints)
        self._files = (ca, key, cert)
        self._channel: Any = None
        self._grpc: Any = None
        self._calls: dict[str, Any] = {}

    async def open(self) -> None:
        """Raises Unavailable when no endpoint answers, StoreError without the packages it needs."""
        try:
            self._grpc = importlib.import_module("grpc")
            aio: Any = importlib.import_module("grpc.aio")
        except ImportError:
            raise StoreError("the etcd store needs grpcio and protobuf: pip install --upgrade sampan") from None
        target = self._target()
        if self.endpoints[0].startswith("https"):
            ca, key, cert = (path.read_bytes() if path is not None else None for path in self._files)
            credentials = self._grpc.ssl_channel_credentials(ca, key, cert)
            self._channel = aio.secure_channel(target, credentials, options=_OPTIONS)
        else:
            self._channel = aio.insecure_channel(target, options=_OPTIONS)
        for name, (path, reply) in _CALLS.items():
            self._calls[name] = self._channel.unary_unary(
                f"/etcdserverpb.{path}",
                request_serializer=_serialize,
                response_deserializer=MESSAGES[reply].FromString,
            )
        await self.revision()

    def _target(self) -> str:
        hosts = [urlsplit(url).netloc for url in self.endpoints]
        if all(host.rpartition(":")[0].replace(".", "").isdigit() for host in hosts):
            return "ipv4:" + ",".join(hosts)
        return "dns:///" + hosts[0]

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def _call(self, name: str, request: Any) -> Any:
        try:
            return await self._calls[name](request, timeout=SECONDS)
        except self._grpc.RpcError as error:
            raise self.translate(error) from None

    @staticmethod
    def translate(error: Any) -> Exception:
        """What a gRPC failure means in the contract's terms."""
        said = str(error.details() or "")
        if "has been compacted" in said:
            return Compacted(0)
        if "is a future revision" in said:
            return FutureRevision()
        if "requested lease not found" in said:
            return LeaseNotFound()
        if "duplicate key given" in said:
            return ValueError(said)
        return Unavailable(said or "etcd does not answer")

    # -- reading -------------------------------------------------------------------------------------------------------

    async def revision(self) -> Revision:
        reply = await self._call("Range", MESSAGES["RangeRequest"](key=b"\0", count_only=True, limit=1))
        return Revision(reply.header.revision)

    async def get(self, key: bytes) -> KeyValue | None:
        reply = await self._call("Range", MESSAGES["RangeRequest"](key=key))
        return _kv(reply.kvs[0]) if reply.kvs else None

    async def range(
        self,
        start: bytes,
        end: bytes,
        *,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> Range:
        request = MESSAGES["RangeRequest"](
            key=start, range_end=end, limit=limit, revision=revision, keys_only=keys_only, count_only=count_only
        )
        return _range(await self._call("Range", request))

    def watch(self, start: bytes, end: bytes, revision: int = 0) -> EtcdWatch:
        return EtcdWatch(self, start, end, revision)

    def watch_stream(self) -> Any:
        return self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=_serialize,
            response_deserializer=MESSAGES["WatchResponse"].FromString,
        )()

    @property
    def rpc_error(self) -> Any:
        return self._grpc.RpcError

    # -- writing -------------------------------------------------------------------------------------------------------

    async def txn(self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()) -> TxnResult:
        request = MESSAGES["TxnRequest"](
            compare=[_compare(item) for item in compare],
            success=[_op(op) for op in success],
            failure=[_op(op) for op in failure],
        )
        reply = await self._call("Txn", request)
        revision = Revision(reply.header.revision)
        responses: list[Range | int | None] = []
        for item in reply.responses:
            if item.HasField("response_range"):
                found = _range(item.response_range)
                responses.append(Range(found.kvs, found.count, revision, found.more))
            elif item.HasField("response_delete_range"):
                responses.append(int(item.response_delete_range.deleted))
            else:
                responses.append(None)
        return TxnResult(reply.succeeded, revision, responses)

    async def compact(self, revision: int) -> None:
        await self._call("Compact", MESSAGES["CompactionRequest"](revision=revision))

    async def grant(self, ttl: int) -> LeaseId:
        reply = await self._call("LeaseGrant", MESSAGES["LeaseGrantRequest"](TTL=ttl))
        return LeaseId(reply.ID)

    async def revoke(self, lease: LeaseId) -> None:
        await self._call("LeaseRevoke", MESSAGES["LeaseRevokeRequest"](ID=lease))

    async def keep_alive(self, lease: LeaseId) -> int:
        call = self._channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=_serialize,
            response_deserializer=MESSAGES["LeaseKeepAliveResponse"].FromString,
        )(timeout=SECONDS)
        try:
            await call.write(MESSAGES["LeaseKeepAliveRequest"](ID=lease))
            reply = await call.read()
        except self._grpc.RpcError as error:
            raise self.translate(error) from None
        finally:
            call.cancel()
        if reply.TTL <= 0:
            raise LeaseNotFound
        return int(reply.TTL)


class EtcdWatch:
    """A watch on etcd. The stream is opened with the first batch asked for; with revision 0 it begins then."""

    def __init__(self, store: EtcdStore, start: bytes, end: bytes, revision: int) -> None:
        self._store = store
        self._request = (start, end, revision)
        self._call: Any = None
        self._closed = False

    def __aiter__(self) -> EtcdWatch:
        return self

    async def __anext__(self) -> Sequence[Event]:
        if self._closed:
            raise StopAsyncIteration
        try:
            if self._call is None:
                await self._open()
            while True:
                reply = await self._call.read()
                if not hasattr(reply, "events"):
                    raise Unavailable("etcd ended the watch")
                if reply.compact_revision:
                    raise Compacted(reply.compact_revision)
                if reply.canceled:
                    raise Unavailable(f"etcd ended the watch: {reply.cancel_reason}")
                if reply.events:
                    return [_event(item) for item in reply.events]
        except self._store.rpc_error as error:
            raise self._store.translate(error) from None

    async def _open(self) -> None:
        start, end, revision = self._request
        self._call = self._store.watch_stream()
        create = MESSAGES["WatchCreateRequest"](key=start, range_end=end, start_revision=revision, prev_kv=True)
        await self._call.write(MESSAGES["WatchRequest"](create_request=create))

    def close(self) -> None:
        self._closed = True
        if self._call is not None:
            self._call.cancel()


def _serialize(message: Any) -> bytes:
    out: bytes = message.SerializeToString()
    return out


def _kv(kv: Any) -> KeyValue:
    return KeyValue(
        kv.key, kv.value, Revision(kv.create_revision), Revision(kv.mod_revision), kv.version, LeaseId(kv.lease)
    )


def _range(reply: Any) -> Range:
    return Range([_kv(kv) for kv in reply.kvs], reply.count, Revision(reply.header.revision), reply.more)


def _event(item: Any) -> Event:
    previous = _kv(item.prev_kv) if item.HasField("prev_kv") else None
    return Event("delete" if item.type == 1 else "put", _kv(item.kv), previous)


def _compare(item: Compare) -> Any:
    target, field = _TARGETS[item.target]
    return MESSAGES["Compare"](result=_RESULTS[item.op], target=target, key=item.key, **{field: item.operand})


def _op(op: Op) -> Any:
    if isinstance(op, Put):
        lease = op.lease if op.lease != NO_LEASE else 0
        put = MESSAGES["PutRequest"](key=op.key, value=op.value, lease=lease)
        return MESSAGES["RequestOp"](request_put=put)
    end = op.end or b""
    if isinstance(op, Delete):
        return MESSAGES["RequestOp"](request_delete_range=MESSAGES["DeleteRangeRequest"](key=op.key, range_end=end))
    return MESSAGES["RequestOp"](request_range=MESSAGES["RangeRequest"](key=op.key, range_end=end))
