"""The built-in image in a container: our Python and package, read-only, from nowhere but here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan.cluster import images
from sampan.cri import pb
from sampan.runtime import builtin, builtin_archive
from tests.runtime.pods import Pods

pytestmark = pytest.mark.slow


async def test_it_runs_us_and_cannot_be_changed(pods: Pods) -> None:
    if pods.home.kind == "containerd":
        pytest.skip("it has a copy: see below")
    pods.image = builtin.name()
    await pods.run()
    shown = (await pods.cri.ImageStatus(image=pb.ImageSpec(image=pods.image))).image
    assert shown.pinned and list(shown.repo_tags) == [pods.image]
    # it is in no registry, and nobody takes it away
    assert (await pods.cri.PullImage(image=pb.ImageSpec(image=pods.image))).image_ref == shown.id
    await pods.cri.RemoveImage(image=pb.ImageSpec(image=shown.id))
    linux = pb.LinuxContainerConfig()
    linux.security_context.capabilities.drop_capabilities.append("ALL")
    linux.security_context.readonly_rootfs = True
    container = await pods.create(pods.sandboxes[0], args=["--help"], linux=linux)
    await pods.cri.StartContainer(container_id=container)
    ended = await pods.ended(container)
    assert ended.exit_code == 0 and "Usage: sampan" in pods.log(ended.log_path)
    script = (
        "import orjson, ssl, sampan, pathlib, sys\n"
        "for place in (pathlib.Path(sampan.__file__).parent, pathlib.Path(sys.prefix), pathlib.Path('/')):\n"
        "    try: (place / 'x').touch(); print('written', place)\n"
        "    except OSError as error: print(error.errno)\n"
    )
    python = (await pods.cri.ImageStatus(image=pb.ImageSpec(image=pods.image), verbose=True)).info["info"]
    entry = json.loads(python)["imageSpec"]["config"]["Entrypoint"][0]
    assert await pods.output(entry, "-c", script, linux=linux) == "30\n30\n30\n"
    assert await pods.output(Path(entry).name, "-c", "print('found')") == "found\n"
    # one that sees the host's packages sees nothing else of the host
    script = (
        "import os, sys; print(os.path.exists('/etc/shadow'), [x for x in os.listdir('/tmp') if x not in sys.prefix])"
    )
    assert await pods.output(entry, "-c", script) == "False []\n"


async def test_other_runtimes_get_a_copy(pods: Pods) -> None:
    if pods.home.kind == "sampan":
        pytest.skip("it needs none: see above")
    archive = pods.home.root / "builtin.tar"
    builtin_archive.write(archive)
    await images.load(str(pods.home.socket), archive)
    pods.image = builtin.name()
    await pods.run()
    linux = pb.LinuxContainerConfig()
    linux.security_context.capabilities.drop_capabilities.append("ALL")
    linux.security_context.readonly_rootfs = True
    container = await pods.create(pods.sandboxes[0], args=["dns", "-plugins"], linux=linux)
    await pods.cri.StartContainer(container_id=container)
    ended = await pods.ended(container)
    assert ended.exit_code == 0 and "dns.kubernetes\n" in pods.log(ended.log_path)
