from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from elm_rl.errors import ConfigError
from elm_rl.evolution.seeds import load_seed
from elm_rl.inventor.reward import MIN_STD, ProgramReward, RewardScale, TerrainReward, reward_scales
from elm_rl.judging.rollouts import rollouts
from elm_rl.models.conditioning import condition
from elm_rl.models.language_model import make_model
from elm_rl.models.tokenizer import encode_text, train_tokenizer
from sodarace_gym.evaluation import Evaluation, EvaluationError, Evaluator

TERRAINS = ("LeftWall", "RightWall", "Tunnel")
SCALES = {name: RewardScale(mean=2.0, std=4.0, invalid=-1.0) for name in TERRAINS}
TOKENIZER = train_tokenizer([load_seed("square"), load_seed("radial")], 400, context=512)
PAD, BOS, EOS = 0, 1, 2
POLICY = condition(make_model("0.1M", TOKENIZER, context=128, seed=0), TERRAINS, prefix_length=2)


@dataclass
class CountingEvaluator:
    """Scores a program by its length, on the terrain named in it ten times more; remembers what it was asked."""

    calls: list[tuple[list[str], list[str]]]

    def evaluate(self, programs: Sequence[str], terrain: Sequence[str]) -> list[Evaluation]:
        self.calls.append((list(programs), list(terrain)))
        return [
            Evaluation(error=EvaluationError("syntax_error", "It is no program."))
            if "!" in program
            else Evaluation(fitness=len(program) * (10.0 if name in program else 1.0))
            for program, name in zip(programs, terrain, strict=True)
        ]


def sequence(terrain: str, program: str, *, end: bool = True) -> list[int]:
    return [*POLICY.prompt_ids(terrain), BOS, *encode_text(TOKENIZER, program), *([EOS] if end else [])]


