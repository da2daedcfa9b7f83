"""The maps that are judged are those of the run, the judge is another than the run's objective, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import robust_maps, robustness
from benchmarks.convergence import distance
from benchmarks.robust_maps import Elites, Judge, Progress, Verdict, kept, progress_of, read_log, scores, within
from benchmarks.robustness import AT_EVALUATIONS, AT_TIME, Outcome
from elm_rl.runs.run_directory import METRICS_FILE, SUMMARY_FILE, read_json, read_jsonl
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.programs.program import compile_program
from sodarace_gym.terrains.making import make_terrain

ITERATIONS, COPIES = 4, 2


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[int, list[Outcome]]]]:
    """Small runs with the plain and a robust objective, two seeds."""
    out = tmp_path_factory.mktemp("robustness")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "BATCH", 12)
        yield out, robustness.measure(out, [0, 2], ITERATIONS, 2, COPIES, n_jobs=1)


def test_maps_read_from_the_log_are_those_of_the_run_after_every_iteration(measured: Any) -> None:
    run = measured[0] / "seed0_robustness2"
    records = read_log(run)
    for line in read_jsonl(run / METRICS_FILE):
        elites = Elites(records, line["iteration"]).best_of_archives()
        assert len(elites) == line["niches"]
        assert sum(record["fitness"] for record in elites) == pytest.approx(line["qd_score"], rel=1e-12)


def test_plain_distances_are_those_the_plain_run_logged(measured: Any) -> None:
    run, outcome = measured[0] / "seed0_robustness0", measured[1][0][0]
    records = read_log(run)
    verdicts = Judge(run, make_terrain("Flat"), COPIES).verdicts
    by_id = {record["id"]: record["fitness"] for record in records}
    assert len(verdicts) > 10
    assert {identity: verdict.plain for identity, verdict in verdicts.items()} == {i: by_id[i] for i in verdicts}
    summary = read_json(run / SUMMARY_FILE)
    for equal in (AT_EVALUATIONS, AT_TIME):
        assert outcome.maps[equal][-1]["plain"] == pytest.approx(summary["qd_score"], rel=1e-12)
        assert outcome.maps[equal][-1]["best plain"] == summary["best"]


def test_the_robust_objective_is_the_evaluators_and_the_judge_has_copies_of_its_own(measured: Any) -> None:
    run = measured[0] / "seed0_robustness2"
    verdicts = Judge(run, make_terrain("Flat"), COPIES).verdicts
    records = [record for record in read_log(run) if record["id"] in verdicts]
    with Evaluator(n_jobs=1, robustness=2) as evaluator:
        found = evaluator.evaluate([record["program"] for record in records], "Flat")
    assert [record["fitness"] for record in records] == [evaluation.robust_fitness for evaluation in found]
    assert any(evaluation.robust_fitness != evaluation.fitness for evaluation in found)
    walking = [(r["fitness"], verdicts[r["id"]]) for r in records if 0.0 < r["fitness"] < verdicts[r["id"]].plain]
    assert walking
    assert not any(fitness in verdict.copies for fitness, verdict in walking), "no copy that the run has seen"


def test_finer_steps_are_those_of_the_convergence_table(measured: Any) -> None:
    run = measured[0] / "seed1_robustness0"
    elites = Elites(read_log(run), ITERATIONS).by_niche.values()
    verdicts = Judge(run, make_terrain("Flat"), COPIES).verdicts
    for record in list(elites)[::7]:
        expected = distance(compile_program(record["program"])[0], make_terrain("Flat"), "half the step")
        assert verdicts[record["id"]].finer[0] == np.nan_to_num(expected)
        assert len(verdicts[record["id"]].finer) == len(robust_maps.FINE_RATES)


def test_the_same_command_does_nothing_twice(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out, found = measured
    text = robustness.page(found, ITERATIONS, COPIES)

    def walks(*arguments: Any) -> None:
        raise AssertionError("a walker that was judged before")

    monkeypatch.setattr(Judge, "_walk", walks)
    monkeypatch.setattr(Evaluator, "evaluate", walks)
    assert robustness.page(robustness.measure(out, [0, 2], ITERATIONS, 2, COPIES, n_jobs=1), ITERATIONS, COPIES) == text
    (out / "plot").mkdir()
    robustness.draw(out / "plot" / "robustness.png", found)
    assert (out / "plot" / "robustness.png").stat().st_size > 10_000


def test_what_the_judge_found_before_it_was_stopped_is_kept(measured: Any, tmp_path: Path) -> None:
    records = read_log(measured[0] / "seed0_robustness0")[:5]
    first = Judge(tmp_path, make_terrain("Flat"), COPIES)
    before = first.judge(records[:3])
    assert not before[0].finer
    second = Judge(tmp_path, make_terrain("Flat"), COPIES)
    assert second.judge(records)[:3] == before
    with_finer = second.judge(records[:1], finer=True)[0]
    assert with_finer[:2] == before[0][:2]
    assert len(with_finer.finer) == 2
    assert Judge(tmp_path, make_terrain("Flat"), COPIES).verdicts == second.verdicts


def test_equal_time_is_the_last_iteration_that_had_ended(measured: Any) -> None:
    progress = [Progress(0, 4, 0.0), Progress(1, 16, 2.0), Progress(2, 28, 3.5)]
    assert [within(progress, seconds).iteration for seconds in (0.0, 1.9, 2.0, 3.4, 99.0)] == [0, 0, 1, 1, 2]
    plain = progress_of(measured[0] / "seed0_robustness0")
    assert within(plain, plain[-1].seconds) == plain[-1]


def test_shares_of_the_distance_and_scores_by_hand() -> None:
    verdicts = [Verdict(10.0, [10.0, 4.0], [5.0, 20.0]), Verdict(1.0, [9.0, 9.0], [9.0, 9.0])]
    shares = kept(verdicts, least=2.0)
    assert {name: values.tolist() for name, values in shares.items()} == {
        "joints moved": [1.0, 0.4], "120 Hz": [0.5], "480 Hz": [2.0],
    }  # fmt: skip
    assert scores(verdicts) == {
        "niches": 2.0, "plain": 11.0, "mean": 16.0, "least": 13.0, "best plain": 10.0, "best mean": 9.0,
    }  # fmt: skip


def outcome(**qd: float) -> Outcome:
    """A run that came to these QD scores, at equal evaluations and at equal time."""
    figures = {"niches": 1.0, "best plain": 1.0, "best mean": 1.0, **qd}
    done = [Progress(1, 10, 1.0)]
    shares = dict.fromkeys(("joints moved", "120 Hz", "480 Hz"), np.array([1.0]))
    return Outcome(
        {AT_EVALUATIONS: done, AT_TIME: done},
        {AT_EVALUATIONS: [figures], AT_TIME: [figures]},
        {"square": shares, robustness.ALL: shares},
        {"square": 1.0, robustness.ALL: 1.0},
    )


def test_the_reading_names_the_objective_with_the_best_map_and_what_it_gives_up() -> None:
    plain = [outcome(plain=100.0, mean=50.0, least=20.0), outcome(plain=100.0, mean=50.0, least=20.0)]
    robust = [outcome(plain=80.0, mean=75.0, least=10.0), outcome(plain=80.0, mean=45.0, least=10.0)]
    lines = robustness.reading({0: plain, 3: robust}).splitlines()
    assert "'least of 1 + 3' has the highest QD score, 1.20 times" in lines[0]
    assert "in 1 of 2 seeds" in lines[0]
    assert "-20%" in lines[0]
    assert "no robust objective beats" in lines[1]
    assert robustness.ratio_rows({0: plain, 3: robust})[0][0] == "least of 1 + 3"
