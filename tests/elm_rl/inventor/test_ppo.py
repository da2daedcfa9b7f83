"""TRL's PPO on real roll-outs, and what is worked around in it on a toy."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from elm_rl.errors import ConfigError, ElmError
from elm_rl.inventor.ppo import FinetuneConfig, run_finetune
from elm_rl.inventor.rank_reward import RankReward
from elm_rl.inventor.trainer import Learner, PPOSettings, TerrainPPOTrainer, UpdateWatcher
from elm_rl.models.conditioning import TerrainPolicy, condition, make_value_model
from elm_rl.models.language_model import load_policy, make_model
from elm_rl.models.tokenizer import train_tokenizer, unsampleable_ids
from tests.elm_rl.inventor.crawlers import make_start

TERRAINS = ("LeftWall", "Tunnel")
TOKENIZER = train_tokenizer(["L", "T"], 260, context=16)
LETTERS = [TOKENIZER.encode(letter, add_special_tokens=False)[0] for letter in "LT"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_start(tmp_path_factory.mktemp("crawlers"))


def config_of(start: Path, out: Path, **changes: Any) -> FinetuneConfig:
    settings: dict[str, Any] = {
        "start": start, "out": out, "updates": 8, "samples": 12, "longest": 60, "robustness": 1, "duration": 3.0,
        "learning_rate": 1e-3, "kl": 0.005, "evaluate_every": 2, "evaluation_samples": 48, "least_designs": 0.05,
        "n_jobs": 1, "progress": False,
    }  # fmt: skip
    return FinetuneConfig(**settings | changes)


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_policy_gets_better_than_its_start_and_the_best_one_is_kept(start: Path, tmp_path: Path) -> None:
    result = run_finetune(config_of(start, tmp_path))
    lines = lines_of(tmp_path)
    looks = {line["update"]: line["validation"]["mean"] for line in lines if "validation" in line}
    assert result.kept.mean > 1.1 * result.start.mean
    assert list(looks) == [0, 2, 4, 6, 8]
    assert result.kept.mean == max(looks.values()) == looks[result.kept.update]
    for line in lines[1:]:
        assert np.isfinite([line["kl"], line["entropy"], line["loss"], line["value_loss"]]).all()
    assert lines[-1]["kl"] > lines[1]["kl"]
    assert [line["learning_rate"] for line in lines[1:5]] == pytest.approx([1e-3 / 3, 1e-3 * 2 / 3, 1e-3, 1e-3])
    assert load_policy(tmp_path, ["LeftWall", "RightWall"])


def test_a_stopped_run_ends_as_one_that_was_not(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_finetune(config_of(start, tmp_path / "whole", updates=5))
    score, calls = RankReward.score, 0

    def stopping(*arguments: Any, **settings: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in (4, 6):
            raise KeyboardInterrupt
        return score(*arguments, **settings)

    monkeypatch.setattr(RankReward, "score", stopping)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_finetune(config_of(start, tmp_path / "stopped", updates=5))
        random.random(), torch.rand(3)  # what happened in between must not matter
    again = run_finetune(config_of(start, tmp_path / "stopped", updates=5))
    assert (again.start, again.kept, again.updates, again.tokens) == (
        whole.start,
        whole.kept,
        whole.updates,
        whole.tokens,
    )
    assert lines_of(tmp_path / "stopped") == lines_of(tmp_path / "whole")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_other_seeds_give_other_runs_and_global_generators_are_left_alone(start: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    for seed in (0, 1):
        run_finetune(config_of(start, tmp_path / str(seed), updates=1, seed=seed))
    assert lines_of(tmp_path / "0") != lines_of(tmp_path / "1")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


def test_a_finished_run_is_reused_and_one_with_other_settings_is_not(start: Path, tmp_path: Path) -> None:
    first = run_finetune(config_of(start, tmp_path, updates=1))
    modified = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert run_finetune(config_of(start, tmp_path, updates=1)) == first
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == modified
    with pytest.raises(ElmError, match=r"kl = 0\.005, not 0\.1"):
        run_finetune(config_of(start, tmp_path, updates=1, kl=0.1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"updates": 0}, "updates is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"kl": -0.1}, "kl is -0.1"),
        ({"lam": 1.5}, "lam is 1.5"),
        ({"evaluate_every": 0}, "evaluate_every is 0"),
        ({"patience": -1}, "patience is -1"),
    ],
)
def test_settings_out_of_range_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(tmp_path, tmp_path / "out", **changes)


def test_a_batch_that_cannot_be_split_is_explained(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="An update has 22 programs; expected a multiple of mini_batches, 4"):
        run_finetune(config_of(start, tmp_path, samples=11, mini_batches=4))


# The trainer on a toy: a "program" is a word of the letters L and T, and more of the terrain's own letter pays more.


def toy(
    out: Path, updates: int = 1, unsampleable: Sequence[int] | None = None, **changes: Any
) -> tuple[TerrainPPOTrainer, TerrainPolicy, list[dict[str, float]], list[list[list[int]]]]:
    """A trainer, its policy, the figures of its updates and the rows that it had scored."""
    model = make_model("0.1M", TOKENIZER, context=16)
    policy = condition(
        model, TERRAINS, unsampleable=unsampleable_ids(TOKENIZER) if unsampleable is None else unsampleable
    )
    settings = PPOSettings(**{"learning_rate": 1e-3, "warm_up": 0, **changes})
    logged: list[dict[str, float]] = []
    scored: list[list[list[int]]] = []

    def prompts(update: int) -> list[list[int]]:
        return [[*policy.prompt_ids(name), 1] for name in TERRAINS for _ in range(8)]

    def score(rows: list[list[int]]) -> list[float]:
        scored.append(rows)
        return [float(row.count(LETTERS[TERRAINS.index(policy.terrain_of(row))])) for row in rows]

    def finished(figures: dict[str, float]) -> bool:
        logged.append(figures)
        return True

    trainer = TerrainPPOTrainer(
        settings,
        Learner(settings, policy, make_value_model(policy), make_reference(policy)),
        TOKENIZER,
        out,
        prompts=prompts,
        score=score,
        updates=range(updates),
        longest=6,
        seed=0,
        callback=UpdateWatcher(finished),
    )
    return trainer, policy, logged, scored


def make_reference(policy: TerrainPolicy) -> TerrainPolicy:
    reference = condition(make_model("0.1M", TOKENIZER, context=16), TERRAINS, unsampleable=unsampleable_ids(TOKENIZER))
    reference.load_state_dict(policy.state_dict())
    return reference


def largest_change(model: torch.nn.Module, before: dict[str, torch.Tensor]) -> float:
    return max(float((tensor - before[name]).abs().max()) for name, tensor in model.state_dict().items())


def test_the_first_update_is_measured_from_the_policy_itself(tmp_path: Path) -> None:
    """Sampling, with its cache and its masked tokens, and training must agree about every probability."""
    trainer, _, logged, _ = toy(tmp_path, max_grad_norm=1e-12)  # nothing moves
    trainer.train()
    assert logged[0]["kl"] == pytest.approx(0.0, abs=1e-4)
    assert logged[0]["approx_kl"] < 1e-8
    assert logged[0]["entropy"] > 1.0


def test_gradients_are_clipped(tmp_path: Path) -> None:
    """AdamW moves every weight by about the learning rate, unless its gradient is far below its epsilon of 1e-8."""
    changes = {}
    for norm in (1.0, 1e-12):
        trainer, policy, _, _ = toy(tmp_path, max_grad_norm=norm)
        before = {name: tensor.detach().clone() for name, tensor in policy.state_dict().items()}
        trainer.train()
        changes[norm] = largest_change(policy, before)
    assert changes[1.0] > 5e-4
    assert changes[1e-12] < 1e-5


def test_rows_are_scored_with_their_prompts_and_without_padding(tmp_path: Path) -> None:
    trainer, policy, _, scored = toy(tmp_path)
    trainer.train()
    ((*rows,),) = scored
    assert len(rows) == 16
    for place, row in enumerate(rows):
        assert row[:-1][: policy.config.prefix_length] == policy.prompt_ids(TERRAINS[place // 8])
        assert TOKENIZER.pad_token_id not in row
        assert 2 not in row[:-1], "nothing stands behind an end"


def test_a_policy_that_can_sample_padding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="padding token that the policy cannot sample"):
        toy(tmp_path, unsampleable=[1])
