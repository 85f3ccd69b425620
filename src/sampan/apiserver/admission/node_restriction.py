"""A kubelet changes only what is its node's own: the Node, its Lease and CSINode, mirror pods, the status of its pods.

The node authorizer says which objects a kubelet may touch; here it is looked at what they contain, so that a node that
was broken into cannot draw workloads or tokens of others to itself.

Source: kubernetes/plugin/pkg/admission/noderestriction/admission.go; k8s.io/kubelet/pkg/apis/well_known_labels.go
"""

from __future__ import annotations

import base64
from typing import Any

from sampan.api import errors
from sampan.api.core_v1.pod_references import config_map_names, secret_names
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.admission.lookup import find
from sampan.apiserver.authorization import attributes as authorization
from sampan.apiserver.authorization.node import NODES, PREFIX

MIRROR = "kubernetes.io/config.mirror"
LEASES = "kube-node-lease"
CERTIFICATES = "certificates.k8s.io"
KUBELET_SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
TOKEN_AUDIENCE = "request-serviceaccounts-token-audience"
RESTRICTED = "node-restriction.kubernetes.io"
#: what of kubernetes.io a kubelet may say of its node
LABELS = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch", "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)  # fmt: skip
LABEL_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
ELSEWHERE = "The object might have been deleted and then recreated"


