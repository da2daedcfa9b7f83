"""Stage 3: PPO turns the language model into an inventor that is told the terrain and writes a program for it.

Lehman et al. 2022, section on conditional reinforcement learning: the reward is the distance walked on the terrain that
the program was asked for, less a KL term that keeps the policy near the stage 2 model; the critic has terrain codes of
its own.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elm_rl.corpus.corpus import TRAIN, load_corpus
from elm_rl.errors import ConfigError, ElmError
from elm_rl.inventor.monitor import Best, Budget, FinetuneMonitor
from elm_rl.inventor.reward import ProgramReward, RewardScale, TerrainReward, reward_scales
from elm_rl.inventor.trainer import PPOSettings, TerrainPPOTrainer
from elm_rl.judging.rollouts import ProgramEvaluator, rollouts
from elm_rl.models.conditioning import (
    DEFAULT_PREFIX_LENGTH,
    DEFAULT_TERRAINS,
    TerrainBlindModel,
    TerrainPolicy,
    condition,
    make_value_model,
)
from elm_rl.models.language_model import load_language_model, load_policy, save_language_model, weights_digest
from elm_rl.models.sampling import context_length, sample_completions
from elm_rl.models.tokenizer import decode_program, encode_text, start_id, unsampleable_ids
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.processes import done_once
from elm_rl.runs.run_directory import read_json, to_json, write_json
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.families import ALL_TERRAIN_NAMES

FINETUNING_FILE = "finetuning.json"

# A run directory may move, and neither of these changes what is learnt.
_NOT_COMPARED = ("language_model", "out", "start", "corpus", "n_jobs", "progress")


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(PPOSettings):
    """Settings of `finetune`: the algorithm, and when to look at the matrix and stop."""

    evaluate_every: int = 5
    """Updates between two terrain x terrain matrices. A policy may be conditional for a few updates only: look often."""
    evaluation_samples: int = 32
    """Programs per terrain for a matrix; each is rolled out on every terrain."""
    patience: int = 8
    """Stop after so many matrices without a better policy; 0 to go on regardless."""
    max_seconds: float | None = None
    """Time budget in seconds, evaluations included; the run stops before an update that would not fit in."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("evaluate_every", "evaluation_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        if self.patience < 0:
            raise ConfigError(f"patience is {self.patience}; expected 0 or more.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ConfigError(f"max_seconds is {self.max_seconds}; expected a number above 0, or none for no limit.")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(FinetuneSettings):
    """Settings of ``elm-rl finetune``."""

    language_model: Path
    """Folder of the stage 2 model that 'elm-rl pretrain' has written."""
    out: Path
    """Folder for the policy, its metrics and its figures. A finished one with the same settings is reused."""
    start: Path | None = None
    """Folder of a policy to start from, as the terrain warm start writes it; else the stage 2 model with new codes."""
    terrains: tuple[str, ...] = DEFAULT_TERRAINS
    """Terrains to learn; choose a set on which no single walker does well."""
    prefix_length: int = DEFAULT_PREFIX_LENGTH
    """Codes in front of a program per terrain, when there is no policy to start from."""
    reference: Literal["stage2", "start"] = "stage2"
    """What the KL term keeps the policy near: the stage 2 model, which knows no terrain, or the policy at the start."""
    corpus: Path | None = None
    """Corpus folder; if given, the 99th percentile of its program lengths takes the place of response_length."""
    statistics_samples: int = 128
    """Programs of the stage 2 model, rolled out on every terrain, that fix the scale of the rewards."""
    invalid_penalty: float = 0.5
    """An invalid program earns this much less than a walker that stands still."""
    duration: float = 10.0
    """Simulated seconds a walker is scored for."""
    n_jobs: int = -1
    """Threads that evaluate; -1 for one a core."""

    def __post_init__(self) -> None:
        take_paths(self)
        super().__post_init__()
        if len(set(self.terrains)) != len(self.terrains) or not self.terrains:
            raise ConfigError(f"terrains is {list(self.terrains)}; expected one or more names, each once.")
        if unknown := [name for name in self.terrains if name not in ALL_TERRAIN_NAMES]:
            raise ConfigError(f"There is no terrain {unknown[0]!r}; the terrains are {', '.join(ALL_TERRAIN_NAMES)}.")
        if self.batch_size % len(self.terrains):
            raise ConfigError(
                f"batch_size is {self.batch_size}; expected a multiple of the {len(self.terrains)} terrains, so that "
                "every batch is balanced."
            )
        if self.prefix_length < 1 or self.statistics_samples < 2:
            raise ConfigError(
                f"prefix_length is {self.prefix_length} and statistics_samples {self.statistics_samples}; expected at "
                "least 1 and 2."
            )
        if self.invalid_penalty < 0:
            raise ConfigError(f"invalid_penalty is {self.invalid_penalty}; expected 0 or more.")


@dataclass(frozen=True)
class FinetuneResult:
    """Figures of a finished fine-tuning run.

    Attributes:
        terrains: Names in the order of the matrix.
        updates: PPO updates done.
        stopped: Why it ended: "updates", "patience" or "time".
        seconds: Wall-clock time.
        best_update: After which update the kept policy was met; 0 is the start.
        matrix: Mean distances of the kept policy, row asked for, column walked on. It was chosen by this matrix, which
            therefore flatters it a little: report a fresh one.
        conditional: Whether on every terrain the programs asked for it are the best.
        scales: Mean, deviation and invalid reward of every terrain.
    """

    terrains: list[str]
    updates: int
    stopped: str
    seconds: float
    best_update: int
    matrix: list[list[float]]
    conditional: bool
    scales: dict[str, dict[str, float]]


def run_finetune(config: FinetuneConfig) -> FinetuneResult:
    """Fine-tunes a policy and saves it to ``config.out``, which ``from_pretrained`` loads.

    Beside the policy the folder holds ``metrics.jsonl``, ``tensorboard/`` and ``finetuning.json`` (settings, figures).
    An interrupted run starts again, because TRL's PPO trainer cannot continue one.

    Raises:
        ElmError: A folder is missing or damaged, the disk is full, another process writes to ``out``, or that holds
            a run with other settings.
    """
    settings = {k: v for k, v in asdict(config).items() if k not in _NOT_COMPARED}
    settings["language_model_weights"] = weights_digest(config.language_model)
    settings["start_weights"] = None if config.start is None else weights_digest(config.start)
    settings = json.loads(to_json(settings))
    return done_once(config.out, lambda: _load_finished(config.out, settings), lambda: _train(config, settings))


def _train(config: FinetuneConfig, settings: Mapping[str, Any]) -> FinetuneResult:
    language_model, tokenizer = load_language_model(config.language_model)
    if config.start is None:
        policy = condition(
            language_model,
            config.terrains,
            prefix_length=config.prefix_length,
            unsampleable=unsampleable_ids(tokenizer),
            seed=config.seed,
        )
    else:
        policy = load_policy(config.start, config.terrains)[0]
    if config.corpus is not None:
        room = context_length(policy) - policy.config.prefix_length - 1
        length = response_length(tokenizer, load_corpus(config.corpus)[TRAIN]["program"])
        config = replace(config, response_length=min(length, room))
    reference = make_reference(policy, language_model if config.reference == "stage2" else None)
    with Evaluator(n_jobs=config.n_jobs, duration=config.duration) as evaluator:
        scales = measure_scales(language_model, tokenizer, evaluator, config)
        result = finetune(policy, reference, make_value_model(policy), tokenizer, evaluator, scales, config, config.out)
    write_json(config.out / FINETUNING_FILE, {"settings": settings, "figures": asdict(result)})
    return result


def finetune(
    policy: TerrainPolicy,
    reference: nn.Module,
    value_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    evaluator: ProgramEvaluator,
    scales: Mapping[str, RewardScale],
    settings: FinetuneSettings,
    out: Path,
) -> FinetuneResult:
    """Trains a conditioned policy with PPO and leaves it as it was when its matrix was best.

    The policy is saved to ``out`` whenever its matrix is the best so far, the first time before training, so that an
    interrupted run leaves the best it had.

    Args:
        policy: The conditioned policy; changed in place.
        reference: What the KL term is measured from; see `make_reference`.
        value_model: The critic; see `make_value_model`.
        tokenizer: Of the policy.
        evaluator: Scores programs, each on its terrain.
        scales: How distances become rewards on each of the policy's terrains; see `reward_scales`.
        settings: Of the algorithm, and when to look and to stop.
        out: Folder for the policy, ``metrics.jsonl`` and ``tensorboard/``.

    Raises:
        ConfigError: The settings do not fit the policy or its tokenizer, or a terrain has no scale.
        ElmError: The disk is full.
    """
    terrains = list(policy.book.texts)
    if missing := [name for name in terrains if name not in scales]:
        raise ConfigError(f"There is no reward scale for terrain {missing[0]!r}; measure it with measure_scales.")
    scales = {name: scales[name] for name in terrains}
    reward = TerrainReward(ProgramReward(evaluator, scales), tokenizer, policy)
    kept: dict[str, torch.Tensor] = {}

    def measure() -> np.ndarray:
        # The same random numbers every time: two policies then differ by what they learnt and not by luck.
        return rollout_distances(policy, tokenizer, evaluator, settings, seed=settings.seed + 1)

    def keep(best: Best) -> None:
        kept.update({name: tensor.detach().clone() for name, tensor in policy.state_dict().items()})
        save_language_model(policy, tokenizer, out)

    limit = float("inf") if settings.max_seconds is None else settings.max_seconds
    budget = Budget(settings.updates, settings.evaluate_every, settings.patience, limit)
    monitor = FinetuneMonitor(out, scales, budget, lambda: reward.last, measure, keep, settings.progress)
    trainer = TerrainPPOTrainer(settings, policy, reference, value_model, reward, tokenizer, out, [monitor])
    try:
        monitor.start()
        trainer.train()
    finally:
        monitor.close()
    policy.load_state_dict(kept)
    assert monitor.best.matrix is not None  # the policy at the start was measured
    return FinetuneResult(
        terrains=terrains,
        updates=monitor.update,
        stopped=monitor.stopped,
        seconds=budget.elapsed(),
        best_update=monitor.best.update,
        matrix=monitor.best.matrix.tolist(),
        conditional=monitor.best.conditional,
        scales={name: asdict(scale) for name, scale in scales.items()},
    )


def make_reference(policy: TerrainPolicy, language_model: PreTrainedModel | None = None) -> nn.Module:
    """What the KL term is measured from.

    Args:
        policy: The policy to be trained.
        language_model: The stage 2 model, which is asked about the program without its terrain; None for a frozen
            copy of the policy.
    """
    if language_model is None:
        return copy.deepcopy(policy)
    return TerrainBlindModel(language_model, policy.config.vocab_size, policy.config.unsampleable_token_ids or ())


def measure_scales(
    language_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    evaluator: ProgramEvaluator,
    config: FinetuneConfig,
) -> dict[str, RewardScale]:
    """Fixes the scale of the rewards by rolling out samples of the stage 2 model on every terrain."""
    prompts = [[start_id(tokenizer)]] * config.statistics_samples
    programs = _sample(language_model, tokenizer, prompts, config, config.seed)
    scored = rollouts(evaluator, programs, config.terrains)
    return reward_scales(dict(zip(config.terrains, scored, strict=True)), config.invalid_penalty)


def rollout_distances(
    policy: TerrainPolicy,
    tokenizer: PreTrainedTokenizerBase,
    evaluator: ProgramEvaluator,
    settings: FinetuneSettings,
    seed: int,
) -> np.ndarray:
    """Distances of fresh samples, shape (terrains asked for, terrains walked on, samples); invalid ones count 0."""
    terrains = policy.book.texts
    prompts = [[*policy.prompt_ids(name), start_id(tokenizer)] for name in terrains]
    repeated = [prompt for prompt in prompts for _ in range(settings.evaluation_samples)]
    programs = _sample(policy, tokenizer, repeated, settings, seed)
    scored = rollouts(evaluator, programs, terrains)
    fitness = np.array([[s.fitness if s.valid else 0.0 for s in on_terrain] for on_terrain in scored])
    return fitness.reshape(len(terrains), len(terrains), settings.evaluation_samples).swapaxes(0, 1)


def response_length(tokenizer: PreTrainedTokenizerBase, programs: Sequence[str], quantile: float = 0.99) -> int:
    """Tokens, end token included, that are enough for the given share of the programs."""
    return int(np.ceil(np.quantile([len(encode_text(tokenizer, program)) + 1 for program in programs], quantile)))


def _sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: PPOSettings,
    seed: int,
) -> list[str]:
    """One program per prompt, drawn as PPO draws them."""
    completions = sample_completions(
        model,
        tokenizer,
        prompts,
        max_new_tokens=settings.response_length,
        temperature=settings.temperature,
        seed=seed,
    )
    return [decode_program(tokenizer, ids) for ids in completions]


def _load_finished(folder: Path, settings: Mapping[str, Any]) -> FinetuneResult | None:
    """Figures of the run that finished in ``folder``, or None when there is none."""
    path = folder / FINETUNING_FILE
    if not path.is_file():
        return None
    content = read_json(path)
    for name, wanted in settings.items():
        if content["settings"].get(name) != wanted:
            raise ElmError(
                f"'{folder}' holds a policy trained with {name} = {content['settings'].get(name)!r}, not {wanted!r}; "
                "choose another output folder, or delete that one to train again."
            )
    return FinetuneResult(**content["figures"])
