"""certificatesigningrequest-{approving,signing,cleaner}-controller: certificates for kubelets and for whoever was approved.

Requests of kubelets for their own client certificate are approved where RBAC says so (a SubjectAccessReview as the
requestor); approved ones of the cluster's own signers are signed with the CA of the options; old ones are deleted.

Source: kubernetes/pkg/controller/certificates/{approver/sarapprove,signer/signer,cleaner/cleaner}.go
"""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

from sampan.api.errors import StatusError
from sampan.api.times import format_time, parse_time
from sampan.client import Controller, Exponential
from sampan.client.errors import is_not_found
from sampan.controllers.context import Context

if TYPE_CHECKING:
    from cryptography import x509

    from sampan.controllers.signing import Authority

Obj = dict[str, Any]
log = logging.getLogger("sampan.controller")
NAME = "certificatesigningrequests.certificates.k8s.io"
DECIDED_SECONDS, PENDING_SECONDS = 3600.0, 86400.0


class _Requests:
    """A controller of signing requests. Informers: one, shared by all three."""

    name: str

    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.clients("certificate-controller")
        self.requests = context.informers.get(NAME)
        self.controller = Controller(
            self.name, self.reconcile, workers=5, synced=(self.requests,), limiter=Exponential(0.2)
        )
        self.requests.add_handler(self.controller.enqueue, lambda old, new: self.controller.enqueue(new))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: str) -> float | None:
        request = self.requests.cache.by_key(key)
        return None if request is None else await self.handle(request)

    async def handle(self, request: Obj) -> float | None:
        raise NotImplementedError


class Approver(_Requests):
    name = "certificatesigningrequest-approving-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        #: RBAC may say so later
        self._refused = Exponential(0.2)

    async def handle(self, request: Obj) -> float | None:
        from sampan.controllers.signing import KUBELET_CLIENT, Refused, check, common_name

        name, spec = request["metadata"]["name"], request["spec"]
        if _issued(request) or _conditions(request).keys() & {"Approved", "Denied"}:
            self._refused.forget(name)
            return None
        parsed = _parse(request)
        if spec["signerName"] != KUBELET_CLIENT or parsed is None:
            return None
        try:
            check(parsed, spec.get("usages") or (), KUBELET_CLIENT)
        except Refused:
            return None
        tried = ["nodeclient"]
        if spec.get("username") == common_name(parsed):
            tried.insert(0, "selfnodeclient")
        for kind in tried:
            if await self._allowed(spec, kind):
                whose = "self kubelet" if kind == "selfnodeclient" else "kubelet"
                await self._approve(request, f"Auto approving {whose} client certificate after SubjectAccessReview.")
                return None
        log.info("recognized csr %s as %s but subject access review was not approved", name, tried)
        return self._refused.when(name)

    async def _allowed(self, spec: Obj, kind: str) -> bool:
        asked = {
            "group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create",
            "subresource": kind,
        }  # fmt: skip
        who = {"user": spec.get("username", ""), "uid": spec.get("uid", ""), "groups": spec.get("groups") or []}
        body = {"spec": {**who, "extra": spec.get("extra") or {}, "resourceAttributes": asked}}
        answer = await self.client.create("subjectaccessreviews.authorization.k8s.io", body)
        return bool(answer["status"].get("allowed"))

    async def _approve(self, request: Obj, message: str) -> None:
        condition = {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message}
        status = request.get("status") or {}
        status = {**status, "conditions": [*(status.get("conditions") or ()), condition]}
        await self.client.update(NAME, {**request, "status": status}, subresource="approval")


class Signer(_Requests):
    """Without a CA in the options it signs nothing."""

    name = "certificatesigningrequest-signing-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._authority: Authority | None = None

    async def handle(self, request: Obj) -> float | None:
        from sampan.controllers.signing import SIGNERS, Refused, check, duration

        options, spec = self.context.options, request["spec"]
        conditions = _conditions(request)
        if "Approved" not in conditions or conditions.keys() & {"Denied", "Failed"} or _issued(request):
            return None
        parsed = _parse(request)
        if spec["signerName"] not in SIGNERS or not options.signing_key or parsed is None:
            return None
        usages = spec.get("usages") or []
        status = dict(request.get("status") or {})
        now = self.context.clock()
        try:
            check(parsed, usages, spec["signerName"])
        except Refused as error:
            failed = {
                "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": str(error),
                "lastUpdateTime": format_time(now),
            }  # fmt: skip
            status["conditions"] = [*(status.get("conditions") or ()), failed]
        else:
            seconds = duration(spec.get("expirationSeconds"), options.cluster_signing_duration)
            signed = self._ca().sign(parsed, usages, seconds, now)
            status["certificate"] = base64.b64encode(signed).decode()
        await self.client.update_status(NAME, {**request, "status": status})
        return None

    def _ca(self) -> Authority:
        from sampan.controllers.signing import Authority

        if self._authority is None:
            self._authority = Authority(self.context.options.signing_cert, self.context.options.signing_key)
        return self._authority


class Cleaner(_Requests):
    name = "certificatesigningrequest-cleaner-controller"

    async def handle(self, request: Obj) -> float | None:
        ends = _ends(request)
        if ends is None:
            return None
        left = ends - self.context.clock()
        if left >= 0:
            return left + 1
        meta = request["metadata"]
        try:
            await self.client.delete(NAME, meta["name"], uid=meta["uid"])
        except StatusError as error:
            if not is_not_found(error):
                raise
        return None


def _conditions(request: Obj) -> dict[str, Obj]:
    found = (request.get("status") or {}).get("conditions") or ()
    return {item["type"]: item for item in found if item.get("status", "True") == "True"}


def _issued(request: Obj) -> bool:
    return bool((request.get("status") or {}).get("certificate"))


def _ends(request: Obj) -> float | None:
    """When a request is of no use any more; None: as long as nothing happens to it."""
    conditions = _conditions(request)
    if not conditions:
        return parse_time(request["metadata"]["creationTimestamp"]) + PENDING_SECONDS
    ends = []
    for kind in ("Approved", "Denied", "Failed"):
        since = (conditions.get(kind) or {}).get("lastUpdateTime")
        if since and (kind != "Approved" or _issued(request)):
            ends.append(parse_time(since) + DECIDED_SECONDS)
    if "Approved" in conditions and _issued(request):
        from cryptography import x509

        try:
            issued = x509.load_pem_x509_certificate(base64.b64decode(request["status"]["certificate"]))
        except ValueError as error:
            log.error("unable to parse certificate data of %s: %s", request["metadata"]["name"], error)
        else:
            ends.append(issued.not_valid_after_utc.timestamp())
    return min(ends, default=None)


def _parse(request: Obj) -> x509.CertificateSigningRequest | None:
    """None: it is none, though the API server should have seen to that."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
    except ValueError as error:
        log.error("unable to parse csr %s: %s", request["metadata"]["name"], error)
        return None
