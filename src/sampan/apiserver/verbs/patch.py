"""PATCH: JSON patch, merge patch, strategic merge patch, and server-side apply.

Each patch is applied to the object as the client sees it, and the result goes the way of every update. When somebody
else was faster it is applied again to what won.

Source: k8s.io/apiserver/pkg/endpoints/handlers/patch.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.kind import Kind, Obj
from sampan.api.schema.bodies import TOO_DEEP, check_depth, parse_json, parse_yaml
from sampan.api.times import format_time
from sampan.apiserver.body import finish, wrong_kind
from sampan.apiserver.call import Call
from sampan.apiserver.http.messages import Response
from sampan.apiserver.options import WriteOptions, write_options
from sampan.apiserver.patch import apply as server_side
from sampan.apiserver.patch import json_patch, merge_patch, strategic
from sampan.apiserver.patch.versions import converter
from sampan.apiserver.verbs.create import written
from sampan.apiserver.verbs.update import check_name
from sampan.apiserver.write import Produced, change

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY)

Patcher = Callable[[Obj | None], Produced]


async def patch(call: Call) -> Response:
    """200, or 201 when apply created the object."""
    media = patch_type(call)
    options = write_options(call.query, "PatchOptions", apply=media == APPLY)
    produce = await patcher(call, call.kind, media, options)
    sub = call.info.subresource
    result = await change(call, call.key, produce, options, subresource=sub, create_missing=media == APPLY and not sub)
    return written(call, result)


def patch_type(call: Call) -> str:
    media = call.request.headers.get("content-type", "").split(";")[0].strip()
    types = TYPES if call.kind.strategic_merge else (JSON_PATCH, MERGE_PATCH, APPLY)
    if media not in types:
        raise errors.unsupported_media_type(types)
    return media


async def patcher(call: Call, kind: Kind, media: str, options: WriteOptions) -> Patcher:
    """The body, as a function from the old object to the new one."""
    return await call.work(call.body_size, _patcher, call, kind, media, options)


def _patcher(call: Call, kind: Kind, media: str, options: WriteOptions) -> Patcher:
    if media == APPLY:
        return _applier(call, kind, options)
    body = parse_json(call.request.body)
    if media == JSON_PATCH and not isinstance(body, list):
        raise errors.bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
        )
    if media == JSON_PATCH and not all(isinstance(item, dict) for item in body):
        raise errors.bad_request(
            "error decoding patch: json: cannot unmarshal value into Go value of type jsonpatch.Operation"
        )
    if media != JSON_PATCH and not isinstance(body, dict):
        raise errors.bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )

    def work(old: Obj) -> Any:
        if media == JSON_PATCH:
            return _json_patched(old, body)
        return merge_patch.apply(old, body) if media == MERGE_PATCH else _merged(kind, old, body)

    names = kind.names
    gvk = (names.group, names.version, names.kind)

    def produce(old: Obj | None) -> Produced:
        assert old is not None
        raw = work(old)
        if not isinstance(raw, dict):
            raise errors.bad_request("the patch does not yield an object")
        found = gvk_of(raw)
        if found != gvk:
            raise wrong_kind(found, gvk)
        obj = finish(call, kind.schema, gvk, raw, options.validation, [])
        _require_same(call, obj, old)
        kind.default(obj)
        return Produced(obj)

    return produce


def _merged(kind: Kind, old: Obj, patch: Obj) -> Obj:
    """DEVIATION: what is wrong with the client's patch is 400, where upstream answers some of it with 500."""
    try:
        return strategic.apply(kind.schema, old, patch)
    except errors.StatusError as error:
        if error.code < 500:
            raise
        raise errors.bad_request(error.message) from None


def _json_patched(old: Obj, operations: list[Any]) -> Any:
    """A patch nests what it copies. Raises 400."""
    try:
        out = json_patch.apply(old, operations)
    except (RecursionError, orjson.JSONEncodeError) as error:
        if isinstance(error, RecursionError) or "Recursion" in str(error):
            raise errors.bad_request(TOO_DEEP) from None
        raise
    check_depth(out)
    return out


def _require_same(call: Call, obj: Obj, old: Obj) -> None:
    if obj["metadata"].get("name") != old["metadata"]["name"]:
        check_name(call, obj)
        obj["metadata"]["name"] = old["metadata"]["name"]


def gvk_of(raw: dict[str, Any]) -> tuple[str, str, str]:
    group, _, version = str(raw.get("apiVersion", "")).rpartition("/")
    return group, version, str(raw.get("kind", ""))


def _applier(call: Call, kind: Kind, options: WriteOptions) -> Patcher:
    names = kind.names
    gvk = (names.group, names.version, names.kind)
    config = parse_yaml(call.request.body)
    if not isinstance(config, dict):
        raise errors.bad_request("error decoding YAML: the applied configuration is not an object")
    _check_config(call, kind, config, options)
    sub = call.info.subresource

    def produce(old: Obj | None) -> Produced:
        obj, managed = server_side.apply(
            kind.schema,
            old,
            config,
            manager=options.manager,
            api_version=names.api_version,
            subresource=sub,
            time=format_time(call.api.clock()),
            force=bool(options.force),
            reset_fields=kind.reset_fields(sub),
            convert=converter(call.api.registry, kind),
        )
        try:
            new = finish(call, kind.schema, gvk, obj, "Ignore", [])
        except errors.StatusError as error:
            said = error.message.partition(f"cannot be handled as a {names.kind}: ")[2] or error.message
            raise server_side.broken(config, "failed to convert new object", f"to proper version: {said}") from None
        _require_same(call, new, old or {"metadata": {"name": call.info.name}})
        kind.default(new)
        return Produced(new, managed)

    return produce


def _check_config(call: Call, kind: Kind, config: Obj, options: WriteOptions) -> None:
    """The applied configuration names this object, says its kind, and has no managedFields. Raises 400."""
    names = kind.names
    found = gvk_of(config)
    if not config.get("apiVersion") or not config.get("kind"):
        raise errors.bad_request("invalid object type: apiVersion and kind must be set in the applied configuration")
    if found != (names.group, names.version, names.kind):
        raise wrong_kind(found, (names.group, names.version, names.kind))
    meta = config.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise errors.bad_request("metadata must be an object")
    if meta.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    meta.setdefault("name", call.info.name)
    if names.namespaced:
        meta.setdefault("namespace", call.info.namespace)
    check_name(call, config)
    # strict decoding of what was sent, so that unknown fields are told of or refused
    finish(call, kind.schema, found, orjson.loads(orjson.dumps(config)), options.validation, [])
