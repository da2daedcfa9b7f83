"""TRL's GRPO and RLOO on real roll-outs: they improve a policy, and a stopped run ends as one that was not."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from elm_rl.errors import ConfigError
from elm_rl.inventor.group import GroupConfig, run_group
from elm_rl.inventor.rank_reward import RankReward
from elm_rl.models.conditioning import condition
from elm_rl.models.language_model import load_language_model, save_language_model
from elm_rl.models.tokenizer import unsampleable_ids
from tests.elm_rl.inventor.crawlers import make_start


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_start(tmp_path_factory.mktemp("crawlers"))


def config_of(start: Path, out: Path, **changes: Any) -> GroupConfig:
    settings: dict[str, Any] = {
        "start": start, "out": out, "updates": 8, "samples": 12, "longest": 55, "robustness": 1, "duration": 3.0,
        "learning_rate": 2e-3, "kl": 0.005, "evaluate_every": 2, "evaluation_samples": 48, "least_designs": 0.05,
        "n_jobs": 1, "progress": False,
    }  # fmt: skip
    return GroupConfig(**settings | changes)


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_a_policy_gets_better_than_its_start(start: Path, tmp_path: Path, algorithm: Any) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    result = run_group(config_of(start, tmp_path, algorithm=algorithm))
    lines = lines_of(tmp_path)
    assert result.kept.mean > 1.1 * result.start.mean
    assert [line["update"] for line in lines] == list(range(9))
    assert all(np.isfinite([line["loss"], line["kl"]]).all() for line in lines[1:])
    assert result.evaluations == 8 * 24 + 5 * 48
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_a_stopped_run_ends_as_one_that_was_not(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: Any
) -> None:
    whole = run_group(config_of(start, tmp_path / "whole", algorithm=algorithm, updates=4))
    score, calls = RankReward.score, 0

    def stopping(*arguments: Any, **settings: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return score(*arguments, **settings)

    monkeypatch.setattr(RankReward, "score", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_group(config_of(start, tmp_path / "stopped", algorithm=algorithm, updates=4))
    again = run_group(config_of(start, tmp_path / "stopped", algorithm=algorithm, updates=4))
    assert (again.start, again.kept, again.tokens) == (whole.start, whole.kept, whole.tokens)
    assert lines_of(tmp_path / "stopped") == lines_of(tmp_path / "whole")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_reference_knows_terrains_that_the_policy_meets_later(start: Path, tmp_path: Path) -> None:
    model, tokenizer = load_language_model(start.parent / "language_model")
    policy = condition(model, encoder="profile", unsampleable=unsampleable_ids(tokenizer))
    save_language_model(policy, tokenizer, tmp_path / "start")
    run_group(config_of(tmp_path / "start", tmp_path / "out", updates=2, terrains=2, evaluation_terrains=2))
    first, *_ = lines_of(tmp_path / "out")[1:]
    # Its own answers are what it is compared with, so there is nothing between them at the first update but the steps in it.
    assert first["kl"] < 0.5


def test_mistakes_are_explained(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="algorithm is 'dpo'"):
        config_of(start, tmp_path, algorithm="dpo")
    with pytest.raises(ConfigError, match="An update has 2 terrains; expected a multiple of mini_batches, 3"):
        run_group(config_of(start, tmp_path / "out", mini_batches=3))
