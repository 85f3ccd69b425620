"""The machine's registry: pushed to by skopeo and by us, pulled from by pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import Typed
from tests.runtime.registries import free_port

pytestmark = [pytest.mark.clients, pytest.mark.slow]
HOSTING = ("-n", "kube-public", "get", "configmap", "local-registry-hosting")


@pytest.fixture(scope="module")
def host(two: Typed) -> Iterator[str]:
    two.sampan("registry", "up", "--port", str(free_port()))
    yield json.loads(two.sampan("registry", "status", "-o", "json"))["host"]
    two.sampan("registry", "down", "--delete")
    assert not (two.home / "sampan" / "registry").exists()
    assert "NotFound" in two.kubectl(*HOSTING, fails=True)


def run(two: Typed, name: str, image: str) -> str:
    two.kubectl("run", name, f"--image={image}", "--restart=Never", "--image-pull-policy=Always", "--", "echo", "ran")
    two.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")
    said = two.kubectl("logs", name)
    two.kubectl("delete", "pod", name, "--now")
    return said


def test_skopeo_pushes_and_pods_pull(two: Typed, host: str, busybox_archive: Path) -> None:
    image = f"docker://{host}/shop/busybox"
    two(
        "skopeo",
        "--insecure-policy",
        "copy",
        "--dest-tls-verify=false",
        f"docker-archive:{busybox_archive}",
        f"{image}:v1",
    )
    two("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"{image}:v1",
        f"docker://{host}/other/busybox:v2")  # fmt: skip
    assert json.loads(two("skopeo", "list-tags", "--tls-verify=false", image))["Tags"] == ["v1"]
    assert run(two, "pulled", f"{host}/shop/busybox:v1") == "ran\n"
    digest = json.loads(two("skopeo", "inspect", "--tls-verify=false", f"{image}:v1"))["Digest"]
    assert run(two, "by-digest", f"{host}/shop/busybox@{digest}") == "ran\n"
    two("skopeo", "delete", "--tls-verify=false", f"{image}:v1")
    assert "manifest unknown" in two("skopeo", "inspect", "--tls-verify=false", f"{image}:v1", fails=True)
    hosting = json.loads(two.kubectl(*HOSTING, "-o", "json"))
    assert f'host: "{host}"' in hosting["data"]["localRegistryHosting.v1"]


def test_an_image_is_built_pushed_and_pulled(two: Typed, host: str) -> None:
    app = two.home / "pushed"
    app.mkdir()
    (app / "Dockerfile").write_text("FROM busybox:1.36\nRUN echo hello > /hello\n")
    image = f"{host}/web:v1"
    two.sampan("image", "build", "--name", "two", "-t", image, str(app))
    assert "Pushed" in two.sampan("image", "push", image, "--name", "two")
    assert "there already" in two.sampan("image", "push", image, "--name", "two")
    two.sampan("image", "rm", image, "--name", "two")
    assert run(two, "pushed", image) == "ran\n"
    assert "no such image" in two.sampan("image", "push", f"{host}/none:v1", "--name", "two", fails=True)
