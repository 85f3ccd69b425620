"""Mutating webhooks: one after the other, each seeing what those before it have changed.

A patched object is read as a client's would be: unknown fields go, defaults come.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.api.schema.bodies import check_depth
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.admission.changes import keep_owners, owners, rounds
from sampan.apiserver.body import finish
from sampan.apiserver.patch import json_patch
from sampan.apiserver.webhooks.hooks import CallFailed, Hook
from sampan.apiserver.webhooks.match import Gvk, Matched, converted
from sampan.apiserver.webhooks.review import Answer, denied


async def dispatch(hooks: Sequence[Hook], attributes: Attributes) -> None:
    """Raises StatusError."""
    known, before = rounds(attributes, "webhooks"), owners(attributes)
    for hook in hooks:
        matched = await hook.concerns(attributes)
        if matched is None or (attributes.round and hook.uid not in known.again):
            continue
        if await _ask(attributes, hook, matched):
            known.changed()
            attributes.again = True
        if hook.reinvocable:
            known.asked.add(hook.uid)
    if attributes.again:
        known.keep(attributes)
    keep_owners(attributes, before)


async def _ask(attributes: Attributes, hook: Hook, matched: Matched) -> bool:
    """Whether it changed the object."""
    api = attributes.api
    obj = await converted(api, attributes.obj, attributes.kind, matched.kind)
    try:
        with hook.counted(attributes):
            answer = await hook.ask(api.webhooks, attributes, matched, obj, mutating=True)
            if not answer.allowed:
                raise denied(hook.name, answer.status)
            patch = _operations(hook, answer)
    except CallFailed as error:
        refused = hook.failed(error)
        if refused is not None:
            raise refused from None
        return False
    if not patch:
        return False
    if obj is None:
        why = "attempted to modify the object, which is not supported for this operation"
        raise errors.internal(f'admission webhook "{hook.name}" {why}')
    new = await api.workers.run(_patched, attributes, obj, patch, matched.kind)
    if new == obj:
        return False
    attributes.obj = await converted(api, new, matched.kind, attributes.kind)
    return True


def _operations(hook: Hook, answer: Answer) -> list[Any]:
    """The patch of an answer. Raises CallFailed when it is none."""
    if not answer.patch:
        return []
    try:
        patch = orjson.loads(answer.patch)
    except orjson.JSONDecodeError as error:
        raise CallFailed(hook, f"received undecodable patch in webhook response: {error}") from None
    if not isinstance(patch, list) or not all(isinstance(item, dict) for item in patch):
        said = "json: cannot unmarshal into Go value of type jsonpatch.Patch"
        raise CallFailed(hook, f"received undecodable patch in webhook response: {said}")
    if patch and answer.patch_type != "JSONPatch":
        raise CallFailed(hook, f'unsupported patch type "{answer.patch_type}"')
    return patch


def _patched(attributes: Attributes, obj: Obj, patch: list[Any], gvk: Gvk) -> Obj:
    """The object after `patch`, read anew. Raises 500: what the client sent was right."""
    registry = attributes.api.registry
    struct, kind = registry.struct(*gvk), registry.by_kind(*gvk)
    if struct is None:
        raise errors.internal(f"no kind {gvk[2]} is registered for version {gvk[0]}/{gvk[1]}")
    try:
        raw = json_patch.apply(obj, patch)
        check_depth(raw)
    except errors.StatusError as error:
        causes = (error.details or {}).get("causes") or [{}]
        raise errors.internal(causes[0].get("message") or error.message) from None
    except (RecursionError, orjson.JSONEncodeError):
        raise errors.internal("the patch nests too deeply") from None
    if not isinstance(raw, dict) or (raw.get("apiVersion"), raw.get("kind")) != (obj["apiVersion"], obj["kind"]):
        raise errors.internal("the patch of an admission webhook must not change apiVersion or kind")
    if not isinstance(raw.get("metadata"), dict):
        raise errors.internal("the patch of an admission webhook must leave metadata an object")
    try:
        new = finish(attributes.call, struct, gvk, raw, "Ignore", [])
        if kind is not None:
            kind.default(new)
    except errors.StatusError as error:
        raise errors.internal(error.message) from None
    return new
