"""Conversion webhooks: objects of one version asked for in another.

Stored objects are converted in batches before they are shown, and the result is kept beside the record; what is written
is converted before it is stored. A webhook may change nothing of metadata but labels and annotations.

Source: apiextensions-apiserver/pkg/apiserver/conversion/{webhook_converter,converter}.go
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from sampan.api import errors
from sampan.api.customresource.kind import CustomKind
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.meta import validate_annotations, validate_labels
from sampan.apiserver.cache import Record
from sampan.apiserver.webhooks.client import CallError

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

SECONDS = 30.0
BATCH = 500
VERSIONS = ("v1", "v1beta1")


class Converter:
    """The conversion webhook of one definition."""

    def __init__(self, api: Api, conversion: Obj, group: str, kind: str) -> None:
        webhook = conversion["webhook"]
        self.api = api
        self.config: Obj = webhook["clientConfig"]
        accepted = webhook.get("conversionReviewVersions") or ()
        self.review = next((version for version in accepted if version in VERSIONS), "v1")
        self.group = group
        self.kind = kind

    async def convert(self, objects: Sequence[Obj], wanted: str) -> list[Obj]:
        """`objects` as `wanted` (group/version). Those that are so already stay. Raises 500."""
        asked = [item for item in objects if item["apiVersion"] != wanted]
        if not asked:
            return list(objects)
        uid = str(uuid.uuid4())
        review = {
            "kind": "ConversionReview",
            "apiVersion": f"apiextensions.k8s.io/{self.review}",
            "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": asked},
        }
        source = asked[0]["apiVersion"]
        try:
            reply = await self.api.webhooks.post(self.config, orjson.dumps(review), timeout=SECONDS)
            converted = iter(self._read(reply, uid, asked, wanted))
        except CallError as error:
            raise errors.internal(f"conversion webhook for {source}, Kind={self.kind} failed: {error}") from None
        return [item if item["apiVersion"] == wanted else next(converted) for item in objects]

    def _read(self, reply: Obj, uid: str, asked: list[Obj], wanted: str) -> list[Obj]:
        response = reply.get("response")
        expected = f"apiextensions.k8s.io/{self.review}"
        if reply.get("kind") != "ConversionReview" or reply.get("apiVersion") != expected:
            found = f"{reply.get('apiVersion')}, Kind={reply.get('kind')}"
            raise CallError(f"invalid response: expected {expected}, Kind=ConversionReview, got {found}")
        if not isinstance(response, dict):
            raise CallError("invalid response: no response provided")
        if self.review == "v1" and response.get("uid") != uid:
            raise CallError(f'invalid response: expected response.uid="{uid}", got "{response.get("uid", "")}"')
        result = response.get("result")
        if not isinstance(result, dict) or result.get("status") != "Success":
            message = str((result or {}).get("message") or "unknown") if isinstance(result, dict) else "unknown"
            raise CallError(message)
        converted = response.get("convertedObjects")
        if not isinstance(converted, list) or len(converted) != len(asked):
            count = len(converted) if isinstance(converted, list) else 0
            raise CallError(f"expected {len(asked)} converted objects, got {count}")
        return [
            _restored(new, old, wanted, index) for index, (new, old) in enumerate(zip(converted, asked, strict=True))
        ]


def _restored(new: Any, old: Obj, wanted: str, index: int) -> Obj:
    """`new` with the metadata it must have. Raises CallError when it is not the object that was asked about."""
    where = f"convertedObjects[{index}]"
    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        raise CallError(f"invalid response: {where} is no object with metadata")
    if new.get("apiVersion") != wanted:
        raise CallError(f"invalid response: expected {where} to be {wanted}, got {new.get('apiVersion')}")
    if new.get("kind") != old["kind"]:
        raise CallError(f"invalid response: expected {where} to be of kind {old['kind']}, got {new.get('kind')}")
    meta, before = new["metadata"], old["metadata"]
    for name in ("name", "namespace", "uid"):
        if meta.get(name, "") != before.get(name, ""):
            shown = f"must be equal to input metadata.{name} {before.get(name, '')}"
            raise CallError(f"{where}.metadata.{name}: Invalid value: {orjson.dumps(meta.get(name)).decode()}: {shown}")
    kept = {key: value for key, value in before.items() if key not in ("labels", "annotations")}
    problems = ErrorList()
    for name, check in (("labels", validate_labels), ("annotations", validate_annotations)):
        value = meta.get(name)
        if not value:
            continue
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise CallError(f"{where}.metadata.{name}: must be a map of strings")
        problems.extend(check(value, Path("metadata", name)))
        kept[name] = value
    if problems:
        raise CallError("; ".join(map(str, problems)))
    return {**new, "metadata": kept}


class ConvertedKind(CustomKind):
    """A kind whose other versions a webhook knows."""

    remote = True
    converter: Converter
    storage_kind: CustomKind

    def from_storage(self, obj: Obj) -> Obj:
        if obj["apiVersion"] != self.names.api_version:
            # the definition changed between the conversion and its use
            raise errors.unavailable("the object has not been converted yet")
        return super().from_storage(obj)

    async def fetch(self, records: Sequence[Any]) -> None:
        """Fill `record.other[self]` of each record that is not in this version yet."""
        missing: list[Record] = [
            record
            for record in records
            if not self.current(record.revision) and (record.other is None or self not in record.other)
        ]
        for at in range(0, len(missing), BATCH):
            part = missing[at : at + BATCH]
            objects = await self.converter.convert([record.obj() for record in part], self.names.api_version)
            for record, obj in zip(part, objects, strict=True):
                if record.other is None:
                    record.other = {}
                record.other[self] = orjson.dumps(self.from_storage(obj))

    async def store(self, obj: Obj) -> Obj:
        wanted = f"{self.names.group}/{self.version.storage}"
        (converted,) = await self.converter.convert([obj], wanted)
        if converted is obj:
            return obj
        return self.storage_kind.from_storage(converted)


def give_converter(api: Api, crd: Obj, kinds: list[ConvertedKind]) -> None:
    """Give all versions of a definition their converter."""
    spec = crd["spec"]
    converter = Converter(api, spec["conversion"], spec["group"], spec["names"]["kind"])
    stored = next(kind for kind in kinds if kind.names.version == kind.version.storage)
    for kind in kinds:
        kind.converter = converter
        kind.storage_kind = stored
