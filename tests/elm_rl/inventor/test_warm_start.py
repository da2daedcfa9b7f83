from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elm_rl.corpus.corpus import CorpusConfig, run_corpus
from elm_rl.errors import ConfigError, ElmError
from elm_rl.inventor.warm_start import (
    WarmStartConfig,
    best_programs,
    examples_for,
    run_warm_start,
    score_programs,
)
from elm_rl.models.conditioning import condition
from elm_rl.models.language_model import load_language_model, load_policy, make_model
from elm_rl.models.sampling import sample_completions
from elm_rl.models.supervised_training import TrainConfig, train_causal_lm
from elm_rl.models.tokenizer import decode_program, encode_text, train_tokenizer, unsampleable_ids
from sodarace_gym.evaluation import Evaluation, EvaluationError, Evaluator

TERRAINS = ("LeftWall", "RightWall")


def walker(joint: int, amplitude: float, mirrored: bool = False) -> str:
    """A small crawler; ``joint`` numbers make the texts differ, mirroring turns its direction round."""
    side = "-" if mirrored else ""
    return (
        "def make_walker():\n"
        "    wc = walker_creator()\n"
        f"    a = wc.add_joint({side}0, 0)\n"
        f"    b = wc.add_joint({side}4, 0)\n"
        f"    c = wc.add_joint({side}1, {joint})\n"
        "    wc.add_muscle(a, b)\n"
        f"    wc.add_muscle(b, c, False, {amplitude}, 0.0)\n"
        f"    wc.add_muscle(c, a, False, {amplitude}, 2.0)\n"
        "    return wc.get_walker()\n"
    )


