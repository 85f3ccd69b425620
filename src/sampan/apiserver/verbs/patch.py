"""PATCH: JSON patch, merge patch, strategic merge patch, and server-side apply.

Each patch is applied to the object as the client sees it, and the result goes the way of every update. When somebody
else was faster it is applied again to what won.

Source: k8s.io/apiserver/pkg/endpoints/handlers/patch.go
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Kind, Obj
from sampan.api.schema.bodies import TOO_DEEP, check_depth, duplicate_fields, parse_json, parse_yaml
from sampan.api.times import format_time
from sampan.apiserver.body import finish, wrong_kind
from sampan.apiserver.call import Call
from sampan.apiserver.options import WriteOptions, write_options
from sampan.apiserver.patch import apply as server_side
from sampan.apiserver.patch import json_patch, merge_patch, strategic
from sampan.apiserver.patch.gotext import go_text, go_word
from sampan.apiserver.patch.versions import converter
from sampan.apiserver.verbs.create import written
from sampan.apiserver.verbs.update import check_name
from sampan.apiserver.write import Produced, change
from sampan.http.server.messages import Response

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY)

REDACTED = "<secret contents redacted>"
PARSING = "couldn't get version/kind; json parse error: "

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
    produce = await call.work(call.body_size, _patcher, call, kind, media, options)

    def blamed(old: Obj | None) -> Produced:
        try:
            return produce(old)
        except errors.StatusError as error:
            if error.code != 500 or error.reason:
                raise
            # DEVIATION: upstream says the same of patches that it cannot make sense of, but with 500
            said = error.message
            raise errors.bad_request(f"{said.partition(':')[0]}: {REDACTED}" if _secret(kind) else said) from None

    return blamed


def _secret(kind: Kind) -> bool:
    """DEVIATION: upstream shows what it cannot make sense of, and so puts Secrets into logs."""
    return (kind.names.group, kind.names.resource) == ("", "secrets")


def _patcher(call: Call, kind: Kind, media: str, options: WriteOptions) -> Patcher:
    if media == APPLY:
        return _applier(call, kind, options)
    body, warned = _read(call.request.body, media, options)
    names = kind.names
    gvk = (names.group, names.version, names.kind)

    def work(old: Obj) -> Any:
        if media == JSON_PATCH:
            return _json_patched(old, body)
        return merge_patch.apply(old, body) if media == MERGE_PATCH else strategic.apply(kind.schema, old, body)

    def produce(old: Obj | None) -> Produced:
        assert old is not None
        raw = work(old)
        if not isinstance(raw, dict):
            raise errors.bad_request("the patch does not yield an object")
        if media == STRATEGIC:  # read into the Go type at hand: Ansible scales with a patch of kind Deployment
            raw = {**raw, "apiVersion": names.api_version, "kind": names.kind}
        found = gvk_of(raw)
        if found != gvk:
            raise wrong_kind(found, gvk)
        spec = None
        if raw.get("spec") is old.get("spec") and old.get("spec") and not kind.converts and not kind.custom:
            # untouched; the old object keeps its own
            spec = orjson.loads(orjson.dumps(old["spec"]))
        try:
            obj = finish(call, kind.schema, gvk, raw, options.validation, warned, spec)
        except errors.StatusError as error:
            raise _undecodable(error, kind, raw, body if media == STRATEGIC else None) from None
        _require_same(call, obj, old)
        kind.default(obj)
        return Produced(obj)

    return produce


def _read(data: bytes, media: str, options: WriteOptions) -> tuple[Any, list[str]]:
    """The patch, and what strict decoding says of it. Raises 400."""
    prefix = "" if media == STRATEGIC else "error decoding patch: "
    try:
        body = parse_json(data)
    except errors.StatusError as error:
        raise errors.bad_request(error.message.replace(PARSING, prefix)) from None
    strict = options.validation != "Ignore"
    if media == JSON_PATCH:
        return _operations(body), _unknown_fields(body) if strict else []
    if body is None and media == MERGE_PATCH:
        raise errors.bad_request("Invalid JSON Patch")
    if body is not None and not isinstance(body, dict):
        word = go_word(body)
        raise errors.bad_request(
            f"{prefix}json: cannot unmarshal {word} into Go value of type map[string]interface {{}}"
        )
    return body or {}, duplicate_fields(data, body or {}) if strict else []


def _operations(body: Any) -> list[Any]:
    if body is not None and not isinstance(body, list):
        said = f"json: cannot unmarshal {go_word(body)} into Go value of type []handlers.jsonPatchOp"
        raise errors.bad_request(f"error decoding patch: {said}")
    for item in body or ():
        if not isinstance(item, dict):
            said = f"json: cannot unmarshal {go_word(item)} into Go value of type handlers.jsonPatchOp"
            raise errors.bad_request(f"error decoding patch: {said}")
        for name in ("op", "path", "from"):
            if not isinstance(item.get(name, ""), str | None):
                said = f"json: cannot unmarshal {go_word(item[name])} into Go struct field jsonPatchOp.{name} of type string"
                raise errors.bad_request(f"error decoding patch: {said}")
    return body or []


def _unknown_fields(operations: list[Any] | None) -> list[str]:
    known = {"op", "path", "from", "value"}
    found = ((index, key) for index, item in enumerate(operations or ()) for key in item if key not in known)
    return [f'json patch unknown field "[{index}].{key}"' for index, key in found]


_UNREADABLE = re.compile(r"json: cannot unmarshal (\w+)\b.* of type (.+)$", re.DOTALL)
_KINDS = {"object": "map", "array": "slice", "number": "int64"}


def _undecodable(error: errors.StatusError, kind: Kind, raw: Obj, patch: Any) -> errors.StatusError:
    """422 for what a patch made of an object that is none of its kind any more; strategic patches are shown themselves."""
    said = error.message.partition(f"cannot be handled as a {kind.names.kind}: ")[2]
    if error.code != 400 or not said:
        return error
    found = _UNREADABLE.match(said)
    if patch is not None and found is not None:
        # upstream does not go through JSON here
        have, wanted = _KINDS.get(found[1], found[1]), found[2]
        if wanted.startswith("[]"):
            said = f"cannot restore slice from {have}"
        elif wanted.startswith("map["):
            said = f"cannot restore map from {have}"
        elif "." in wanted:
            said = f"cannot restore struct from: {have}"
        else:
            said = f"unrecognized type: {wanted}"
    problems = ErrorList()
    shown = go_text(patch) if patch is not None else orjson.dumps(raw).decode()
    problems.invalid(Path("patch"), REDACTED if _secret(kind) else shown, said)
    return errors.invalid("", "", "", problems)


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
    if config is not None and not isinstance(config, dict):
        said = f"json: cannot unmarshal {go_word(config)} into Go value of type map[string]interface {{}}"
        raise errors.bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {said}")
    config = config or {}
    _check_config(call, kind, config)
    sub = call.info.subresource

    def produce(old: Obj | None) -> Produced:
        uid = config["metadata"].get("uid")
        if old is None and uid:
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise errors.conflict(names.group, names.resource, call.info.name, why)
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


def _check_config(call: Call, kind: Kind, config: Obj) -> None:
    """The applied configuration names this object, says its kind, and has no managedFields. Raises 400, 409."""
    names = kind.names
    found = gvk_of(config)
    if found != (names.group, names.version, names.kind):
        raise errors.bad_request(f"invalid object type: {found[0]}/{found[1]}, Kind={found[2]}")
    meta = config.get("metadata")
    if meta is not None and not isinstance(meta, dict):
        said = f".metadata: expected map, got &{{{go_text(meta)}}}"
        raise server_side.broken({**config, "metadata": {}}, "failed to create typed patch object", said)
    meta = config["metadata"] = meta or {}
    if meta.get("managedFields") is not None:
        raise errors.bad_request("metadata.managedFields must be nil")
    if not isinstance(meta.get("name", ""), str) or not isinstance(meta.get("namespace", ""), str):
        # said with everything else that does not fit the schema
        return
    meta.setdefault("name", call.info.name)
    if names.namespaced:
        meta.setdefault("namespace", call.info.namespace)
    check_name(call, config)
