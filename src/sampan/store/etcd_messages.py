"""etcd's v3 messages, as far as we speak them, built from a table at import.

Source of names and numbers: etcd api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

#: message: "field:number:type" - B bytes, l int64, b bool, i int32 (enums too), s string, else a message; * repeated
_TABLE = {
    "KeyValue": "key:1:B create_revision:2:l mod_revision:3:l version:4:l value:5:B lease:6:l",
    "ResponseHeader": "revision:3:l",
    "RangeRequest": "key:1:B range_end:2:B limit:3:l revision:4:l keys_only:8:b count_only:9:b",
    "RangeResponse": "header:1:ResponseHeader kvs:2:KeyValue* more:3:b count:4:l",
    "PutRequest": "key:1:B value:2:B lease:3:l",
    "PutResponse": "header:1:ResponseHeader",
    "DeleteRangeRequest": "key:1:B range_end:2:B",
    "DeleteRangeResponse": "header:1:ResponseHeader deleted:2:l",
    "RequestOp": "request_range:1:RangeRequest request_put:2:PutRequest request_delete_range:3:DeleteRangeRequest",
    "ResponseOp": "response_range:1:RangeResponse response_put:2:PutResponse response_delete_range:3:DeleteRangeResponse",
    "Compare": "result:1:i target:2:i key:3:B version:4:l create_revision:5:l mod_revision:6:l value:7:B",
    "TxnRequest": "compare:1:Compare* success:2:RequestOp* failure:3:RequestOp*",
    "TxnResponse": "header:1:ResponseHeader succeeded:2:b responses:3:ResponseOp*",
    "CompactionRequest": "revision:1:l physical:2:b",
    "CompactionResponse": "header:1:ResponseHeader",
    "WatchCreateRequest": "key:1:B range_end:2:B start_revision:3:l prev_kv:6:b",
    "WatchRequest": "create_request:1:WatchCreateRequest",
    "Event": "type:1:i kv:2:KeyValue prev_kv:3:KeyValue",
    "WatchResponse": "header:1:ResponseHeader created:3:b canceled:4:b compact_revision:5:l cancel_reason:6:s events:11:Event*",
    "LeaseGrantRequest": "TTL:1:l ID:2:l",
    "LeaseGrantResponse": "header:1:ResponseHeader ID:2:l TTL:3:l error:4:s",
    "LeaseRevokeRequest": "ID:1:l",
    "LeaseRevokeResponse": "header:1:ResponseHeader",
    "LeaseKeepAliveRequest": "ID:1:l",
    "LeaseKeepAliveResponse": "header:1:ResponseHeader ID:2:l TTL:3:l",
}
_TYPES = {"B": 12, "l": 3, "b": 8, "i": 5, "s": 9}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="sampan/etcd.proto", package="sampan.etcd", syntax="proto3")
    for name, fields in _TABLE.items():
        message = file.message_type.add(name=name)
        for text in fields.split():
            field, number, kind = text.split(":")
            made: Any = message.field.add(name=field, number=int(number))
            made.label = _REPEATED if kind.endswith("*") else _OPTIONAL
            kind = kind.rstrip("*")
            made.type = _TYPES.get(kind, _MESSAGE)
            if kind not in _TYPES:
                made.type_name = f".sampan.etcd.{kind}"
    pool: Any = descriptor_pool.DescriptorPool()
    factory: Any = message_factory
    pool.Add(file)
    return {name: factory.GetMessageClass(pool.FindMessageTypeByName(f"sampan.etcd.{name}")) for name in _TABLE}


#: message classes by name
MESSAGES: dict[str, Any] = _build()