PROGRAMS = [walker(j, a, m) for j in (2, 3, 4) for a in (0.3, 0.6, 0.9) for m in (False, True)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a corpus of 18 crawlers and a language model of it."""
    folder = tmp_path_factory.mktemp("run")
    evolution = folder / "evolution"
    evolution.mkdir()
    lines = [
        {
            "id": number,
            "archive": "square",
            "iteration": number,
            "program": program,
            "parent": None if number == 0 else 0,
            "operator": "gp",
            "message": "",
            "diff": None,
            "fitness": 1.0 + number,
            "height": 3.0,
            "width": 4.0,
            "mass": 9.0,
            "niche": number,
            "root": number,
        }
        for number, program in enumerate(PROGRAMS)
    ]
    (evolution / "admitted.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    run_corpus(CorpusConfig(evolution=(evolution,), out=folder / "corpus", held_out_percent=0))
    tokenizer = train_tokenizer(PROGRAMS, 400, context=64)
    model = make_model("0.1M", tokenizer, context=64)
    examples = [([1], [*encode_text(tokenizer, program), 2]) for program in PROGRAMS]
    settings = TrainConfig(max_steps=60, batch_size=18, learning_rate=2e-2)
    train_causal_lm(model, tokenizer, examples, folder / "language_model", settings)
    return folder


def config_of(run: Path, out: Path, **changes: Any) -> WarmStartConfig:
    settings: dict[str, Any] = {
        "corpus": run / "corpus",
        "language_model": run / "language_model",
        "out": out,
        "terrains": TERRAINS,
        "top_percent": 15.0,
        "max_steps": 60,
        "learning_rate": 1e-2,
        "duration": 3.0,
        "n_jobs": 1,
        "progress": False,
    }
    return WarmStartConfig(**settings | changes)


def test_the_policy_learns_to_write_the_best_programs_of_each_terrain(run: Path, tmp_path: Path) -> None:
    result = run_warm_start(config_of(run, tmp_path / "new"))
    with Evaluator(n_jobs=1, duration=3.0) as evaluator:
        fitness = {name: [e.fitness for e in evaluator.evaluate(PROGRAMS, name)] for name in TERRAINS}
    policy, tokenizer = load_policy(tmp_path / "new", TERRAINS)
    for name in TERRAINS:
        scores = result.scores[name]
        best = [p for p, distance in zip(PROGRAMS, fitness[name], strict=True) if distance >= scores.threshold]
        assert (scores.chosen, scores.valid) == (3, 1.0)
        assert scores.best == max(fitness[name])
        assert scores.mean == pytest.approx(np.mean(fitness[name]))
        assert scores.threshold == sorted(fitness[name])[-3]
        ids = sample_completions(policy, tokenizer, [[*policy.prompt_ids(name), 1]] * 20, max_new_tokens=60)
        programs = [decode_program(tokenizer, completion) for completion in ids]
        assert sum(program in best for program in programs) >= 15


def test_different_best_programs_make_a_conditional_policy(run: Path, tmp_path: Path) -> None:
    language_model, tokenizer = load_language_model(run / "language_model")
    policy = condition(language_model, TERRAINS, unsampleable=unsampleable_ids(tokenizer))
    wanted = {"LeftWall": [PROGRAMS[4], PROGRAMS[9]], "RightWall": [PROGRAMS[13]]}
    examples = [e for name, best in wanted.items() for e in examples_for(policy, tokenizer, name, best, 5)]
    assert [completion for _, completion in examples] == [
        [*encode_text(tokenizer, PROGRAMS[i]), tokenizer.eos_token_id] for i in (4, 9, 4, 9, 4, *[13] * 5)
    ]
    train_causal_lm(policy, tokenizer, examples, tmp_path, TrainConfig(max_steps=80, learning_rate=2e-2, batch_size=10))
    for name, other in (("LeftWall", "RightWall"), ("RightWall", "LeftWall")):
        ids = sample_completions(policy, tokenizer, [[*policy.prompt_ids(name), 1]] * 20, max_new_tokens=60)
        programs = [decode_program(tokenizer, completion) for completion in ids]
        assert sum(program in wanted[name] for program in programs) >= 12
        assert sum(program in wanted[other] for program in programs) <= 2


def test_a_finished_run_is_reused_and_one_with_other_settings_is_not(run: Path, tmp_path: Path) -> None:
    first = run_warm_start(config_of(run, tmp_path, max_steps=2))
    modified = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert run_warm_start(config_of(run, tmp_path, max_steps=2)) == first
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == modified
    with pytest.raises(ElmError, match=r"top_percent = 15.0, not 50.0"):
        run_warm_start(config_of(run, tmp_path, max_steps=2, top_percent=50.0))


def test_only_so_many_programs_are_rolled_out(run: Path, tmp_path: Path) -> None:
    result = run_warm_start(config_of(run, tmp_path, programs=4, max_steps=1))
    assert result.programs == 4
    assert [scores.chosen for scores in result.scores.values()] == [1, 1]


def test_settings_out_of_range_are_named(tmp_path: Path) -> None:
    for changes, message in (
        ({"terrains": ()}, "one or more names"),
        ({"terrains": ("Moon",)}, "no terrain 'Moon'"),
        ({"programs": 0}, "programs 0"),
        ({"top_percent": 0.0}, "top_percent is 0.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            config_of(tmp_path, tmp_path, **changes)
    with pytest.raises(ElmError, match="does not exist"):
        run_warm_start(config_of(tmp_path, tmp_path / "out"))


class Table:
    """Scores programs by a table of distances per terrain; what is not in it is invalid."""

    def __init__(self, distances: Mapping[str, Mapping[str, float]]) -> None:
        self.distances = distances

    def evaluate(self, programs: Sequence[str], terrain: Sequence[str]) -> list[Evaluation]:
        return [
            Evaluation(fitness=self.distances[name][program])
            if program in self.distances[name]
            else Evaluation(error=EvaluationError("unstable", "It exploded."))
            for program, name in zip(programs, terrain, strict=True)
        ]


def test_scores_are_sorted_by_terrain_across_batches() -> None:
    programs = [str(number) for number in range(250)]
    table = Table({"A": {p: float(p) for p in programs}, "B": {p: 2.0 * float(p) for p in programs[:-1]}})
    fitness, valid = score_programs(programs, ["A", "B"], table)
    assert fitness[0].tolist() == list(range(250))
    assert fitness[1].tolist() == [*range(0, 498, 2), 0.0]
    assert valid.sum(axis=1).tolist() == [250, 249]


def test_the_best_programs_are_valid_and_move() -> None:
    fitness = np.array([3.0, 9.0, 0.0, 5.0, 5.0, 7.0])
    valid = np.array([True, False, True, True, True, True])
    assert best_programs(fitness, valid, 50.0) == [5, 3, 4]
    assert best_programs(fitness, valid, 100.0) == [5, 3, 4, 0]
    assert best_programs(fitness, valid, 0.1) == [5]
    assert best_programs(np.zeros(6), valid, 50.0) == []
