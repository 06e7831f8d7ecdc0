"""What needs no features to be computed runs where there is no PyTorch; what needs them says so in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_workflows import with_lora

from copyscope_core.store.runs import STATE_VARIABLE
from tests.evidence.scored import make_scored

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = "import sys\nsys.modules.update(torch=None, torchvision=None, transformers=None)\n"
COMMAND = BLOCKED + "from copyscope_core.cli.main import main\nmain()"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A scored folder with features of mean colours, a table of values and a workflow."""
    root = tmp_path_factory.mktemp("scored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(root / "state"))
        shutil.copytree(make_scored(root), root / "other")
        rows = [{"members": members, "value": len(members)} for members in ([], ["a"], ["b"], ["a", "b"])]
        table = {"players": ["a", "b"], "coalitions": rows}
        (root / "table.json").write_text(json.dumps(table), encoding="utf-8")
        (root / "workflow.json").write_text(json.dumps(with_lora()), encoding="utf-8")
        yield root


def python(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A Python that has no PyTorch."""
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=ROOT, check=False)


@pytest.mark.parametrize(
    "words",
    [
        "shapley {0}/table.json --json",
        "verify {0}/out --images {0}/images --no-features",
        "compare {0}/out {0}/other",
        "bundle {0}/out --to {0}/out.zip",
        "plan {0}/workflow.json",
        "runs list",
        "--help",
    ],
)
def test_runs(scored: Path, words: str) -> None:
    result = python(COMMAND, *words.format(scored).split())
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "words",
    ["verify {0}/out", "fid {0}/images/none {0}/reference", "score {0}/images --reference {0}/reference --out {0}/new"],
)
def test_says_what_to_install(scored: Path, words: str) -> None:
    result = python(COMMAND, *words.format(scored).split())
    assert result.returncode == 2
    assert (
        "computed with torch and torchvision, not installed here; run: pip install 'copyscope[torch]'" in result.stderr
    )
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_library_takes_features_and_tables(scored: Path) -> None:
    code = f"""{BLOCKED}
import numpy as np
import copyscope_core as cs
from pathlib import Path
class Own:
    id, dimension = "own", 3
    def __call__(self, images):
        return np.stack([image.mean(axis=(0, 1)) for image in images]).astype(np.float32)
root = Path({str(scored)!r})
report = cs.Report.load(root / "out")
assert len(report.coalitions) == 4
rows = np.random.default_rng(0).random((2, 9, 5))
assert cs.frechet_distance(*rows).distance > 0 and cs.kernel_distance(*rows) is not None
assert cs.shapley(["a"], [0.0, 1.0]).values == {{"a": 1.0}}
own = cs.score(root / "images", root / "reference", root / "own", features=Own(), control=False)
assert own.preprocessing == "own"
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
