"""PPO on a toy with the mechanics of the real thing: a "program" is a word of the letters L and T.

The scorer is deterministic and needs no physics: on LeftWall every L counts, on Tunnel every T. One word cannot serve
both, so only a policy that listens to its terrain earns the reward. `test_the_stage_*` use the real environment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.seeds import load_seed
from elm_rl.inventor.ppo import (
    FinetuneConfig,
    FinetuneResult,
    FinetuneSettings,
    finetune,
    make_reference,
    response_length,
    rollout_distances,
    run_finetune,
)
from elm_rl.inventor.reward import ProgramReward, RewardScale, TerrainReward
from elm_rl.inventor.trainer import PPOSettings, TerrainPPOTrainer
from elm_rl.models.conditioning import TerrainPolicy, condition, make_value_model
from elm_rl.models.language_model import make_model, save_language_model
from elm_rl.models.supervised_training import TrainConfig, train_causal_lm
from elm_rl.models.tokenizer import encode_text, train_tokenizer, unsampleable_ids
from sodarace_gym.evaluation import Evaluation, EvaluationError

TERRAINS = ("LeftWall", "Tunnel")
SCALES = {name: RewardScale(mean=2.0, std=1.0, invalid=-3.0) for name in TERRAINS}
TOKENIZER = train_tokenizer(["L", "T"], 260, context=16)
SETTINGS = FinetuneSettings(
    updates=3,
    batch_size=16,
    response_length=6,
    learning_rate=5e-3,
    warm_up=2,
    evaluate_every=3,
    evaluation_samples=16,
    patience=0,
    progress=False,
)


@dataclass
class LetterScorer:
    """Fitness is how often the first letter of the terrain stands in the text; the empty text is invalid."""

    calls: list[list[str]]

    def evaluate(self, programs: Sequence[str], terrain: Sequence[str]) -> list[Evaluation]:
        self.calls.append(list(terrain))
        return [
            Evaluation(fitness=float(program.count(name[0])))
            if program
            else Evaluation(error=EvaluationError("no_make_walker", "It is empty."))
            for program, name in zip(programs, terrain, strict=True)
        ]


@pytest.fixture(scope="module")
def speller(tmp_path_factory: pytest.TempPathFactory) -> LlamaForCausalLM:
    """A stage 2 model of random words of four letters."""
    config = LlamaConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = make_model(config, TOKENIZER)
    words = ["".join(letters) for letters in np.random.default_rng(0).choice(["L", "T"], size=(300, 4))]
    examples = [([1], [*encode_text(TOKENIZER, word), 2]) for word in words]
    settings = TrainConfig(max_steps=60, batch_size=32, learning_rate=1e-2)
    train_causal_lm(model, TOKENIZER, examples, tmp_path_factory.mktemp("speller"), settings)
    return model


def policy_of(model: LlamaForCausalLM) -> TerrainPolicy:
    return condition(model, TERRAINS, unsampleable=unsampleable_ids(TOKENIZER))


def trained(
    model: LlamaForCausalLM, out: Path, **changes: Any
) -> tuple[FinetuneResult, TerrainPolicy, list[dict[str, Any]], LetterScorer]:
    """Fine-tunes a new policy; returns its figures, itself, the lines of its metrics, and the scorer."""
    policy, scorer = policy_of(model), LetterScorer([])
    result = finetune(
        policy,
        make_reference(policy, model),
        make_value_model(policy),
        TOKENIZER,
        scorer,
        SCALES,
        replace(SETTINGS, **changes),
        out,
    )
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return result, policy, [json.loads(line) for line in lines], scorer


def trainer_of(model: LlamaForCausalLM, out: Path, **changes: Any) -> tuple[TerrainPPOTrainer, TerrainPolicy]:
    policy = policy_of(model)
    reward = TerrainReward(ProgramReward(LetterScorer([]), SCALES), TOKENIZER, policy)
    settings = PPOSettings(batch_size=16, response_length=6, learning_rate=1e-3, warm_up=0, **changes)
    value = make_value_model(policy)
    return TerrainPPOTrainer(settings, policy, make_reference(policy), value, reward, TOKENIZER, out), policy


def largest_change(model: torch.nn.Module, before: dict[str, torch.Tensor]) -> float:
    return max(float((tensor - before[name]).abs().max()) for name, tensor in model.state_dict().items())


def copied(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def test_ppo_makes_the_policy_listen_to_its_terrain(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    result, policy, metrics, scorer = trained(speller, tmp_path, updates=20, batch_size=32, evaluate_every=10)
    start = np.array(metrics[0]["matrix"])
    matrix = rollout_distances(policy, TOKENIZER, scorer, SETTINGS, seed=99).mean(axis=2)
    assert np.abs(start - 2.0).max() < 1.0, "at the start every word has about two letters of each kind"
    assert np.diagonal(matrix).min() > 3.0
    assert np.diagonal(matrix[::-1]).max() < 1.5
    assert result.conditional
    assert result.best_update > 0
    assert metrics[-1]["kl"] > metrics[1]["kl"]


def test_every_update_is_recorded_and_the_best_policy_is_saved(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    result, policy, metrics, scorer = trained(speller, tmp_path)
    assert [line["update"] for line in metrics] == [0, 1, 2, 3]
    assert ["matrix" in line for line in metrics] == [True, False, False, True]
    for line in metrics[1:]:
        assert list(line["terrains"]) == list(TERRAINS)
        assert {"kl", "entropy", "valid", "distinct", "learning_rate", "seconds"} <= set(line)
        assert np.isfinite([line["kl"], line["entropy"], line["policy_loss"], line["value_loss"]]).all()
    assert [line["learning_rate"] for line in metrics[1:]] == pytest.approx([5e-3 / 3, 5e-3 * 2 / 3, 5e-3])
    assert list((tmp_path / "tensorboard").iterdir())
    saved = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert largest_change(saved, copied(policy)) == 0.0
    assert (
        result.matrix == rollout_distances(policy, TOKENIZER, scorer, SETTINGS, SETTINGS.seed + 1).mean(axis=2).tolist()
    )
    # The batches of the three updates; the other calls are the matrices.
    batches = [call for call in scorer.calls if len(call) == SETTINGS.batch_size]
    assert [(call.count("LeftWall"), call.count("Tunnel")) for call in batches] == [(8, 8)] * 3


def test_the_same_seed_gives_the_same_run(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    numpy_state, torch_state = np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)  # what happened before must not matter
        _, _, metrics, _ = trained(speller, tmp_path / name, updates=2, seed=seed)
        runs.append([{k: v for k, v in line.items() if k != "seconds"} for line in metrics])
        torch.set_rng_state(torch_state)
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_global_generators_are_left_alone(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    trained(speller, tmp_path, updates=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_looking_more_often_does_not_change_what_is_learnt(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    fitness = []
    for every in (1, 3):
        _, _, metrics, _ = trained(speller, tmp_path / str(every), evaluate_every=every)
        fitness.append([line["terrains"] for line in metrics[1:]])
    assert fitness[0] == fitness[1]


def test_the_first_update_is_measured_from_the_policy_itself(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    """Sampling, with its cache and its masked tokens, and training must agree about every probability."""
    logged: list[dict[str, float]] = []
    trainer, _ = trainer_of(speller, tmp_path, updates=1, max_grad_norm=1e-12)  # nothing moves
    trainer.log = lambda logs, start_time=None: logged.append(logs)  # type: ignore[method-assign]
    trainer.train()
    assert logged[0]["objective/kl"] == pytest.approx(0.0, abs=1e-4)
    assert logged[0]["policy/approxkl_avg"] < 1e-8
    assert logged[0]["val/ratio"] == pytest.approx(1.0, abs=1e-4)
    assert logged[0]["objective/entropy"] > 1.0


def test_gradients_are_clipped(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    """AdamW moves every weight by about the learning rate, unless its gradient is far below its epsilon of 1e-8."""
    changes = {}
    for norm in (1.0, 1e-12):
        trainer, policy = trainer_of(speller, tmp_path, updates=1, max_grad_norm=norm)
        before = copied(policy)
        trainer.train()
        changes[norm] = largest_change(policy, before)
    assert changes[1.0] > 5e-4
    assert changes[1e-12] < 1e-5


def test_a_run_that_gets_worse_leaves_the_policy_of_its_start(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    class LessAndLess(LetterScorer):
        """Pays less with every call, so that every later matrix is worse than the first."""

        def evaluate(self, programs: Sequence[str], terrain: Sequence[str]) -> list[Evaluation]:
            scored = super().evaluate(programs, terrain)
            return [replace(evaluation, fitness=evaluation.fitness / len(self.calls)) for evaluation in scored]

    policy, value = policy_of(speller), make_value_model(policy_of(speller))
    start, before = copied(policy), copied(value)
    reference = make_reference(policy, speller)
    result = finetune(policy, reference, value, TOKENIZER, LessAndLess([]), SCALES, SETTINGS, tmp_path)
    assert (result.updates, result.best_update) == (3, 0)
    assert largest_change(value, before) > 1e-3, "training did happen"
    assert largest_change(policy, start) == 0.0
    assert largest_change(AutoModelForCausalLM.from_pretrained(tmp_path), start) == 0.0


def test_the_time_budget_ends_the_run_between_two_updates(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    result, _, metrics, _ = trained(speller, tmp_path, max_seconds=1e-3, updates=50, evaluate_every=50)
    assert (result.updates, result.stopped) == (1, "time")
    assert "matrix" in metrics[-1], "what was learnt in the time must still be judged"


def test_a_policy_that_can_sample_padding_is_refused(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    policy = condition(speller, TERRAINS, unsampleable=[1])
    reward = TerrainReward(ProgramReward(LetterScorer([]), SCALES), TOKENIZER, policy)
    with pytest.raises(ConfigError, match="padding token that the policy cannot sample"):
        TerrainPPOTrainer(
            replace(SETTINGS), policy, make_reference(policy), make_value_model(policy), reward, TOKENIZER, tmp_path
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"updates": 0}, "updates is 0"),
        ({"batch_size": 15, "mini_batches": 2}, "multiple of mini_batches, which is 2"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"kl": -0.1}, "kl is -0.1"),
        ({"lam": 1.5}, "lam is 1.5"),
        ({"evaluate_every": 0}, "evaluate_every is 0"),
        ({"max_seconds": 0.0}, "max_seconds is 0.0"),
        ({"patience": -1}, "patience is -1"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FinetuneSettings(**changes)


def test_settings_that_do_not_fit_the_policy_are_named(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose 11 or less"):
        trained(speller, tmp_path, response_length=12)
    with pytest.raises(ConfigError, match="choose a multiple of 2"):
        trained(speller, tmp_path, batch_size=9, mini_batches=1)
    place = {"language_model": tmp_path, "out": tmp_path}
    with pytest.raises(ConfigError, match="no terrain 'Moon'"):
        FinetuneConfig(terrains=("Moon",), **place)
    with pytest.raises(ConfigError, match="multiple of the 3 terrains"):
        FinetuneConfig(batch_size=32, **place)


# The stage, in the real environment.


@pytest.fixture(scope="module")
def stage_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model that has learnt two seed programs by heart."""
    programs = [load_seed("square"), load_seed("radial")]
    tokenizer = train_tokenizer(programs * 3, 500, context=128)
    model = make_model("0.1M", tokenizer, context=128)
    examples = [([1], [*encode_text(tokenizer, program), 2]) for program in programs]
    folder = tmp_path_factory.mktemp("stage_two")
    train_causal_lm(
        model, tokenizer, examples * 2, folder, TrainConfig(max_steps=100, batch_size=4, learning_rate=2e-2)
    )
    return folder


