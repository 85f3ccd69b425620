"""`sampan up --stages`: the file is looked at before anything begins, and kept in mind."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.cli import components
from sampan.cluster.errors import ClusterError
from sampan.cluster.state import Cluster, Settings
from sampan.cluster.wanted import stages_of

RIGHT = "stages:\n- {name: run, when: pending, status: {phase: Running}}\n"
WRONG = "stages:\n- {name: run, wen: pending}\n"


def test_a_wrong_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"none.yaml: No such file or directory"):
        stages_of(tmp_path / "none.yaml")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(WRONG)
    with pytest.raises(ClusterError, match=r"wrong.yaml:2: stage run: `wen` is not known"):
        stages_of(wrong)


def test_a_right_one_is_kept_in_mind(tmp_path: Path) -> None:
    right = tmp_path / "right.yaml"
    right.write_text(RIGHT)
    cluster = Cluster("c", tmp_path)
    cluster.save(Settings(1, "memory", hollow=3, stages=stages_of(right)))
    known = cluster.settings()
    assert known is not None and known.stages == str(right)


def test_the_process_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)
    for name in ("ca.crt", "ca.key"):
        (tmp_path / name).touch()
    given = ["--server", "https://127.0.0.1:1", "--pki-dir", str(tmp_path), "--stages", str(tmp_path / "wrong.yaml")]
    assert components.main("components", given) == 1
    assert "--stages: " in capsys.readouterr().err
