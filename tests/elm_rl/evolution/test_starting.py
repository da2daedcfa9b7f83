"""What a run starts from, on which terrains it goes, and what ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.evolution.planting import planted_programs
from elm_rl.evolution.seeds import load_seed
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.runs.run_directory import read_jsonl
from sodarace_gym.terrains.distribution import SPLITS
from tests.elm_rl.evolution.toy_breeding import Toy, ToyEvaluator, anywhere, children_of, evolve


def test_own_seed_programs_and_their_faults(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("# my walker\n" + load_seed("radial"))
    result = evolve(tmp_path / "run", Toy("toy", anywhere), seeds=("square", str(mine)))
    assert list(result.archives) == ["square", "mine"]
    for name, text, sentence in (
        ("absent.py", None, r"'.*absent.py' cannot be read \(No such file"),
        ("bad.py", "def f(:\n", r"'.*bad.py' cannot be used: "),
        ("square.py", load_seed("square"), r"seeds are named \['square', 'square'\]; expected each name once"),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(ElmError, match=sentence):
            evolve(tmp_path / "never", Toy("toy", anywhere), seeds=("square", str(tmp_path / name)))
        assert not (tmp_path / "never").exists()


def test_elites_of_another_run_are_planted_in_the_archives_of_their_seeds(tmp_path: Path) -> None:
    first = evolve(tmp_path / "first", Toy("toy", anywhere), seeds=("square", "radial"))
    second = evolve(
        tmp_path / "second",
        Toy("toy", anywhere),
        seeds=("square", "radial"),
        iterations=0,
        start_from=tmp_path / "first",
    )
    for name in ("square", "radial"):
        before, after = (run.archives[name].data("objective") for run in (first, second))
        np.testing.assert_array_equal(np.sort(before), np.sort(after))
    only = evolve(tmp_path / "third", Toy("toy", anywhere), seeds=(), iterations=1, start_from=tmp_path / "first")
    assert set(only.archives) == {"square", "radial"}
    with pytest.raises(ElmError, match=r"holds no admitted\.jsonl"):
        evolve(tmp_path / "fourth", Toy("toy", anywhere), start_from=tmp_path)
    assert not (tmp_path / "fourth").exists()


def test_all_elites_of_a_sliding_archive_are_planted(tmp_path: Path) -> None:
    sliding = ArchiveSpec(kind="sliding", bins=(6,))
    first = evolve(tmp_path / "first", Toy("toy", anywhere), archive=sliding, iterations=60, batch_size=20)
    planted = planted_programs(EvolveConfig(seeds=(), start_from=tmp_path / "first"))
    kept = [program for archive in first.archives.values() for program in archive.data("solution")]
    assert sorted(program for _, program in planted) == sorted(kept)
    assert len(kept) > 20


@pytest.mark.parametrize("maps", ["seed", "terrain"])
def test_several_terrains_have_archives_of_their_own(tmp_path: Path, maps: Any) -> None:
    evaluator = ToyEvaluator()
    result = evolve(
        tmp_path, Toy("toy", anywhere), seeds=("square", "radial"), terrains=("Flat", "Hills,difficulty=0.2"), maps=maps,
        evaluator=evaluator,
    )  # fmt: skip
    seeds = ["square", "radial"] if maps == "seed" else ["all"]
    assert list(result.archives) == [
        f"{seed}/{ground}" for ground in ("Flat", "Hills,difficulty=0.2") for seed in seeds
    ]
    for record in read_jsonl(tmp_path / "admitted.jsonl"):
        assert record["archive"].endswith(record["terrain"])
    terrains = {line["iteration"]: line["archive"].partition("/")[2] for line in children_of(tmp_path)}
    assert [terrains[number] for number in (1, 2, 3)] == ["Flat", "Hills,difficulty=0.2", "Flat"]
    scored = dict(evaluator.scored)
    assert all(
        scored[line["program"]] == line["archive"].partition("/")[2].partition(",")[0] for line in children_of(tmp_path)
    )


def test_terrains_can_be_drawn_from_the_train_split(tmp_path: Path) -> None:
    def terrains(out: Path, **changes: Any) -> list[str]:
        settings = {
            "terrains": (),
            "random_terrains": 3,
            "maps": "terrain",
            "families": ("Hills", "Pits"),
            "iterations": 1,
        }
        run = evolve(out, Toy("toy", anywhere), **settings | changes)
        return [name.partition("/")[2] for name in run.archives]

    drawn = terrains(tmp_path / "first", seed=1)
    assert len(set(drawn)) == 3
    for text in drawn:
        family, difficulty, seed = text.split(",")
        assert family in ("Hills", "Pits")
        assert 0 <= float(difficulty.partition("=")[2]) <= 0.8
        assert int(seed.partition("=")[2]) in SPLITS["train"]
    assert terrains(tmp_path / "again", seed=1) == drawn
    assert terrains(tmp_path / "other", seed=2) != drawn
    assert terrains(tmp_path / "both", seed=1, terrains=("Flat",)) == ["Flat", *drawn]
    with pytest.raises(ConfigError, match="terrains is"):
        terrains(tmp_path / "none", random_terrains=0)


def test_children_can_be_tried_on_every_terrain(tmp_path: Path) -> None:
    evolve(tmp_path, Toy("toy", anywhere), terrains=("Flat", "Hills"), try_everywhere=True, iterations=4)
    records = list(read_jsonl(tmp_path / "admitted.jsonl"))
    programs = {ground: {r["program"] for r in records if r["terrain"] == ground} for ground in ("Flat", "Hills")}
    assert len(programs["Flat"] & programs["Hills"]) > 20
    fitness = {(record["program"], record["terrain"]): record["fitness"] for record in records}
    for program in programs["Flat"] & programs["Hills"]:
        if "make_walker" not in program:
            assert fitness[program, "Hills"] == pytest.approx(fitness[program, "Flat"] + 1)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ({"max_evaluations": 20}, "25 programs are evaluated"),
        ({"target_best": 8.0}, "the best walker has come"),
        ({"target_qd": 60.0}, "the QD score is"),
        ({"max_seconds": 1e-9}, "seconds have passed"),
    ],
)
def test_runs_stop_at_a_budget_a_target_or_a_time(tmp_path: Path, stop: dict[str, Any], reason: str) -> None:
    result = evolve(tmp_path, Toy("toy", anywhere), iterations=500, **stop)
    assert result.summary["stopped"].startswith(reason) or reason in result.summary["stopped"]
    assert result.summary["iterations"] < 500
    again = evolve(tmp_path, Toy("toy", anywhere), iterations=500, resume=True, **stop)
    assert again.summary["iterations"] == result.summary["iterations"]