class NodeRestriction(Plugin):
    operations = frozenset({"CREATE", "UPDATE", "DELETE"})
    subresources = None
    resources = frozenset(
        {
            ("", "pods"), ("", "nodes"), ("", "persistentvolumeclaims"), ("", "serviceaccounts"),
            ("coordination.k8s.io", "leases"), ("storage.k8s.io", "csinodes"), ("resource.k8s.io", "resourceslices"),
            (CERTIFICATES, "certificatesigningrequests"), (CERTIFICATES, "podcertificaterequests"),
        }
    )  # fmt: skip

    async def mutate(self, attributes: Attributes) -> None:
        """Raises 403 for what is not the node's own, 404 for a pod that is not there. Changes nothing."""
        user = attributes.user
        if NODES not in user.groups or not user.name.startswith(PREFIX):
            return
        node = user.name[len(PREFIX) :]
        if not node:
            raise attributes.forbidden(f'could not determine node from user "{user.name}"')
        match attributes.resource:
            case "pods":
                await self._pod(attributes, node)
            case "nodes":
                _node(attributes, node)
            case "persistentvolumeclaims":
                _claim(attributes, node)
            case "serviceaccounts":
                await self._token(attributes, node)
            case "leases":
                if attributes.namespace != LEASES:
                    raise attributes.forbidden(f'can only access leases in the "{LEASES}" system namespace')
                _same_name(attributes, node, "node lease")
            case "csinodes":
                _same_name(attributes, node, "CSINode")
            case "resourceslices":
                _slice(attributes, node)
            case "certificatesigningrequests":
                _certificate(attributes)
            case "podcertificaterequests":
                await self._pod_certificate(attributes, node)

    # -- pods ----------------------------------------------------------------------------------------------------------

    async def _pod(self, attributes: Attributes, node: str) -> None:
        match attributes.subresource, attributes.operation:
            case "", "CREATE":
                await self._new_pod(attributes, node, attributes.obj or {})
            case "", "DELETE":
                if await self._pods_node(attributes, attributes.name) != node:
                    raise attributes.forbidden(f'node "{node}" can only delete pods with spec.nodeName set to itself')
            case "", operation:
                why = f'unexpected operation "{operation}", node "{node}" can only create and delete mirror pods'
                raise attributes.forbidden(why)
            case "status", "UPDATE":
                _pod_status(attributes, node, attributes.obj or {}, attributes.old or {})
            case "eviction", "CREATE":
                name = attributes.name or ((attributes.obj or {}).get("metadata") or {}).get("name", "")
                if not name:
                    raise attributes.forbidden("could not determine pod from request data")
                if await self._pods_node(attributes, name) != node:
                    raise attributes.forbidden(f"node {node} can only evict pods with spec.nodeName set to itself")
            case "status" | "eviction", operation:
                raise attributes.forbidden(f'unexpected operation "{operation}"')
            case subresource, _:
                why = f"unexpected pod subresource \"{subresource}\", only 'status' and 'eviction' are allowed"
                raise attributes.forbidden(why)

    async def _pods_node(self, attributes: Attributes, name: str) -> str:
        pod = await self._existing(attributes, name)
        return str(pod["spec"].get("nodeName") or "")

    @staticmethod
    async def _existing(attributes: Attributes, name: str) -> Obj:
        cache = attributes.api.cached("", "pods")
        record = await find(attributes.api, cache, f"{attributes.namespace}/{name}")
        if record is None:
            raise errors.not_found("", "pods", name)
        return record.obj()

    @staticmethod
    async def _new_pod(attributes: Attributes, node: str, pod: Obj) -> None:
        spec, meta = pod["spec"], pod["metadata"]
        if MIRROR not in (meta.get("annotations") or {}):
            why = f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
            raise attributes.forbidden(why)
        can = f'node "{node}" can only create pods with'
        if spec.get("nodeName") != node:
            raise attributes.forbidden(f"{can} spec.nodeName set to itself")
        owners = meta.get("ownerReferences") or []
        if len(owners) > 1:
            raise attributes.forbidden(f"{can} a single owner reference set to itself")
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise attributes.forbidden(f"{can} an owner reference set to itself")
        if not owner.get("controller"):
            raise attributes.forbidden(f"{can} a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            raise attributes.forbidden(f'node "{node}" must not set blockOwnerDeletion on an owner reference')
        record = await find(attributes.api, attributes.api.cached("", "nodes"), node)
        if record is None:
            raise errors.not_found("", "nodes", node)
        uid = record.obj()["metadata"]["uid"]
        if owner.get("uid") != uid:
            raise attributes.forbidden(f"node {node} UID mismatch: expected {owner.get('uid')} got {uid}")
        referenced = _references(spec)
        if referenced:
            raise attributes.forbidden(f'node "{node}" can not create pods that reference {referenced}')

    # -- tokens and certificates ---------------------------------------------------------------------------------------

    async def _token(self, attributes: Attributes, node: str) -> None:
        if attributes.operation != "CREATE" or attributes.subresource != "token":
            return
        spec = (attributes.obj or {}).get("spec") or {}
        bound = spec.get("boundObjectRef") or {}
        if (bound.get("apiVersion"), bound.get("kind")) != ("v1", "Pod") or not bound.get("name"):
            raise attributes.forbidden("node requested token not bound to a pod")
        if not bound.get("uid"):
            raise attributes.forbidden("node requested token with a pod binding without a uid")
        pod = await self._existing(attributes, bound["name"])
        if bound["uid"] != pod["metadata"]["uid"]:
            why = (
                f"the UID in the bound object reference ({bound['uid']}) does not match the UID in record. {ELSEWHERE}"
            )
            raise attributes.forbidden(why)
        if pod["spec"].get("nodeName") != node:
            raise attributes.forbidden("node requested token bound to a pod scheduled on a different node")
        self._audience(attributes, spec.get("audiences") or [], pod["spec"])

    @staticmethod
    def _audience(attributes: Attributes, audiences: list[str], spec: Obj) -> None:
        """A token for whom the pod's own volumes ask, or for whom the node has been given the right to ask."""
        if len(audiences) > 1:
            raise attributes.forbidden("node may only request 0 or 1 audiences")
        audience = audiences[0] if audiences else ""
        wanted = {
            (source.get("serviceAccountToken") or {}).get("audience", "")
            for volume in spec.get("volumes") or ()
            for source in (volume.get("projected") or {}).get("sources") or ()
            if source.get("serviceAccountToken") is not None
        }
        # a CSI driver's audiences are declared by its CSIDriver
        drivers = {(volume.get("csi") or {}).get("driver") for volume in spec.get("volumes") or ()}
        for record in attributes.api.cached("storage.k8s.io", "csidrivers").list(""):
            if record.name in drivers:
                requests = (record.obj().get("spec") or {}).get("tokenRequests") or ()
                wanted |= {item.get("audience", "") for item in requests}
        if audience in wanted:
            return
        asked = authorization.Attributes(
            TOKEN_AUDIENCE, "", "", audience, namespace=attributes.namespace, name=attributes.name
        )
        if attributes.api.authorizer.authorize(attributes.user, asked).allowed is not True:
            why = f'audience "{audience}" not found in pod spec volume, {attributes.user.name} is not authorized to request'
            raise attributes.forbidden(f"{why} tokens for this audience")

    async def _pod_certificate(self, attributes: Attributes, node: str) -> None:
        if attributes.operation != "CREATE" or attributes.subresource:
            return
        spec = (attributes.obj or {}).get("spec") or {}
        if spec.get("nodeName") != node:
            why = f'PodCertificateRequest.Spec.NodeName="{spec.get("nodeName", "")}", which is not the requesting node'
            raise attributes.forbidden(f'{why} "{node}"')
        pod = await self._existing(attributes, spec.get("podName", ""))
        meta = pod["metadata"]
        for what, said, is_ in (
            ("pod UID", spec.get("podUID"), meta["uid"]),
            ("node name", node, pod["spec"].get("nodeName")),
            ("service account name", spec.get("serviceAccountName"), pod["spec"].get("serviceAccountName")),
        ):
            if said != is_:
                why = (
                    f'PodCertificateRequest for pod "{attributes.namespace}/{meta["name"]}" contains {what} ("{said}")'
                )
                raise attributes.forbidden(f'{why} which differs from running pod "{is_}"')
        if MIRROR in (meta.get("annotations") or {}):
            raise attributes.forbidden(f'pod "{attributes.namespace}/{meta["name"]}" is a mirror pod')


def _references(spec: Obj) -> str:
    """The first kind of object that the pod refers to, and a mirror pod may not."""
    if spec.get("serviceAccountName"):
        return "a service account"
    for word, names in (("secrets", secret_names(spec)), ("configmaps", config_map_names(spec))):
        if any(True for _ in names):
            return word
    volumes = spec.get("volumes") or ()
    sources = [source for volume in volumes for source in (volume.get("projected") or {}).get("sources") or ()]
    for word, found in (
        ("clustertrustbundles", any(source.get("clusterTrustBundle") is not None for source in sources)),
        ("podcertificates", any(source.get("podCertificate") is not None for source in sources)),
        ("persistentvolumeclaims", any(volume.get("persistentVolumeClaim") is not None for volume in volumes)),
        ("resourceclaims", bool(spec.get("resourceClaims"))),
    ):
        if found:
            return word
    return ""


def _pod_status(attributes: Attributes, node: str, new: Obj, old: Obj) -> None:
    if old["spec"].get("nodeName") != node:
        why = f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
        raise attributes.forbidden(why)
    if (new["metadata"].get("labels") or {}) != (old["metadata"].get("labels") or {}):
        raise attributes.forbidden(f'node "{node}" cannot update labels through pod status')
    for field, word in (
        ("resourceClaimStatuses", "resource claim statues"),
        ("extendedResourceClaimStatus", "extended resource claim status"),
    ):
        if ((new.get("status") or {}).get(field) or None) != ((old.get("status") or {}).get(field) or None):
            raise attributes.forbidden(f'node "{node}" cannot update {word}')


def _node(attributes: Attributes, node: str) -> None:
    if attributes.name != node:
        raise attributes.forbidden(f'node "{node}" is not allowed to modify node "{attributes.name}"')
    if attributes.obj is None:
        return
    new, old = attributes.obj, attributes.old or {}
    config = (new.get("spec") or {}).get("configSource")
    labels = _modified(_meta(new, "labels"), _meta(old, "labels"))
    if attributes.operation == "CREATE":
        if config is not None:
            raise attributes.forbidden(f'node "{node}" is not allowed to create pods with a non-nil configSource')
        if labels:
            shown = ", ".join(labels)
            raise attributes.forbidden(f'node "{node}" is not allowed to set the following labels: {shown}')
        return
    before = old.get("spec") or {}
    if config is not None and config != before.get("configSource"):
        raise attributes.forbidden(f'node "{node}" is not allowed to update configSource to a new non-nil configSource')
    if ((new.get("spec") or {}).get("taints") or []) != (before.get("taints") or []):
        raise attributes.forbidden(f'node "{node}" is not allowed to modify taints')
    if _meta(new, "ownerReferences") != _meta(old, "ownerReferences"):
        raise attributes.forbidden(f'node "{node}" is not allowed to modify ownerReferences')
    if labels:
        raise attributes.forbidden(f"is not allowed to modify labels: {', '.join(labels)}")


def _meta(obj: Obj, field: str) -> Any:
    return (obj.get("metadata") or {}).get(field) or {}


def _modified(new: dict[str, str], old: dict[str, str]) -> list[str]:
    """Labels that differ, and that a kubelet may not change."""
    changed = {key for key in {*new, *old} if new.get(key) != old.get(key)}
    return sorted(key for key in changed if _forbidden(key))


def _forbidden(label: str) -> bool:
    domain = label.rpartition("/")[0] if "/" in label else ""
    if _within(domain, RESTRICTED):
        return True
    if not _within(domain, "kubernetes.io") and not _within(domain, "k8s.io"):
        return False
    return label not in LABELS and not any(_within(domain, allowed) for allowed in LABEL_DOMAINS)


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith("." + parent)


def _claim(attributes: Attributes, node: str) -> None:
    if attributes.subresource != "status":
        raise attributes.forbidden("may only update PVC status")
    if attributes.operation != "UPDATE":
        raise attributes.forbidden(f'unexpected operation "{attributes.operation}"')

    def rest(claim: Obj) -> Obj:
        fields = ("capacity", "conditions", "allocatedResourceStatuses", "allocatedResources")
        status = {k: v for k, v in (claim.get("status") or {}).items() if k not in fields}
        meta = {k: v for k, v in claim["metadata"].items() if k not in ("resourceVersion", "managedFields")}
        return {**claim, "metadata": meta, "status": status}

    assert attributes.obj is not None and attributes.old is not None
    new, old = rest(attributes.obj), rest(attributes.old)
    if new != old:
        differing = sorted(name for name in {*new, *old} if new.get(name) != old.get(name))
        why = f'node "{node}" is not allowed to update fields other than status.capacity and status.conditions'
        # DEVIATION: upstream prints Go's own structs
        raise attributes.forbidden(f"{why}: {', '.join(differing)}")


def _same_name(attributes: Attributes, node: str, what: str) -> None:
    # the URL of a create has no name
    name = _meta(attributes.obj or {}, "name") if attributes.operation == "CREATE" else attributes.name
    if name != node:
        raise attributes.forbidden(f"can only access {what} with the same name as the requesting node")


def _slice(attributes: Attributes, node: str) -> None:
    """A slice is on the node it says; that does not change, so the old one says it too."""
    obj = attributes.old or attributes.obj or {}
    if ((obj.get("spec") or {}).get("nodeName") or "") != node:
        verb = attributes.operation.lower()
        raise attributes.forbidden(f"can only {verb} ResourceSlice with the same NodeName as the requesting node")


def _certificate(attributes: Attributes) -> None:
    if attributes.operation != "CREATE" or attributes.subresource:
        return
    spec = (attributes.obj or {}).get("spec") or {}
    if spec.get("signerName") not in KUBELET_SIGNERS:
        return
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        subject = x509.load_pem_x509_csr(base64.b64decode(spec.get("request") or "")).subject
    except ValueError as error:
        raise attributes.forbidden(f"unable to parse csr: {error}") from None
    names = [item.value for item in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [attributes.user.name]:
        raise attributes.forbidden(f"can only create a node CSR with CN={attributes.user.name}")
