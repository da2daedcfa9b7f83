"""Figures of samples are what they say, and the terrain matrix tells a conditional model from one that is not."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elm_rl.corpus.corpus import CorpusConfig, run_corpus
from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.judging.sample_quality import (
    SampleConfig,
    draw_programs,
    measure_programs,
    measure_quality,
    quality_of,
    run_sample,
    sample_programs,
    terrain_prefix,
)
from elm_rl.judging.terrain_matrix import is_conditional
from elm_rl.models.conditioning import condition
from elm_rl.models.language_model import make_model, save_language_model
from elm_rl.models.supervised_training import TrainConfig, train_causal_lm
from elm_rl.models.tokenizer import train_tokenizer
from sodarace_gym.evaluation import Evaluation, EvaluationError, Evaluator

SEEDS = [load_seed(name) for name in SEED_NAMES]


def walked(fitness: float, height: float = 5.0, width: float = 5.0, mass: float = 20.0) -> Evaluation:
    return Evaluation(fitness=fitness, displacement=-fitness, height=height, width=width, mass=mass)


def failed(kind: str) -> Evaluation:
    return Evaluation(error=EvaluationError(kind, "it failed"))


def test_figures_of_a_known_set() -> None:
    programs = ["a", "a", "b", "c", "d"]
    evaluations = [walked(2.0), walked(2.0), walked(6.0), walked(3.0, height=20.0), failed("syntax_error")]
    quality = quality_of(programs, evaluations, training={"a", "x"})
    assert (quality.count, quality.valid_percent, quality.distinct_percent) == (5, 80.0, 80.0)
    assert quality.copies_percent == 40.0
    assert (quality.niches, quality.qd_score) == (2, 9.0)  # b replaces a in one niche, c has another
    assert quality.mean_fitness == pytest.approx(13.0 / 5)
    assert (quality.best_fitness, quality.best_program) == (6.0, "b")
    assert quality.errors == {"syntax_error": 1}


def test_a_set_without_a_valid_program_scores_nothing() -> None:
    quality = quality_of(["a", "b"], [failed("time_limit"), failed("time_limit")])
    assert (quality.valid_percent, quality.niches, quality.qd_score, quality.mean_fitness) == (0.0, 0, 0.0, 0.0)
    assert (quality.best_fitness, quality.best_program, quality.copies_percent) == (0.0, None, None)
    assert quality.errors == {"time_limit": 2}


def test_every_program_needs_an_evaluation() -> None:
    with pytest.raises(ValueError, match="0 for 0"):
        quality_of([], [])
    with pytest.raises(ValueError, match="1 for 2"):
        quality_of(["a", "b"], [walked(1.0)])


def test_real_programs_are_measured_by_real_rollouts() -> None:
    with Evaluator(n_jobs=1, duration=1.0) as evaluator:
        quality = measure_programs([*SEEDS, "def make_walker(:"], evaluator)
        fitness = [evaluation.fitness for evaluation in evaluator.evaluate(SEEDS, "Flat")]
    assert quality.errors == {"syntax_error": 1}
    assert quality.best_fitness == max(fitness) > 0
    assert quality.mean_fitness == pytest.approx(math.fsum(fitness) / 5)
    assert 1 < quality.niches <= 4


def test_programs_are_drawn_without_replacement_while_there_are_enough() -> None:
    programs = [str(number) for number in range(20)]
    drawn = draw_programs(programs, 20, seed=1)
    assert sorted(drawn) == sorted(programs)
    assert drawn != programs
    assert drawn == draw_programs(programs, 20, seed=1)
    assert len(draw_programs(programs, 50, seed=1)) == 50


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(SEEDS * 2, 700)


@pytest.fixture(scope="module")
def model_folder(tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows the seed programs nearly by heart."""
    folder = tmp_path_factory.mktemp("model")
    examples = [([1], [*tokenizer.encode(seed), 2]) for seed in SEEDS]
    config = TrainConfig(max_steps=100, batch_size=4, learning_rate=1e-2, weight_decay=0.0)
    train_causal_lm(make_model("0.1M", tokenizer), tokenizer, examples, folder, config)
    return folder


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    record = {"iteration": 0, "operator": "seed", "parent": None, "fitness": 5.0, "height": 1.0, "width": 1.0}
    with open(folder / "admitted.jsonl", "w") as file:
        for number, (name, text) in enumerate(zip(SEED_NAMES, SEEDS, strict=True)):
            line = {
                **record,
                "id": number,
                "program": text,
                "archive": name,
                "mass": 1.0,
                "niche": number,
                "root": number,
            }
            file.write(json.dumps(line) + "\n")
    run_corpus(CorpusConfig(evolution=(folder,), out=folder, held_out_percent=0))
    return folder


def test_samples_of_a_trained_model_against_its_corpus(model_folder: Path, corpus_folder: Path) -> None:
    with Evaluator(n_jobs=1, duration=0.5) as evaluator:
        figures = measure_quality(model_folder, corpus_folder, 24, evaluator, temperature=0.5, seed=1)
        again = measure_quality(model_folder, corpus_folder, 24, evaluator, temperature=0.5, seed=1)
        other = measure_quality(model_folder, corpus_folder, 24, evaluator, temperature=0.5, seed=2)
    assert figures == again != other
    assert figures["corpus"]["valid_percent"] == 100.0
    assert figures["corpus"]["count"] == figures["model"]["count"] == 24
    assert 0 < figures["model"]["copies_percent"] <= figures["model"]["valid_percent"]
    assert figures["model"]["best_fitness"] > 0