def as_trl_does(model: nn.Module, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Calls a reward model as TRL's PPO does: padding becomes id 0, the row at the last token is the reward."""
    width = max(map(len, rows))
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    backbone = getattr(model, model.base_model_prefix)
    output = backbone(
        input_ids=ids,
        attention_mask=mask,
        position_ids=mask.cumsum(1) - mask.long(),
        return_dict=True,
        output_hidden_states=True,
        use_cache=False,
    )
    scores = model.score(output.hidden_states[-1])
    return scores, scores[torch.arange(len(rows)), mask.sum(1) - 1].squeeze(-1)


def test_programs_are_decoded_scored_in_one_call_and_normalised() -> None:
    evaluator = CountingEvaluator([])
    model = TerrainReward(ProgramReward(evaluator, SCALES), TOKENIZER, POLICY)
    rows = [
        sequence("Tunnel", "for Tunnel\n"),
        sequence("LeftWall", "for Tunnel\n"),
        sequence("RightWall", "broken!"),
        sequence("LeftWall", "cut of", end=False),
    ]
    scores, rewards = as_trl_does(model, rows)
    assert scores.shape == (4, max(map(len, rows)), 1)
    assert evaluator.calls == [
        (["for Tunnel\n", "for Tunnel\n", "broken!", "cut of"], ["Tunnel", "LeftWall", "RightWall", "LeftWall"])
    ]
    assert rewards.tolist() == pytest.approx([(110 - 2) / 4, (11 - 2) / 4, -1.0, (6 - 2) / 4])
    assert model.last is not None
    assert model.last.fitness.tolist() == [110.0, 11.0, 0.0, 6.0]
    assert model.last.valid.tolist() == [True, True, False, True]
    assert model.last.finished.tolist() == [True, True, True, False]


def test_a_real_token_with_id_0_is_no_padding() -> None:
    """TRL overwrites padding with id 0; where 0 is a token of the program it must be read."""
    evaluator = CountingEvaluator([])
    tokenizer = train_tokenizer(["ab"], 260)
    tokenizer.pad_token = "<sep>"
    exclamation = encode_text(tokenizer, "!")[0]
    policy = condition(make_model("0.1M", tokenizer, context=128, seed=0), ["Tunnel"], prefix_length=1)
    model = TerrainReward(ProgramReward(evaluator, SCALES), tokenizer, policy)
    row = [*policy.prompt_ids("Tunnel"), BOS, *encode_text(tokenizer, "ab"), EOS]
    as_trl_does(model, [row, [*row[:-1], exclamation, EOS]])
    assert evaluator.calls[0][0] == ["ab", "ab!"]


def test_the_same_core_is_a_reward_function() -> None:
    reward = ProgramReward(CountingEvaluator([]), SCALES)
    rewards = reward(
        prompts=["", ""], completions=["Tunnel", "oops!"], terrain=["Tunnel", "Tunnel"], completion_ids=[[1], [2]]
    )
    assert rewards == pytest.approx([(60 - 2) / 4, -1.0])
    assert all(isinstance(value, float) for value in rewards)
    assert reward.__name__ == "program_reward"
    assert reward.last is not None
    assert reward.last.finished.all()


def test_scales_come_from_the_valid_samples_of_each_terrain() -> None:
    invalid = Evaluation(error=EvaluationError("syntax_error", "It is no program."))
    samples = {
        "LeftWall": [Evaluation(fitness=f) for f in (0.0, 10.0, 20.0)] + [invalid],
        "Tunnel": [Evaluation(fitness=0.1), Evaluation(fitness=0.2)],
        "RightWall": [invalid, invalid],
    }
    scales = reward_scales(samples, invalid_penalty=0.5)
    assert scales["LeftWall"].mean == pytest.approx(10.0)
    assert scales["LeftWall"].std == pytest.approx(np.std([0, 10, 20]))
    assert scales["Tunnel"].std == MIN_STD
    assert (scales["RightWall"].mean, scales["RightWall"].std) == (0.0, MIN_STD)
    for scale in scales.values():
        assert scale.reward(0.0, valid=False) == pytest.approx(scale.reward(0.0, valid=True) - 0.5)


def test_figures_of_each_terrain() -> None:
    reward = ProgramReward(CountingEvaluator([]), SCALES)
    batch = reward.score(["aa", "aa", "a!", "LeftWall"], ["Tunnel", "Tunnel", "Tunnel", "LeftWall"], [True, False] * 2)
    figures = batch.per_terrain()
    assert figures["Tunnel"] == pytest.approx(
        {"fitness": 4 / 3, "best": 2.0, "reward": -1 / 3, "valid": 2 / 3, "finished": 2 / 3, "distinct": 2.0}
    )
    assert figures["LeftWall"]["best"] == 80.0


def test_rollouts_are_sorted_by_terrain() -> None:
    evaluator = CountingEvaluator([])
    scored = rollouts(evaluator, ["Tunnel", "a"], ["LeftWall", "Tunnel"])
    assert [[s.fitness for s in on_terrain] for on_terrain in scored] == [[6.0, 1.0], [60.0, 1.0]]
    assert len(evaluator.calls) == 1


def test_mistakes_are_explained() -> None:
    reward = ProgramReward(CountingEvaluator([]), {"Tunnel": SCALES["Tunnel"]})
    with pytest.raises(ConfigError, match="1 programs but 2 terrains"):
        reward.score(["a"], ["Tunnel", "Tunnel"])
    with pytest.raises(ConfigError, match="no reward scale for terrain 'Bumpy'"):
        reward.score(["a"], ["Bumpy"])
    with pytest.raises(ConfigError, match="breaking a program would pay"):
        reward_scales({}, invalid_penalty=-0.1)


def test_the_environment_is_the_reward() -> None:
    """Real programs, real rollouts: the seeds move, a program without make_walker is invalid."""
    programs = [load_seed("square"), load_seed("radial"), "x = 1\n"]
    with Evaluator(n_jobs=1, duration=2.0) as evaluator:
        expected = [evaluator.evaluate(programs, name) for name in ("LeftWall", "Tunnel")]
        model = TerrainReward(ProgramReward(evaluator, SCALES), TOKENIZER, POLICY)
        rows = [sequence(name, program) for name in ("LeftWall", "Tunnel") for program in programs]
        _, rewards = as_trl_does(model, rows)
    assert model.last is not None
    assert model.last.fitness.tolist() == [e.fitness for on_terrain in expected for e in on_terrain]
    assert model.last.valid.tolist() == [True, True, False] * 2
    assert model.last.fitness[:2].min() > 0
    assert rewards.tolist() == pytest.approx(
        [SCALES["Tunnel"].reward(e.fitness, e.valid) for on_terrain in expected for e in on_terrain]
    )
