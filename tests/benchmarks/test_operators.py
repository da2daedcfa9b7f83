"""The comparison of operators: it reads runs up to the same evaluations and goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.operators import (
    MIXES,
    Mix,
    evolve,
    map_rows,
    mix_of,
    operator_rows,
    outcome,
    page,
    ratio_rows,
    seed_rows,
)
from elm_rl.evolution.seeds import SEED_NAMES
from elm_rl.runs.run_directory import read_json


def test_mixes_by_name_and_by_their_operators() -> None:
    assert mix_of("gp") == MIXES["gp"]
    assert mix_of("rounds-2").rounds == 2
    assert mix_of("gp+model:a/b,name=c") == Mix(("gp", "model:a/b,name=c"))


def test_runs_are_compared_at_equal_evaluations_and_resumed(tmp_path: Path) -> None:
    mix = Mix(("gp", "gp,name=other"))
    evolve(tmp_path / "run", mix, evaluations=300, seed=1, n_jobs=1)
    summary = read_json(tmp_path / "run" / "summary.json")
    assert 300 <= summary["evaluations"] < 300 + 256
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    evolve(tmp_path / "run", mix, evaluations=300, seed=1, n_jobs=1)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    early, whole = outcome(tmp_path / "run", 200), outcome(tmp_path / "run", 300)
    assert early.curve[-1, 0] < whole.curve[-1, 0]
    assert whole.curve[-1, 2] == summary["qd_score"]
    assert {name: counts["admitted"] for name, counts in whole.counts.items()} == {
        name: figures["admitted"] for name, figures in summary["operators"].items()
    }
    found = {"mix": [whole, whole], "gp": [early, early]}
    assert map_rows(found)[0][1] == f"{summary['qd_score']:.0f} [{summary['qd_score']:.0f}, {summary['qd_score']:.0f}]"
    assert [row[1] for row in operator_rows(found)] == ["gp", "other"] * 2
    ratio = whole.curve[-1, 2] / early.curve[-1, 2]
    row = ratio_rows(found, ["gp"])[0]
    assert str(row[1]).startswith(f"{ratio:.2f} [")
    assert row[2] == "2 of 2"
    assert sum(whole.maps[name] for name in SEED_NAMES) == pytest.approx(whole.maps["all four"])
    assert max(whole.maps[name] for name in SEED_NAMES) <= summary["qd_score"] <= whole.maps["all four"]
    assert [row[0] for row in seed_rows(found, "gp")] == ["mix", "gp"]
    assert str(seed_rows(found, "gp")[0][-1]).startswith(f"{whole.maps['all four'] / early.maps['all four']:.2f} [")
    assert "| square | radial |" in page(found, 300, [1, 2])