def test_sampling_prints_programs(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_sample(SampleConfig(model=str(model_folder), count=2, seed=5, out=tmp_path / "samples.json"))
    printed = capsys.readouterr().out
    assert len(result["programs"]) == 2
    assert all(program.rstrip() in printed for program in result["programs"])
    assert json.loads((tmp_path / "samples.json").read_text())["programs"] == result["programs"]
    assert "model" not in result


def test_sampling_with_measure_prints_a_table(
    model_folder: Path, corpus_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_sample(
        SampleConfig(
            model=str(model_folder),
            count=8,
            measure=True,
            corpus=corpus_folder,
            terrain="Bumpy",
            duration=0.5,
            n_jobs=1,
        )
    )
    rows = {line[:18].strip(): line[18:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["on Bumpy"] == ["model", "corpus"]
    assert rows["count"] == ["8", "8"]
    assert float(rows["valid percent"][0]) == pytest.approx(result["model"]["valid_percent"], rel=1e-3)
    assert rows["valid percent"][1] == "100"


class TerrainReader:
    """Stands in for an evaluator: a program scores where its text names the terrain."""

    def evaluate(self, programs: Sequence[str], terrain: Any) -> list[Evaluation]:
        return [walked(1.0) if terrain in program else failed("wrong_result") for program in programs]


def test_a_conditioned_model_writes_for_the_terrain_it_is_asked_for(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    terrains = ("LeftWall", "Tunnel")
    policy = condition(make_model("0.1M", tokenizer), terrains)
    examples = [([*policy.prompt_ids(name), 1], [*tokenizer.encode(f"for_{name}\n"), 2]) for name in terrains] * 4
    train_causal_lm(policy, tokenizer, examples, tmp_path, TrainConfig(max_steps=60, batch_size=8, learning_rate=1e-2))
    policy.eval()
    programs = {
        name: sample_programs(policy, tokenizer, 6, temperature=0.5, prefix_ids=terrain_prefix(policy, name))
        for name in terrains
    }
    reader = TerrainReader()
    rewards = [
        [np.mean([e.fitness for e in reader.evaluate(written, name)]) for name in terrains]
        for written in programs.values()
    ]
    assert is_conditional(np.array(rewards))
    asked = run_sample(SampleConfig(model=str(tmp_path), terrain="Tunnel", count=6, temperature=0.5))
    assert asked["programs"] == programs["Tunnel"]
    with pytest.raises(ConfigError, match="name one with --terrain: LeftWall, Tunnel"):
        run_sample(SampleConfig(model=str(tmp_path)))
    with pytest.raises(ConfigError, match="Bumpy"):
        run_sample(SampleConfig(model=str(tmp_path), terrain="Bumpy"))
    looking = condition(make_model("0.1M", tokenizer), encoder="profile")
    save_language_model(looking, tokenizer, tmp_path / "looking")
    hills = SampleConfig(model=str(tmp_path / "looking"), terrain="Hills,difficulty=0.3,seed=12", count=1, measure=True)
    assert run_sample(hills)["model"]["count"] == 1


def test_programs_go_on_from_what_they_are_given(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = SEEDS[0][: SEEDS[0].index("\n", len(SEEDS[0]) // 2) + 1]
    (tmp_path / "half.py").write_text(half)
    found = run_sample(SampleConfig(model=str(model_folder), complete=tmp_path / "half.py", count=2, temperature=0))
    assert found["programs"] == [found["programs"][0]] * 2
    assert found["programs"][0].startswith(half)
    assert len(found["programs"][0]) > len(half)
    order = "distance=96,height=12.4,mass=44,width=8"
    found = run_sample(SampleConfig(model=str(model_folder), order=order, count=1))
    assert found["programs"][0].startswith("# height 12, width 8, mass 40, distance 100\n")
    capsys.readouterr()
    with pytest.raises(ElmError, match=r"none\.py' cannot be read"):
        run_sample(SampleConfig(model=str(model_folder), complete=tmp_path / "none.py"))


def test_a_plain_model_is_not_asked_for_a_terrain(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match="not trained to heed a terrain"):
        run_sample(SampleConfig(model=str(model_folder), terrain="Tunnel"))


def test_samples_do_not_depend_on_how_many_there_are(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    model: PreTrainedModel = make_model("0.1M", tokenizer)
    many = sample_programs(model, tokenizer, 9, max_new_tokens=15, batch_size=4)
    assert sample_programs(model, tokenizer, 3, max_new_tokens=15) == many[:3]
    save_language_model(model, tokenizer, tmp_path)
    assert run_sample(SampleConfig(model=str(tmp_path), max_new_tokens=15))["programs"] == many[:3]


@pytest.mark.parametrize(
    "wrong",
    [{"count": 0}, {"temperature": -1.0}, {"temperature": math.inf}, {"top_p": 0.0}, {"terrain": "Moon"},
     {"corpus": Path("corpus")}, {"duration": 0.0}, {"n_jobs": 0}, {"batch_size": 0}, {"max_new_tokens": 0},
     {"order": "height=3"}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SampleConfig(**{"model": "model", **wrong})
