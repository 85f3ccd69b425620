"""Control groups as the kernel has them; of version 2 whatever this machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.runtime import cgroups, oci

pytestmark = pytest.mark.slow
LEAVE = """
import subprocess, sys
from pathlib import Path
from sampan.runtime import cgroups
top = Path(sys.argv[1])
subprocess.run(["mount", "-t", "cgroup2", "none", top], check=True)
child = subprocess.Popen(["sleep", "100"])
for _ in range(2):  # the second time there is nothing to leave
    cgroups.leave_root(top)
print([line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")][0])
print(repr((top / "cgroup.procs").read_text()), str(child.pid) in (top / "init/cgroup.procs").read_text())
print(set((top / "cgroup.subtree_control").read_text().split()) == set((top / "cgroup.controllers").read_text().split()))
child.kill()
"""


@pytest.fixture
def group(request: pytest.FixtureRequest) -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("groups are made by root")
    name = f"/sampan-test-{os.getpid()}"
    for point in set(cgroups.mounts().values()):
        (point / name.lstrip("/") / "inner").mkdir(parents=True)
    yield name
    cgroups.kill(name)
    cgroups.remove(name)
    assert not [point for point in cgroups.mounts().values() if (point / name.lstrip("/")).exists()]


def test_in_a_container_the_root_is_left(group: str, tmp_path: Path) -> None:
    if "" not in cgroups.mounts():
        pytest.skip("this machine has no version 2")
    here = cgroups.mounts()[""] / group.lstrip("/")
    join = f'echo $$ > {here}/cgroup.procs; exec unshare --cgroup --mount {sys.executable} -c "$0" {tmp_path}'
    done = subprocess.run(["sh", "-c", join, LEAVE], capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines() == ["0::/init", "'' True", "True"], done
    cgroups.leave_root(cgroups.mounts()[""])  # the machine's own root has none to leave
    assert not (cgroups.mounts()[""] / "init").exists()


def test_what_is_in_a_group_and_how_it_goes(group: str) -> None:
    child = subprocess.Popen(["sleep", "100"])
    point = cgroups.mounts().get("pids") or cgroups.mounts()[""]
    (point / group.lstrip("/") / "inner" / "cgroup.procs").write_text(str(child.pid))
    assert cgroups.processes(f"{group}/inner") == {child.pid} and not cgroups.processes(group)
    assert cgroups.usage(group).processes == 1
    cgroups.remove(group)  # what has processes stays
    assert cgroups.processes(f"{group}/inner") == {child.pid}
    cgroups.kill(f"{group}/inner")
    assert child.wait(10) == -9


def test_runtimes_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """crun is wrapped where it would refuse to work, and by what hides version 2 from nobody else."""
    found = oci.handlers("runc", tmp_path, systemd=False)
    assert found[""] == found["runc"] and found[""].arguments == ()
    assert oci.find("runc", tmp_path, systemd=True).arguments == ("--systemd-cgroup",)
    if "crun" not in found or "" not in cgroups.mounts():
        pytest.skip("crun is not installed, or there is no version 2 to hide")
    monkeypatch.setattr(cgroups, "hybrid", lambda: True)
    wrapped = oci.find("crun", tmp_path, systemd=False)
    before = Path("/proc/self/mountinfo").read_text()
    done = subprocess.run([wrapped.program, "--version"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("crun version")
    assert Path("/proc/self/mountinfo").read_text().count("cgroup2") == before.count("cgroup2")