def stage_config(stage_two: Path, out: Path, **changes: Any) -> FinetuneConfig:
    settings: dict[str, Any] = {
        "language_model": stage_two,
        "out": out,
        "updates": 1,
        "batch_size": 6,
        "response_length": 100,
        "evaluation_samples": 2,
        "statistics_samples": 8,
        "duration": 1.0,
        "n_jobs": 1,
        "progress": False,
    }
    return FinetuneConfig(**settings | changes)


def test_the_stage_runs_on_real_rollouts_and_is_not_repeated(stage_two: Path, tmp_path: Path) -> None:
    out = tmp_path / "finetuned"
    result = run_finetune(stage_config(stage_two, out))
    assert result.terrains == ["LeftWall", "RightWall", "Tunnel"]
    assert np.array(result.matrix).shape == (3, 3)
    assert max(scale["mean"] for scale in result.scales.values()) > 0, "the seeds that it learnt do move"
    content = json.loads((out / "finetuning.json").read_text(encoding="utf-8"))
    assert content["figures"]["matrix"] == result.matrix
    modified = (out / "model.safetensors").stat().st_mtime_ns
    assert run_finetune(stage_config(stage_two, out)) == result
    assert (out / "model.safetensors").stat().st_mtime_ns == modified
    with pytest.raises(ElmError, match=r"kl = 0.05, not 0.1"):
        run_finetune(stage_config(stage_two, out, kl=0.1))
    second = run_finetune(stage_config(stage_two, tmp_path / "second", start=out, reference="start", seed=1))
    assert second.updates == 1
    with pytest.raises(ElmError, match="use the same terrains"):
        run_finetune(stage_config(stage_two, tmp_path / "third", start=out, terrains=("Flat", "Tunnel")))


def test_the_stage_says_what_is_missing(stage_two: Path, tmp_path: Path) -> None:
    with pytest.raises(ElmError, match="holds no model"):
        run_finetune(stage_config(tmp_path / "nowhere", tmp_path / "out"))
    with pytest.raises(ElmError, match="holds a LlamaForCausalLM"):
        run_finetune(stage_config(stage_two, tmp_path / "out", start=stage_two))


def test_the_response_length_covers_the_given_share_of_programs() -> None:
    programs = ["L" * length for length in range(1, 101)]
    assert response_length(TOKENIZER, programs, 0.5) == 52
    assert response_length(TOKENIZER, programs) == 101


def test_saved_policies_can_be_read_by_others(speller: LlamaForCausalLM, tmp_path: Path) -> None:
    save_language_model(policy_of(speller), TOKENIZER, tmp_path)
    assert type(AutoModelForCausalLM.from_pretrained(tmp_path)) is TerrainPolicy
