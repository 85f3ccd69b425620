"""Who may approve and sign certificate requests, and attest trust bundles: those with that right for the signer.

The right is a verb (`approve`, `sign`, `attest`) on the resource `signers`, named `DOMAIN/PATH` or `DOMAIN/*`.

Source: kubernetes/plugin/pkg/admission/certificates/{approval,signing,ctbattest,subjectrestriction}/admission.go
"""

from __future__ import annotations

import base64

from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.authorization import attributes as authorization

GROUP = "certificates.k8s.io"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
MASTERS = "system:masters"


def authorized(attributes: Attributes, verb: str, signer: str) -> bool:
    """For that signer, or for all of its domain."""
    domain = signer.split("/")[0]
    return any(
        attributes.api.authorizer.authorize(
            attributes.user, authorization.Attributes(verb, GROUP, "*", "signers", name=name)
        ).allowed
        is True
        for name in (signer, f"{domain}/*")
    )


class CertificateApproval(Plugin):
    resources = frozenset({(GROUP, "certificatesigningrequests")})
    operations = frozenset({"UPDATE"})
    subresources = frozenset({"approval"})

    async def validate(self, attributes: Attributes) -> None:
        """Asked of the old object's signer: the new one is only what the client says."""
        signer = _signer(attributes.old)
        if not authorized(attributes, "approve", signer):
            raise attributes.forbidden(f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning(Plugin):
    resources = frozenset({(GROUP, "certificatesigningrequests")})
    operations = frozenset({"UPDATE"})
    subresources = frozenset({"status"})

    async def validate(self, attributes: Attributes) -> None:
        new, old = ((obj or {}).get("status") or {} for obj in (attributes.obj, attributes.old))
        if all((new.get(name) or None) == (old.get(name) or None) for name in ("certificate", "conditions")):
            return
        signer = _signer(attributes.old)
        if not authorized(attributes, "sign", signer):
            raise attributes.forbidden(f'user not permitted to sign requests with signerName "{signer}"')


class ClusterTrustBundleAttest(Plugin):
    resources = frozenset({(GROUP, "clustertrustbundles")})
    operations = frozenset({"CREATE", "UPDATE"})

    async def validate(self, attributes: Attributes) -> None:
        signer = _signer(attributes.obj)
        if not signer:
            return
        if attributes.operation == "UPDATE" and _only_gc_fields(attributes.obj or {}, attributes.old or {}):
            return
        if not authorized(attributes, "attest", signer):
            raise attributes.forbidden(f'user not permitted to attest for signerName "{signer}"')


class CertificateSubjectRestriction(Plugin):
    resources = frozenset({(GROUP, "certificatesigningrequests")})
    operations = frozenset({"CREATE"})

    async def validate(self, attributes: Attributes) -> None:
        """Nobody becomes a master by asking for a certificate. Raises 403."""
        if _signer(attributes.obj) != CLIENT_SIGNER:
            return
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        assert attributes.obj is not None
        try:
            pem = base64.b64decode(attributes.obj["spec"].get("request") or "")
            subject = x509.load_pem_x509_csr(pem).subject
        except ValueError as error:
            raise attributes.forbidden(f"failed to parse CSR: {error}") from None
        if any(item.value == MASTERS for item in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)):
            raise attributes.forbidden(f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed")


def _signer(obj: Obj | None) -> str:
    return str(((obj or {}).get("spec") or {}).get("signerName") or "")


def _only_gc_fields(new: Obj, old: Obj) -> bool:
    """Nothing but owners and finalizers differs. Source: kubernetes/pkg/registry/rbac/helpers.go"""
    ignored = ("ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation")

    def bare(obj: Obj) -> Obj:
        return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k not in ignored}}

    return bare(new) == bare(old)
