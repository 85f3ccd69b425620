"""A full kopf operator: its own kind, status, finalizers, timers, and admission webhooks that kopf itself serves.

Its webhook server has a certificate of a CA made for it (kopf's own way needs a library that does not know today's
OpenSSL).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.cluster import certificates
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]
GROUP, VERSION, PLURAL = "boats.example.com", "v1", "boats"
WEBHOOKS = "boats.example.com"

OPERATOR = """
import kopf

@kopf.on.startup()
def configure(settings, **_):
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1", host="127.0.0.1", cafile="{pki}/ca.crt", certfile="{pki}/apiserver.crt", pkeyfile="{pki}/apiserver.key"
    )
    settings.admission.managed = "{webhooks}"
    settings.posting.enabled = False
    settings.persistence.finalizer = "boats.example.com/moored"

@kopf.on.validate("boats")
def no_negative_crew(spec, warnings, **_):
    if spec.get("crew", 0) > 90:
        warnings.append("that is a large crew")
    if spec.get("crew", 0) > 100:
        raise kopf.AdmissionError("too many for a sampan", code=422)

@kopf.on.mutate("boats")
def default_flag(spec, patch, **_):
    if "flag" not in spec:
        patch.spec["flag"] = "white"

@kopf.on.create("boats")
def launched(spec, **_):
    return {{"planks": 3, "flag": spec["flag"]}}

@kopf.on.update("boats", field="spec.crew")
def crewed(new, patch, **_):
    patch.status["crew"] = new

@kopf.timer("boats", interval=0.5)
def sail(status, patch, **_):
    patch.status["miles"] = status.get("miles", 0) + 1

@kopf.on.delete("boats")
def sunk(name, **_):
    return None
"""

DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": PLURAL, "singular": "boat", "kind": "Boat"},
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"crew": {"type": "integer"}, "flag": {"type": "string"}},
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture
def api(up: Up) -> Iterator[Any]:
    from kubernetes import client, config

    connect: Any = config.new_client_from_config
    with connect(config_file=str(up.kubeconfig)) as made:
        yield made
        extensions: Any = client.ApiextensionsV1Api(made)
        extensions.delete_custom_resource_definition(DEFINITION["metadata"]["name"])
        admission: Any = client.AdmissionregistrationV1Api(made)
        for kind in ("validating", "mutating"):
            getattr(admission, f"delete_collection_{kind}_webhook_configuration")()


def eventually(check: Callable[[], Any], listing: Any, *where: str) -> Any:
    """What `check` gives once it gives something, asked whenever something of the list has changed."""
    from kubernetes import watch

    made: Any = watch
    for _ in made.Watch().stream(listing, *where, timeout_seconds=60):
        if found := check():
            return found
    raise AssertionError("it did not come to pass")


def test_a_full_operator(up: Up, api: Any, tmp_path: Path) -> None:
    from kubernetes import client

    extensions: Any = client.ApiextensionsV1Api(api)
    extensions.create_custom_resource_definition(DEFINITION)
    pki = certificates.ensure(tmp_path / "pki", [])
    (tmp_path / "boats.py").write_text(OPERATOR.format(pki=pki.directory, webhooks=WEBHOOKS))
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace", "default", "boats.py"]
    with (tmp_path / "log").open("wb") as log:
        operator = subprocess.Popen(command, cwd=tmp_path, env=up.env, stdout=log, stderr=log)
        try:
            sail(api)
        except BaseException:
            print((tmp_path / "log").read_text()[-4000:])
            raise
        finally:
            operator.terminate()
            operator.wait(30)


def sail(api: Any) -> None:
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException

    custom: Any = client.CustomObjectsApi(api)
    admission: Any = client.AdmissionregistrationV1Api(api)
    where = (GROUP, VERSION, "default", PLURAL)

    boats = (custom.list_namespaced_custom_object, *where)

    def boat() -> Any:
        try:
            return custom.get_namespaced_custom_object(*where, "one")
        except ApiException as error:
            return {} if error.status == 404 else error

    for listed in (admission.list_validating_webhook_configuration, admission.list_mutating_webhook_configuration):
        eventually(lambda listed=listed: any(item.webhooks for item in listed().items), listed)  # type: ignore[misc]
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Boat", "metadata": {"name": "one"}, "spec": {"crew": 101}}
    with pytest.raises(ApiException) as refused:
        custom.create_namespaced_custom_object(*where, body)
    assert refused.value.status == 422
    assert "denied the request: too many for a sampan" in str(refused.value.body)

    made, _, headers = custom.create_namespaced_custom_object_with_http_info(*where, {**body, "spec": {"crew": 95}})
    assert made["spec"] == {"crew": 95, "flag": "white"}, "mutated by the webhook"
    assert "that is a large crew" in headers["Warning"]

    launched = eventually(lambda: (found := boat()).get("status", {}).get("launched") and found, *boats)
    assert launched["status"]["launched"] == {"planks": 3, "flag": "white"}
    assert launched["metadata"]["finalizers"] == ["boats.example.com/moored"]
    eventually(lambda: boat()["status"].get("miles", 0) >= 2, *boats)
    custom.patch_namespaced_custom_object(*where, "one", {"spec": {"crew": 5}})
    eventually(lambda: boat()["status"].get("crew") == 5, *boats)
    custom.delete_namespaced_custom_object(*where, "one")
    eventually(lambda: boat() == {}, *boats)
