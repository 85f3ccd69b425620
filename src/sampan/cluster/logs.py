"""A cluster's logs in one directory: each process's, and those of pods by node."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sampan.cluster.errors import ClusterError
from sampan.cluster.state import Cluster


def export(cluster: Cluster, directory: Path | None) -> Path:
    """Where they are now. Raises ClusterError."""
    cluster.known()
    try:
        target = directory or Path(tempfile.mkdtemp(prefix=f"sampan-{cluster.name}-"))
        target.mkdir(parents=True, exist_ok=True)
        for log in sorted(cluster.directory.glob("*.log")):
            shutil.copyfile(log, target / log.name)
        for node in sorted(cluster.directory.glob("nodes/*")):
            into = target / node.name
            into.mkdir(exist_ok=True)
            for log in sorted(node.glob("*.log")):
                shutil.copyfile(log, into / log.name)
            if (node / "pods").is_dir():
                shutil.copytree(node / "pods", into / "pods", dirs_exist_ok=True)
    except OSError as error:
        raise ClusterError(f"cannot write logs: {error}", "name another directory") from None
    return target
