"""Calls to the API: one method per verb, plain dicts in and out.

    client = Client(transport, user_agent="deployment-controller")
    pod = await client.get("pods", "web-0", namespace="default")
    async for page in client.pages("pods"): ...

Resources are named as kubectl names them (`pods`, `deployments.apps`) or given as `Resource`. Objects that come back are
the caller's own; whoever does not look at what a write gives back says so (`unread`) and gets an empty dict. Failures are
`StatusError` (refused) and `HttpError` (no answer); see `sampan.client.errors`.

Source: client-go/rest/request.go; k8s.io/apimachinery/pkg/apis/meta/v1/types.go (options)
"""

from __future__ import annotations

import builtins
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal
from urllib.parse import quote, urlencode

import orjson

from sampan.client.errors import from_reply
from sampan.client.resources import Resource, resource
from sampan.client.transport import Headers, Transport
from sampan.client.watch import Watch
from sampan.http import ProtocolError

Obj = dict[str, Any]
PatchType = Literal["json", "merge", "strategic", "apply"]
Propagation = Literal["", "Background", "Foreground", "Orphan"]
PATCH_TYPES: dict[str, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
PAGE = 500
JSON = "application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
Query = dict[str, str]
#: nearly all names are of nothing else
_PLAIN = re.compile(r"[-.a-z0-9]*").fullmatch


class Client:
    """One identity's way to one API server. Share the transport to share its connections.

    `user_agent` up to its first slash is the field manager of what is written. `timeout`: seconds for one call, its
    retries included; None waits as long as the server does.
    """

    def __init__(self, transport: Transport, *, user_agent: str = "sampan", timeout: float | None = 60.0) -> None:
        self.transport = transport
        self.user_agent = user_agent
        self.timeout = timeout
        agent = ("User-Agent", user_agent)
        self._read = (agent, ("Accept", JSON))
        self._read_metadata = (agent, ("Accept", f"{PARTIAL},{JSON}"))
        self._list_metadata = (agent, ("Accept", f"{PARTIAL_LIST},{JSON}"))
        self._write = {
            media: (agent, ("Accept", JSON), ("Content-Type", media)) for media in (JSON, *PATCH_TYPES.values())
        }

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the transport."""
        await self.transport.aclose()

    # -- reading -------------------------------------------------------------------------------------------------------

    async def get(
        self, what: Resource | str, name: str, namespace: str = "", *, subresource: str = "", resource_version: str = ""
    ) -> Obj:
        query = {"resourceVersion": resource_version} if resource_version else {}
        return await self._call("GET", self.path(what, namespace, name, subresource, query))

    async def list(
        self,
        what: Resource | str,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        match: Literal["", "Exact", "NotOlderThan"] = "",
        limit: int = 0,
        continue_: str = "",
        metadata_only: bool = False,
    ) -> Obj:
        """One List object as the server gives it (`limit` and `continue_`: a page of it), each item with its `kind` and
        `apiVersion`. `metadata_only`: items are PartialObjectMetadata."""
        found = resource(what) if isinstance(what, str) else what
        query = _selectors(label_selector, field_selector)
        if limit:
            query["limit"] = str(limit)
        if continue_:
            query["continue"] = continue_
        if resource_version:
            query["resourceVersion"] = resource_version
        if match:
            query["resourceVersionMatch"] = match
        headers = self._list_metadata if metadata_only else self._read
        out = await self._call("GET", self.path(found, namespace, "", "", query), headers=headers)
        head = {"kind": found.kind, "apiVersion": found.api_version}
        out["items"] = [{**head, **item} for item in out.get("items") or ()]
        return out

    async def pages(
        self,
        what: Resource | str,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = PAGE,
        metadata_only: bool = False,
    ) -> AsyncIterator[Obj]:
        """All of it, page by page, of one revision. Raises StatusError 410 when that has become too old."""
        token = ""
        while True:
            page = await self.list(
                what,
                namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                resource_version="" if token else resource_version,
                limit=limit,
                continue_=token,
                metadata_only=metadata_only,
            )
            yield page
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def items(self, what: Resource | str, namespace: str = "", **selectors: Any) -> builtins.list[Obj]:
        """As `pages`, joined."""
        return [item async for page in self.pages(what, namespace, **selectors) for item in page["items"]]

    async def watch(
        self,
        what: Resource | str,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        bookmarks: bool = True,
        initial: bool = False,
        timeout_seconds: int | None = None,
        metadata_only: bool = False,
        shared: bool = False,
    ) -> Watch:
        """`initial`: the current state first, then a BOOKMARK annotated `k8s.io/initial-events-end` (WatchList). `shared`:
        the caller will change nothing in the objects, which spares a server in this process their encoding."""
        query = {"watch": "true", **_selectors(label_selector, field_selector)}
        if bookmarks or initial:
            query["allowWatchBookmarks"] = "true"
        if initial:
            query["sendInitialEvents"] = "true"
            query["resourceVersionMatch"] = "NotOlderThan"
        if resource_version:
            query["resourceVersion"] = resource_version
        if timeout_seconds is not None:
            query["timeoutSeconds"] = str(timeout_seconds)
        path = self.path(what, namespace, "", "", query)
        headers = self._read_metadata if metadata_only else self._read
        stream = await self.transport.stream(path, headers=headers, timeout=self.timeout)
        if stream.code != 200:
            try:
                body = await stream.read()
            finally:
                await stream.aclose()
            raise from_reply(stream.code, stream.headers, body)
        return Watch(stream, shared)

    # -- writing -------------------------------------------------------------------------------------------------------

    async def create(
        self,
        what: Resource | str,
        obj: Obj,
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str = "",
        unread: bool = False,
    ) -> Obj:
        """In the object's own namespace unless told otherwise. `name` is for subresources: whose."""
        namespace = namespace or (obj.get("metadata") or {}).get("namespace", "")
        path = self.path(what, namespace, name, subresource, _writing(dry_run, field_manager))
        return await self._call("POST", path, obj, unread=unread)

    async def update(
        self, what: Resource | str, obj: Obj, *, subresource: str = "", dry_run: bool = False, field_manager: str = ""
    ) -> Obj:
        """Replace; with `metadata.resourceVersion`, only if nobody has changed it (else 409 Conflict)."""
        meta = obj["metadata"]
        query = _writing(dry_run, field_manager)
        return await self._call(
            "PUT", self.path(what, meta.get("namespace", ""), meta["name"], subresource, query), obj
        )

    async def update_status(self, what: Resource | str, obj: Obj) -> Obj:
        return await self.update(what, obj, subresource="status")

    async def patch(
        self,
        what: Resource | str,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        type: PatchType = "merge",
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str = "",
        force: bool = False,
        unread: bool = False,
    ) -> Obj:
        query = _writing(dry_run, field_manager)
        if force:
            query["force"] = "true"
        path = self.path(what, namespace, name, subresource, query)
        return await self._call("PATCH", path, patch, PATCH_TYPES[type], unread=unread)

    async def apply(
        self, what: Resource | str, obj: Obj, *, field_manager: str, force: bool = False, subresource: str = ""
    ) -> Obj:
        """Server-side apply of what `obj` says."""
        meta = obj["metadata"]
        where = meta.get("namespace", "")
        return await self.patch(
            what, meta["name"], obj, where, type="apply", field_manager=field_manager, force=force,
            subresource=subresource,
        )  # fmt: skip

    async def delete(
        self,
        what: Resource | str,
        name: str,
        namespace: str = "",
        *,
        propagation: Propagation = "",
        grace_seconds: int | None = None,
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
        unread: bool = False,
    ) -> Obj:
        """The object as it was, or a Status. `uid`, `resource_version`: only if it still is that (else 409)."""
        body = _deletion(propagation, grace_seconds, uid, resource_version, dry_run)
        return await self._call("DELETE", self.path(what, namespace, name), body, unread=unread)

    async def delete_collection(
        self,
        what: Resource | str,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation: Propagation = "",
        grace_seconds: int | None = None,
    ) -> Obj:
        query = _selectors(label_selector, field_selector)
        body = _deletion(propagation, grace_seconds, "", "", False)
        return await self._call("DELETE", self.path(what, namespace, "", "", query), body)

    # -- subresources --------------------------------------------------------------------------------------------------

    async def bind(
        self, name: str, namespace: str, node: str, *, uid: str = "", annotations: Obj | None = None
    ) -> None:
        """Put a pod on a node."""
        meta: Obj = {"name": name, "namespace": namespace}
        if uid:
            meta["uid"] = uid
        if annotations:
            meta["annotations"] = annotations
        target = {"kind": "Node", "name": node}
        body = {"kind": "Binding", "apiVersion": "v1", "metadata": meta, "target": target}
        await self.create("pods", body, namespace, name=name, subresource="binding", unread=True)

    async def evict(self, name: str, namespace: str, *, grace_seconds: int | None = None, uid: str = "") -> Obj:
        """Raises StatusError 429 while a disruption budget forbids it."""
        body: Obj = {
            "kind": "Eviction",
            "apiVersion": "policy/v1",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": _deletion("", grace_seconds, uid, "", False),
        }
        return await self.create("pods", body, namespace, name=name, subresource="eviction")

    async def get_scale(self, what: Resource | str, name: str, namespace: str) -> Obj:
        return await self.get(what, name, namespace, subresource="scale")

    async def set_scale(self, what: Resource | str, name: str, namespace: str, replicas: int) -> Obj:
        patch = {"spec": {"replicas": replicas}}
        return await self.patch(what, name, patch, namespace, subresource="scale")

    async def create_token(
        self,
        service_account: str,
        namespace: str,
        *,
        audiences: Sequence[str] = (),
        expiration_seconds: int | None = None,
        bound_to: Obj | None = None,
    ) -> Obj:
        """A TokenRequest with its status."""
        spec: Obj = {"audiences": list(audiences)}
        if expiration_seconds is not None:
            spec["expirationSeconds"] = expiration_seconds
        if bound_to is not None:
            spec["boundObjectRef"] = bound_to
        body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
        return await self.create("serviceaccounts", body, namespace, name=service_account, subresource="token")

    # -- anything ------------------------------------------------------------------------------------------------------

    async def raw(
        self, method: str, path: str, body: bytes = b"", content_type: str = JSON, accept: str = "*/*"
    ) -> bytes:
        """Any path of the server. Raises StatusError for codes of 400 and above."""
        headers = [("User-Agent", self.user_agent), ("Accept", accept)]
        if body:
            headers.append(("Content-Type", content_type))
        reply = await self.transport.request(method, path, headers=headers, body=body, timeout=self.timeout)
        if reply.code >= 400:
            raise from_reply(reply.code, reply.headers, reply.body)
        return reply.body

    @staticmethod
    def path(
        what: Resource | str, namespace: str = "", name: str = "", subresource: str = "", query: Query | None = None
    ) -> str:
        found = resource(what) if isinstance(what, str) else what
        out = f"{found.root}/namespaces/{namespace}/{found.name}" if namespace else f"{found.root}/{found.name}"
        if namespace and not found.namespaced:
            out = f"{found.root}/{found.name}"
        if name:
            # names of RBAC objects have colons, which Go's client leaves as they are
            out += "/" + (name if _PLAIN(name) else quote(name, safe="-._~:@"))
        if subresource:
            out += "/" + subresource
        return f"{out}?{urlencode(query)}" if query else out

    async def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        media: str = JSON,
        headers: Headers | None = None,
        unread: bool = False,
    ) -> Obj:
        data = b""
        if body is not None:
            headers, data = self._write[media], orjson.dumps(body)
        elif headers is None:
            headers = self._read
        reply = await self.transport.request(method, path, headers=headers, body=data, timeout=self.timeout)
        if reply.code >= 400:
            raise from_reply(reply.code, reply.headers, reply.body)
        if unread:
            return {}
        try:
            out: Obj = orjson.loads(reply.body)
        except orjson.JSONDecodeError as error:
            raise ProtocolError(f"couldn't get version/kind; json parse error: {error}") from None
        return out


def _selectors(label_selector: str, field_selector: str) -> Query:
    out: Query = {}
    if label_selector:
        out["labelSelector"] = label_selector
    if field_selector:
        out["fieldSelector"] = field_selector
    return out


def _writing(dry_run: bool, field_manager: str) -> Query:
    out: Query = {}
    if dry_run:
        out["dryRun"] = "All"
    if field_manager:
        out["fieldManager"] = field_manager
    return out


def _deletion(propagation: str, grace: int | None, uid: str, version: str, dry_run: bool) -> Obj:
    out: Obj = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if propagation:
        out["propagationPolicy"] = propagation
    if grace is not None:
        out["gracePeriodSeconds"] = grace
    if dry_run:
        out["dryRun"] = ["All"]
    only_if = {**({"uid": uid} if uid else {}), **({"resourceVersion": version} if version else {})}
    if only_if:
        out["preconditions"] = only_if
    return out
