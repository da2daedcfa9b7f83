"""The study of stage 2: what it asks for, and what its figures mean."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks.stage2 import Sizes, correlation, first_half, measure, page, unseen_programs
from elm_rl.corpus.corpus import CorpusConfig, run_corpus
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.stage import run_evolve


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    run_evolve(EvolveConfig(out=out, iterations=3, batch_size=64, duration=1.0, operators=("gp",), progress=False))
    return out


def test_a_half_is_whole_lines() -> None:
    assert first_half("a\nb\nc\nd\ne\n") == "a\nb\n"


def test_correlation_of_what_does_not_vary_is_none() -> None:
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert correlation([1, 2, 3], [5, 5, 5]) == correlation([1], [1]) == 0.0


def test_everything_is_measured_once(run: Path, tmp_path: Path) -> None:
    run_corpus(CorpusConfig(evolution=(run,), out=tmp_path / "corpus", held_out_percent=20))
    originals = unseen_programs(run)
    assert set(originals) == {"wheel", "galloper", "runner"}
    assert all(program.fitness > 0 for program in originals.values())

    def measured() -> dict[str, object]:
        return measure(tmp_path, tmp_path / "corpus", run, "0.1M", 2.0, 0, Sizes(4, 4), 1)

    found = measured()
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert measured() == found
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == files
    assert set(found["completions"]) == set(originals)  # type: ignore[call-overload]

    given = argparse.Namespace(evolution=[run], seconds=2.0, seeds=1)
    text = page({"0.1M": [found]}, {"train": 9, "held_out": 2}, given)
    assert text.count("| 0.1M |") == 4
