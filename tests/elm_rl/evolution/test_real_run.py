"""A run of the real thing: what it logs is what its programs do, and a seed decides every byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from elm_rl.evolution.map_elites import run_evolution
from elm_rl.evolution.maps import rebuild_archives
from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.evolution.stage import run_evolve
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import COMMIT_MESSAGES
from elm_rl.runs.run_directory import read_json, read_jsonl
from sodarace_gym.evaluation import Evaluator
from tests.elm_rl.evolution.comparing import assert_same_archive, config_of, without_timing

RECORD_KEYS = ["id", "archive", "terrain", "iteration", "program", "parent", "parents", "operator", "message", "diff"]
RECORD_KEYS += ["fitness", "height", "width", "mass", "niche", "root"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the real thing, with two threads. Read only."""
    out = tmp_path_factory.mktemp("real") / "run"
    run_evolve(config_of(out, n_jobs=2))
    return out


def test_every_admitted_program_is_logged_with_its_descent(real: Path) -> None:
    records = list(read_jsonl(real / "admitted.jsonl"))
    assert [list(record) for record in records] == [RECORD_KEYS] * len(records)
    assert [record["id"] for record in records] == list(range(len(records)))
    assert [record["archive"] for record in records[:4]] == list(SEED_NAMES)
    assert [record["program"] for record in records[:4]] == [load_seed(name) for name in SEED_NAMES]
    assert len(records) > 20
    messages = {message for message, _ in COMMIT_MESSAGES}
    for record in records[:4]:
        assert (record["parent"], record["root"], record["iteration"]) == (None, record["id"], 0)
    for record in records[4:]:
        parent = records[record["parent"]]
        assert parent["id"] < record["id"]
        assert parent["archive"] == record["archive"]
        assert parent["iteration"] < record["iteration"] <= 6
        assert record["root"] == (record["id"] if parent["parent"] is None else parent["root"])
        assert record["operator"] == "gp"
        assert record["message"] in messages
        assert record["program"] != parent["program"]
    assert any(records[record["parent"]]["parent"] is not None for record in records[4:]), "no second generation"


def test_records_are_what_their_programs_do(real: Path) -> None:
    records = list(read_jsonl(real / "admitted.jsonl"))[-8:]
    with Evaluator(n_jobs=1, duration=2.0) as evaluator:
        evaluations = evaluator.evaluate([record["program"] for record in records], "Flat")
    for record, evaluation in zip(records, evaluations, strict=True):
        assert [record["fitness"], record["height"], record["width"], record["mass"]] == [
            evaluation.fitness,
            evaluation.height,
            evaluation.width,
            evaluation.mass,
        ]


def test_figures_agree_with_the_log(real: Path) -> None:
    records = list(read_jsonl(real / "admitted.jsonl"))
    summary, metrics = read_json(real / "summary.json"), list(read_jsonl(real / "metrics.jsonl"))
    best: dict[int, float] = {}
    for record in records:
        best[record["niche"]] = max(record["fitness"], best.get(record["niche"], 0.0))
    assert summary["niches"] == len(best)
    assert summary["qd_score"] == pytest.approx(sum(best.values()))
    assert summary["best"] == max(best.values()) > 0.0
    assert summary["all_niches"] == 1728
    assert summary["admitted"] == len(records)
    for name in SEED_NAMES:
        niches = {record["niche"] for record in records if record["archive"] == name}
        assert summary["archives"][name]["niches"] == len(niches)
    gp = summary["operators"]["gp"]
    assert gp["proposed"] == 6 * 16
    assert gp["proposed"] >= gp["applied"] >= gp["valid"] >= gp["new"] >= gp["admitted"] == len(records) - 4
    assert gp["valid"] + sum(summary["errors"].values()) == gp["proposed"]
    assert gp["new_percent"] == pytest.approx(100 * gp["new"] / 96)
    assert [line["iteration"] for line in metrics] == list(range(7))
    for count in ("proposed", "valid", "admitted"):
        assert sum(line["operators"]["gp"][count] for line in metrics[1:]) == gp[count]
    assert (metrics[-1]["niches"], metrics[-1]["qd_score"]) == (summary["niches"], summary["qd_score"])


def test_same_seed_same_bytes_whatever_the_threads(real: Path, tmp_path: Path) -> None:
    run_evolve(config_of(tmp_path / "one", n_jobs=1))
    assert without_timing(tmp_path / "one") == without_timing(real)


def test_run_that_goes_on_is_the_run_that_never_stopped(real: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_evolve(config_of(out, iterations=2, checkpoint_every=5))
    run_evolve(config_of(out, iterations=6, n_jobs=1, resume=True))
    assert without_timing(out) == without_timing(real)


def test_archive_rebuilt_from_the_log_is_pyribs_own_to_the_last_bit(tmp_path: Path) -> None:
    with Evaluator(n_jobs=1, duration=2.0) as evaluator:
        result = run_evolution(config_of(tmp_path / "run", iterations=3), [GPMutation()], evaluator)
    rebuilt = rebuild_archives(list(read_jsonl(tmp_path / "run" / "admitted.jsonl")), SEED_NAMES)
    for name, archive in result.archives.items():
        assert_same_archive(archive, rebuilt[name])
