"""The whole pipeline, every part real, with next to nothing of everything."""

from __future__ import annotations

import json

import pytest

from elm_rl import pipeline
from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.language_model import load_language_model, load_policy
from elm_rl.pipeline import PipelineConfig, Scale, run_pipeline
from elm_rl.report import ReportConfig, run_report

TINY = Scale(
    evolution_batch=24, iterations=6, round_steps=4, terrain_iterations=2, pretraining_steps=6, walkers=20, per_terrain=4,
    kinds=1, children=8, supervised_steps=3, gradient_updates=1, ppo_updates=1, samples=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def scale():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pipeline.PRESETS, "smoke", TINY)
        yield


def config(out, **changes) -> PipelineConfig:
    return PipelineConfig(**{"out": out, "preset": "smoke", "seeds": ("square",), "progress": False, **changes})


@pytest.fixture(scope="module")
def run(scale, tmp_path_factory):
    out = tmp_path_factory.mktemp("pipeline") / "run"
    return out, run_pipeline(config(out))


def test_the_run_leaves_what_the_readme_says(run):
    out, summary = run
    for name in ("report.md", "summary.json", "config.json", "versions.json", "evolution/admitted.jsonl"):
        assert (out / name).is_file()
    for picture in ("archives", "evolution", "training", "matrices"):
        assert (out / "report" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "summary.json").read_text())["stage1"] == json.loads(json.dumps(summary["stage1"]))
    assert set(summary["stage3"]["generators"]) == {"corpus", "stage2", "supervised", "rank_gradient", "stage3"}
    for figures in summary["stage3"]["generators"].values():
        assert {f["samples"] for f in figures.values()} == {TINY.samples}


def test_the_operator_of_the_round_joins_the_others(run):
    _, summary = run
    first, second = summary["stage1"]["phases"]
    assert list(first["operators"]) == ["gp", "builtin"]
    assert list(second["operators"]) == ["gp", "builtin", "round-1"]
    assert all(figures["proposed"] > 0 for figures in second["operators"].values())


def test_the_models_load_again(run):
    out, _ = run
    model, tokenizer = load_language_model(out / "language_model")
    policy, _ = load_policy(out / "finetuned")
    assert model.config.vocab_size == policy.config.vocab_size == len(tokenizer)
    assert policy.config.terrain_texts == ["LeftWall", "RightWall", "Tunnel"]


def test_the_same_seed_gives_the_same_stage_1_whatever_the_threads(run, scale, tmp_path):
    _, summary = run
    again = run_pipeline(config(tmp_path / "again", n_jobs=1))
    assert again["stage1"] == summary["stage1"]


def test_running_again_with_resume_changes_nothing(run):
    out, summary = run
    admitted = (out / "evolution" / "admitted.jsonl").read_bytes()
    again = run_pipeline(config(out, resume=True))
    assert (out / "evolution" / "admitted.jsonl").read_bytes() == admitted
    for stage in ("stage1", "stage2", "stage3"):
        assert json.dumps(again[stage], default=str) == json.dumps(summary[stage], default=str)


def test_times_of_a_resumed_run_are_added(run):
    out, summary = run
    seconds = json.loads((out / "timing.json").read_text())
    parts = summary["timing"].keys() - {"report"}
    assert all(seconds[part] >= summary["timing"][part] for part in parts)
    assert sum(seconds[part] for part in parts) > 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"terrains": ("LeftWal",)}, "LeftWal"),
        ({"terrains": ("Tunnel", "Tunnel")}, "all different"),
        ({"terrains": ()}, "one or more"),
        (
            {"exclude_archives": ("radial",)},
            "no archive 'radial' to exclude; the archives are square, all, all/LeftWall",
        ),
        ({"seed": -1}, "seed is -1"),
        ({"n_jobs": 0}, "n_jobs is 0"),
    ],
)
def test_settings_of_later_stages_are_checked_first(tmp_path, wrong, message):
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, **wrong)


def test_a_used_folder_is_refused_without_resume(run):
    out, _ = run
    with pytest.raises(ElmError, match="--resume"):
        run_pipeline(config(out))


def test_a_report_can_be_drawn_again(run):
    out, _ = run
    before = (out / "report.md").read_text()
    (out / "report.md").unlink()
    run_report(ReportConfig(run=out))
    assert (out / "report.md").read_text() == before


def test_a_report_of_nothing_says_what_it_needs(tmp_path):
    with pytest.raises(ElmError, match=r"summary\.json"):
        run_report(ReportConfig(run=tmp_path))
