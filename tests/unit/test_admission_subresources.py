"""What admission is asked, and shown, for everything that is not a plain write; and which plugins a server has."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sampan.api.user import User
from sampan.apiserver.admission.chain import Attributes, Chain, Plugin
from sampan.apiserver.admission.order import chain
from sampan.cluster.certificates import ensure
from sampan.http.server.messages import Request, Response
from tests.conftest import Local
from tests.unit.test_admission_pods import PODS, pod

MERGE = "application/merge-patch+json"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


class As:
    """A server as somebody else than the administrator sees it."""

    def __init__(self, api: Local, user: User) -> None:
        self.api, self.user = api, user

    async def __call__(
        self, method: str, target: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, Any]:
        path, _, query = target.partition("?")
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"content-type": kind, "user-agent": "test/1"}
        request = Request(method, path, query, headers, list(headers.items()), data, None, None)
        request.scratch["user"] = self.user
        result = self.api.server.handler(request)
        reply = result if isinstance(result, Response) else await result
        joined = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
        return reply.code, json.loads(joined)


class Witness(Plugin):
    """Writes down what it is asked; refuses what it is told to."""

    subresources = None

    def __init__(self) -> None:
        self.asked: list[Attributes] = []
        self.refuse: set[tuple[str, str]] = set()

    async def mutate(self, attributes: Attributes) -> None:
        self.asked.append(attributes)

    async def validate(self, attributes: Attributes) -> None:
        if (attributes.resource, attributes.subresource) in self.refuse:
            raise attributes.forbidden("no")

    @property
    def last(self) -> tuple[str, str, str, str, str]:
        asked = self.asked[-1]
        group, version, kind = asked.kind
        where = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        return asked.operation, where, f"{group}/{version}, {kind}", asked.namespace, asked.name


@pytest.fixture
def witness(api: Local) -> Witness:
    out = Witness()
    api.server.api.admission = Chain([*chain().plugins, out])
    return out


def deployment() -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    return {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}


async def test_scale_is_shown_as_a_scale(api: Local, witness: Witness) -> None:
    await api("POST", DEPLOYMENTS, deployment())
    code, made = await api("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 3}}, MERGE)
    assert code == 200 and made["spec"]["replicas"] == 3
    assert witness.last == ("UPDATE", "deployments/scale", "autoscaling/v1, Scale", "default", "d")
    asked = witness.asked[-1]
    assert asked.obj is not None and asked.old is not None
    assert (asked.obj["kind"], asked.obj["spec"], asked.old["spec"]) == ("Scale", {"replicas": 3}, {"replicas": 1})
    witness.refuse = {("deployments", "scale")}
    code, refused = await api("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 5}}, MERGE)
    assert (code, refused["message"]) == (403, 'deployments.apps "d" is forbidden: no')
    _, live = await api("GET", f"{DEPLOYMENTS}/d")
    assert live["spec"]["replicas"] == 3


async def test_a_plugin_may_change_a_scale(api: Local) -> None:
    class AtMostTwo(Plugin):
        subresources = frozenset({"scale"})

        async def mutate(self, attributes: Attributes) -> None:
            assert attributes.obj is not None
            attributes.obj["spec"]["replicas"] = min(2, attributes.obj["spec"].get("replicas", 0))

    api.server.api.admission = Chain([AtMostTwo()])
    await api("POST", DEPLOYMENTS, deployment())
    _, made = await api("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 9}}, MERGE)
    assert made["spec"]["replicas"] == 2


@pytest.mark.parametrize("legacy", [False, True])
async def test_bindings(api: Local, witness: Witness, legacy: bool) -> None:
    await api("POST", PODS, pod())
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    path = "/api/v1/namespaces/default/bindings" if legacy else f"{PODS}/p/binding"
    where = "bindings" if legacy else "pods/binding"
    witness.refuse = {("bindings", ""), ("pods", "binding")}
    code, refused = await api("POST", path, binding)
    assert code == 403 and refused["message"].endswith('"p" is forbidden: no')
    assert witness.last == ("CREATE", where, "/v1, Binding", "default", "p")
    assert "nodeName" not in (await api("GET", f"{PODS}/p"))[1]["spec"]
    witness.refuse = set()
    assert (await api("POST", path, binding))[0] == 201


async def test_evictions(api: Local, witness: Witness) -> None:
    await api("POST", PODS, pod())
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    dry = {**eviction, "deleteOptions": {"dryRun": ["All"]}}
    assert (await api("POST", f"{PODS}/p/eviction", dry))[0] == 201
    assert witness.asked[-1].dry_run
    witness.refuse = {("pods", "eviction")}
    assert (await api("POST", f"{PODS}/p/eviction", eviction))[0] == 403
    witness.refuse = set()
    before = len(witness.asked)
    assert (await api("POST", f"{PODS}/p/eviction", eviction))[0] == 201
    # the deletion that follows is no question of its own
    assert len(witness.asked) == before + 1
    assert witness.last == ("CREATE", "pods/eviction", "policy/v1, Eviction", "default", "p")
    assert (await api("GET", f"{PODS}/p"))[0] == 404


@pytest.mark.parametrize("sub", ["status", "ephemeralcontainers", "resize"])
async def test_parts_of_pods(api: Local, witness: Witness, sub: str) -> None:
    def sized(cpu: str) -> list[dict[str, Any]]:
        return [{"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}]

    await api("POST", PODS, pod(containers=sized("1")))
    witness.refuse = {("pods", sub)}
    patches: dict[str, dict[str, Any]] = {
        "status": {"status": {"phase": "Running"}},
        "ephemeralcontainers": {"spec": {"ephemeralContainers": [{"name": "e", "image": "x"}]}},
        "resize": {"spec": {"containers": sized("2")}},
    }
    patch = patches[sub]
    code, refused = await api("PATCH", f"{PODS}/p/{sub}", patch, "application/strategic-merge-patch+json")
    assert code == 403, refused
    assert witness.last == ("UPDATE", f"pods/{sub}", "/v1, Pod", "default", "p")
    witness.refuse = set()
    code, made = await api("PATCH", f"{PODS}/p/{sub}", patch, "application/strategic-merge-patch+json")
    assert code == 200, made
    assert any(entry.get("subresource") == sub for entry in made["metadata"]["managedFields"])


async def test_what_plugins_do_to_a_part_is_held_to_its_rules(api: Local) -> None:
    class Meddler(Plugin):
        subresources = frozenset({"ephemeralcontainers"})

        async def mutate(self, attributes: Attributes) -> None:
            assert attributes.obj is not None
            attributes.obj["spec"]["hostNetwork"] = True
            attributes.obj["spec"]["ephemeralContainers"] = [{"name": "Not A Name", "image": "x"}]

    await api("POST", PODS, pod())
    api.server.api.admission = Chain([Meddler()])
    patch = {"spec": {"ephemeralContainers": [{"name": "e", "image": "x"}]}}
    target = f"{PODS}/p/ephemeralcontainers"
    code, refused = await api("PATCH", target, patch, "application/strategic-merge-patch+json")
    assert code == 422 and "spec.ephemeralContainers[0].name" in refused["message"]


@pytest.mark.parametrize(
    ("method", "sub", "kind"),
    [
        ("POST", "exec?command=a&command=b&stdin=true", "PodExecOptions"),
        ("GET", "attach", "PodAttachOptions"),
        ("POST", "portforward", "PodPortForwardOptions"),
        ("PUT", "proxy", "PodProxyOptions"),
    ],
)
async def test_connections(api: Local, witness: Witness, method: str, sub: str, kind: str) -> None:
    await api("POST", PODS, pod())
    name = sub.partition("?")[0]
    witness.refuse = {("pods", name)}
    code, _ = await api(method, f"{PODS}/p/{sub}")
    assert code == 403
    assert witness.last == ("CONNECT", f"pods/{name}", f"/v1, {kind}", "default", "p")
    if "command" in sub:
        asked = witness.asked[-1].obj
        assert asked is not None and (asked["command"], asked["stdin"]) == (["a", "b"], True)
    before = len(witness.asked)
    await api("GET", f"{PODS}/p/log")
    assert len(witness.asked) == before


async def test_collections_are_asked_about_one_by_one(api: Local, witness: Witness) -> None:
    for name in ("a", "b"):
        await api("POST", PODS, pod(name))
    before = len(witness.asked)
    await api("DELETE", f"{PODS}?dryRun=All")
    asked = witness.asked[before:]
    assert [(a.operation, a.name, a.dry_run, (a.old or {})["metadata"]["name"]) for a in asked] == [
        ("DELETE", "a", True, "a"),
        ("DELETE", "b", True, "b"),
    ]


async def test_tokens(api: Local, witness: Witness) -> None:
    witness.refuse = {("serviceaccounts", "token")}
    code, _ = await api("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {}})
    assert code == 403
    what = "authentication.k8s.io/v1, TokenRequest"
    assert witness.last == ("CREATE", "serviceaccounts/token", what, "default", "default")


async def test_nothing_new_in_a_namespace_that_goes(api: Local) -> None:
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    await api("POST", "/api/v1/namespaces/n/pods", pod())
    await api("DELETE", "/api/v1/namespaces/n")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    code, refused = await api("POST", "/api/v1/namespaces/n/pods/p/eviction", eviction)
    assert code == 403 and refused["details"]["causes"][0]["reason"] == "NamespaceTerminating"


async def test_a_generated_name_comes_after_admission(api: Local, witness: Witness) -> None:
    body = pod()
    body["metadata"] = {"generateName": "p-"}
    body["spec"]["serviceAccountName"] = "none"
    _, refused = await api("POST", PODS, body)
    assert refused["message"].startswith('pods "p-" is forbidden: error looking up service account default/none')


# -- approval and signing of certificates --------------------------------------------------------------------------------


async def test_certificates_need_the_right_for_their_signer(
    api: Local, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    request = certificate("someone", "group")
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    spec = {"request": request, "signerName": "example.com/x", "usages": ["client auth"]}
    code, made = await api("POST", path, {"metadata": {"name": "c"}, "spec": spec})
    assert code == 201, made

    class Decided:
        allowed: set[tuple[str, str]] = set()

        def authorize(self, user: User, asked: Any) -> Any:
            from sampan.apiserver.authorization.attributes import Decision

            return Decision(asked.resource != "signers" or (asked.verb, asked.name) in self.allowed)

    rights = Decided()
    monkeypatch.setattr(api.server.api, "authorizer", rights)
    condition = {"type": "Approved", "status": "True", "reason": "R"}
    approve = {"status": {"conditions": [condition]}}
    code, refused = await api("PATCH", f"{path}/c/approval", approve, MERGE)
    why = 'user not permitted to approve requests with signerName "example.com/x"'
    assert (code, refused["message"]) == (
        403,
        f'certificatesigningrequests.certificates.k8s.io "c" is forbidden: {why}',
    )
    rights.allowed = {("approve", "example.com/*")}
    assert (await api("PATCH", f"{path}/c/approval", approve, MERGE))[0] == 200
    issued = ensure(tmp_path, ["127.0.0.1"]).path("ca.crt").read_bytes()
    signed = {"status": {"certificate": base64.b64encode(issued).decode()}}
    code, refused = await api("PATCH", f"{path}/c/status", signed, MERGE)
    assert code == 403 and "user not permitted to sign requests" in refused["message"]
    masters = {"request": certificate("someone", "system:masters"), "signerName": "kubernetes.io/kube-apiserver-client"}
    code, refused = await api("POST", path, {"metadata": {"name": "m"}, "spec": {**spec, **masters}})
    assert code == 403 and "signer with system:masters group is not allowed" in refused["message"]


def certificate(name: str, group: str) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)]
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    return base64.b64encode(csr.public_bytes(serialization.Encoding.PEM)).decode()


# -- which plugins there are -----------------------------------------------------------------------------------------------


def test_plugins_are_switched_by_name() -> None:
    names = [type(plugin).__name__ for plugin in chain(["AlwaysPullImages"], ["PodSecurity"]).plugins]
    assert "AlwaysPullImages" in names and "PodSecurity" not in names and names[-1] == "ResourceQuota"
    with pytest.raises(ValueError, match='enable-admission-plugins plugin "None" is unknown'):
        chain(["None"])
    with pytest.raises(ValueError, match="overlapped"):
        chain(["Priority"], ["Priority"])


async def test_plugins_that_are_off_by_default(api: Local) -> None:
    api.server.api.admission = chain(["AlwaysPullImages", "DenyServiceExternalIPs"])
    _, made = await api("POST", PODS, pod())
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["1.2.3.4"]}}
    code, refused = await api("POST", "/api/v1/namespaces/default/services", service)
    assert code == 403 and "Use of external IPs is denied by admission control." in refused["message"]
    api.server.api.admission = chain(["AlwaysDeny"])
    assert (await api("DELETE", f"{PODS}/p"))[0] == 403
