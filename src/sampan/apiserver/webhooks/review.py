"""AdmissionReview: what a webhook is asked, and what of its answer can be believed.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/request/admissionreview.go, webhook/errors/statuserror.go
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from sampan.api import errors
from sampan.api.field import go_quote
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.webhooks.match import Gvk, Gvr

GROUP = "admission.k8s.io"


class Lie(Exception):
    """An answer that cannot be the answer to what was asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`patch` is the JSON text of a JSON patch; `status` why it was not allowed, as the webhook says it."""

    allowed: bool
    status: Obj | None
    patch: bytes
    patch_type: str
    warnings: tuple[str, ...]
    annotations: dict[str, str]


def review(
    attributes: Attributes, version: str, resource: Gvr, kind: Gvk, obj: Obj | None, old: Obj | None
) -> tuple[str, Obj]:
    """The uid of a new review, and the review. `resource`, `kind` and the objects are in the version asked for by the
    webhook, which may be another than the request's."""
    uid = attributes.api.new_uid()
    request = {"uid": uid, **request_of(attributes, resource, kind), "object": obj, "oldObject": old}
    return uid, {"kind": "AdmissionReview", "apiVersion": f"{GROUP}/{version}", "request": request}


def request_of(attributes: Attributes, resource: Gvr, kind: Gvk) -> Obj:
    """An AdmissionRequest without uid and objects: what expressions see as `request`."""
    asked_resource = (attributes.group, attributes.version, attributes.resource)
    request: Obj = {"kind": gvk(kind), "resource": gvr(resource)}
    if attributes.subresource:
        request["subResource"] = attributes.subresource
    request["requestKind"] = gvk(attributes.kind)
    request["requestResource"] = gvr(asked_resource)
    if attributes.subresource:
        request["requestSubResource"] = attributes.subresource
    if attributes.name:
        request["name"] = attributes.name
    if namespace_of(attributes):
        request["namespace"] = namespace_of(attributes)
    request.update(
        operation=attributes.operation,
        userInfo=attributes.user.info,
        dryRun=attributes.dry_run,
        options=attributes.options,
    )
    return request


def namespace_of(attributes: Attributes) -> str:
    """A namespace is within itself."""
    if (attributes.group, attributes.resource) == ("", "namespaces"):
        return attributes.name or attributes.namespace
    return attributes.namespace


def gvk(kind: Gvk) -> dict[str, str]:
    return {"group": kind[0], "version": kind[1], "kind": kind[2]}


def gvr(resource: Gvr) -> dict[str, str]:
    return {"group": resource[0], "version": resource[1], "resource": resource[2]}


def verify(reply: Obj, uid: str, version: str, *, mutating: bool) -> Answer:
    """Raises Lie."""
    response = reply.get("response")
    if not isinstance(response, dict):
        raise Lie("webhook response was absent")
    if version == "v1":
        _same(reply, response, uid)
    patch, patch_type = _patch(response, version, mutating)
    status, warnings = response.get("status"), response.get("warnings") or ()
    annotations = response.get("auditAnnotations") or {}
    allowed = response.get("allowed", False)
    if (
        not isinstance(allowed, bool)
        or not (status is None or _is_status(status))
        or not isinstance(warnings, (list, tuple))
        or not isinstance(annotations, dict)
        or not all(isinstance(text, str) for text in (*warnings, *annotations.values()))
    ):
        raise Lie("webhook response has fields of the wrong type")
    return Answer(allowed, status, patch, patch_type, tuple(warnings), annotations)


def _is_status(status: Any) -> bool:
    return isinstance(status, dict) and all(
        isinstance(status.get(name, empty), type(empty))
        for name, empty in (("message", ""), ("reason", ""), ("status", ""), ("code", 0), ("details", {}))
    )


def _same(reply: Obj, response: Obj, uid: str) -> None:
    if response.get("uid", "") != uid:
        raise Lie(f'expected response.uid="{uid}", got {go_quote(str(response.get("uid", "")))}')
    api_version, kind = str(reply.get("apiVersion", "")), str(reply.get("kind", ""))
    if (api_version, kind) != (f"{GROUP}/v1", "AdmissionReview"):
        shown = api_version or "/"
        raise Lie(f"expected webhook response of {GROUP}/v1, Kind=AdmissionReview, got {shown}, Kind={kind}")


def _patch(response: Obj, version: str, mutating: bool) -> tuple[bytes, str]:
    raw, kind = response.get("patch") or "", response.get("patchType")
    try:
        patch = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Lie("illegal base64 data in response.patch") from None
    if version != "v1":
        return (patch, "JSONPatch") if mutating else (b"", "")
    if not mutating:
        if patch:
            raise Lie("validating webhook may not return response.patch")
        if kind is not None:
            raise Lie("validating webhook may not return response.patchType")
        return b"", ""
    if patch and kind is None:
        raise Lie("webhook returned response.patch but not response.patchType")
    if not patch and kind is not None:
        raise Lie("webhook returned response.patchType but not response.patch")
    if kind is not None and (not kind or not isinstance(kind, str)):
        raise Lie('webhook returned invalid response.patchType of ""')
    return patch, kind or ""


class Denied(errors.StatusError):
    """A webhook has said no."""


def denied(webhook: str, status: Obj | None) -> Denied:
    """The refusal of a webhook as the client sees it: never a success, never below 400."""
    status = status or {}
    by = f'admission webhook "{webhook}" denied the request'
    said = status.get("message") or status.get("reason")
    code = status.get("code", 0)
    if not 400 <= code <= 599:
        code = 400
    message = f"{by}: {said}" if said else f"{by} without explanation"
    return Denied(code, status.get("reason", ""), message, status.get("details"))


def no_dry_run(webhook: str) -> errors.StatusError:
    return errors.bad_request(f'admission webhook "{webhook}" does not support dry run')
