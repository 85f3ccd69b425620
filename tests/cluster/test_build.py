"""Images built straight into a cluster, and run there."""

from __future__ import annotations

import json
import tarfile

import pytest

from tests.cluster.conftest import Typed

pytestmark = [pytest.mark.clients, pytest.mark.slow]
DOCKERFILE = """
ARG BASE=busybox:1.36
FROM $BASE AS made
ARG WHO=nobody
RUN echo "made for $WHO" > /tmp/made && rm /etc/group
WORKDIR /src
COPY . .
FROM busybox:1.36
ENV GREETING="hello there"
WORKDIR /srv/app
COPY --from=made /tmp/made /src/kept.txt ./
COPY --chown=app:app --chmod=600 kept.txt /home/app/own.txt
RUN <<EOF
echo $GREETING > said
rm -r /www
EOF
USER app
CMD ["sh", "-c", "cat said made; id -u; ls /src /www; stat -c %a:%u /home/app/own.txt; sleep 1000"]
"""


def test_a_dockerfile_becomes_a_running_pod(two: Typed) -> None:
    app = two.home / "app"
    app.mkdir()
    (app / "Dockerfile").write_text(DOCKERFILE)
    (app / ".dockerignore").write_text("secret*\n")
    (app / "kept.txt").write_text("kept\n")
    (app / "secret.txt").write_text("secret\n")
    build = ("image", "build", "--name", "two", "-t", "shop/web:v1", "--build-arg", "WHO=you", str(app))
    said = two.sampan(*build)
    assert "Step 1/13 : FROM busybox:1.36 AS made" in said
    assert "loaded into two-control-plane, two-worker" in said
    # the same again is the same image, from the cache
    first, second = (json.loads(two.sampan(*build, "-o", "json")) for _ in range(2))
    assert first["id"] == second["id"] and two.sampan(*build).count("Using cache") == 7
    two.kubectl("run", "built", "--image=shop/web:v1")
    two.kubectl("wait", "--for=condition=Ready", "pod/built", "--timeout=60s")
    logs = two.kubectl("logs", "built").splitlines()
    assert logs[:3] == ["hello there", "made for you", "1234"] and "600:1234" in logs
    assert sum("No such file" in line for line in logs) == 2
    two.kubectl("delete", "pod", "built", "--now")
    # what nodes have, a file of it, and its end
    assert "docker.io/shop/web:v1" in two.sampan("image", "ls", "--name", "two")
    two.sampan("image", "save", "shop/web:v1", "-o", str(app / "web.tar"), "--name", "two")
    with tarfile.open(app / "web.tar") as tar:
        assert json.loads(tar.extractfile("manifest.json").read())[0]["RepoTags"] == ["shop/web:v1"]  # type: ignore[union-attr]
    two.sampan("image", "rm", "shop/web:v1", "--name", "two")
    assert "no such image" in two.sampan("image", "rm", "shop/web:v1", "--name", "two", fails=True)


def test_a_step_that_fails(two: Typed) -> None:
    app = two.home / "broken"
    app.mkdir()
    (app / "Dockerfile").write_text("FROM busybox:1.36\nRUN echo begun; exit 3\n")
    said = two.sampan("image", "build", "--name", "two", str(app), fails=True)
    assert "begun" in said and "returned a non-zero code: 3" in said and "Traceback" not in said
    said = two.sampan("image", "build", "--name", "two", "-t", "Web:v1", str(app), fails=True)
    assert said.startswith("Error: invalid name of an image 'Web:v1'") and "Dockerfile" not in said
