"""OwnerReferencesPermissionEnforcement, and what a second round of mutation finds."""

from typing import Any

import pytest

from sampan.api.user import User
from sampan.apiserver.admission.chain import Attributes, Chain, Plugin
from sampan.apiserver.admission.order import chain
from sampan.apiserver.authorization import attributes as authorization
from tests.conftest import Local
from tests.unit.test_admission_pods import PODS, pod

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


async def test_owners_are_given_by_those_with_the_right(api: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    class Some:
        refused: set[tuple[str, str, str]] = set()

        def authorize(self, user: User, asked: authorization.Attributes) -> authorization.Decision:
            return authorization.Decision((asked.verb, asked.resource, asked.subresource) not in self.refused)

    rights = Some()
    monkeypatch.setattr(api.server.api, "authorizer", rights)
    api.server.api.admission = chain(["OwnerReferencesPermissionEnforcement"])

    def owned(name: str, **more: Any) -> dict[str, Any]:
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u", **more}
        return {"metadata": {"name": name, "ownerReferences": [owner]}}

    assert (await api("POST", CONFIG_MAPS, owned("a", blockOwnerDeletion=True)))[0] == 201
    rights.refused = {("update", "deployments", "finalizers")}
    assert (await api("POST", CONFIG_MAPS, owned("b")))[0] == 201
    code, refused = await api("POST", CONFIG_MAPS, owned("c", blockOwnerDeletion=True))
    why = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>"
    assert (code, refused["message"]) == (403, f'configmaps "c" is forbidden: {why}')
    code, refused = await api("POST", CONFIG_MAPS, owned("c", kind="Nothing", blockOwnerDeletion=True))
    assert code == 403 and "cannot find RESTMapping for APIVersion apps/v1 Kind Nothing" in refused["message"]
    rights.refused = {("delete", "configmaps", "")}
    code, refused = await api("POST", CONFIG_MAPS, owned("c"))
    assert code == 403 and "cannot set an ownerRef on a resource you can't delete" in refused["message"]
    assert (await api("POST", CONFIG_MAPS, {"metadata": {"name": "free"}}))[0] == 201


async def test_a_second_round_changes_nothing_more(api: Local) -> None:
    class Again(Plugin):
        resources = frozenset({("", "pods")})
        operations = frozenset({"CREATE"})

        def __init__(self) -> None:
            self.seen: list[Any] = []

        async def mutate(self, attributes: Attributes) -> None:
            import copy

            self.seen.append(copy.deepcopy(attributes.obj))
            attributes.again = True

    again = Again()
    api.server.api.admission = Chain([*chain().plugins, again])
    limits = [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}]
    await api("POST", "/api/v1/namespaces/default/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": limits}})
    runtime = {"metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"cpu": "1"}}}
    await api("POST", "/apis/node.k8s.io/v1/runtimeclasses", runtime)
    code, made = await api("POST", PODS, pod(runtimeClassName="vm"))
    assert code == 201, made
    first, second = again.seen
    assert first == second
