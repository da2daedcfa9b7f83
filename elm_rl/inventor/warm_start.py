"""The terrain warm start: before PPO, the policy is shown the best known programs of every terrain.

PPO rewards what the policy happens to try. A stage 2 model hardly ever writes a walker that only suits a tunnel, and
then the easy way to more reward is one good walker for all terrains. So the programs of the corpus are first rolled out
on every terrain, and the policy learns to write the best ones of a terrain behind its codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from elm_rl.corpus.corpus import CORPUS_FILE, TRAIN, load_corpus
from elm_rl.errors import ConfigError, ElmError
from elm_rl.judging.rollouts import ProgramEvaluator, rollouts
from elm_rl.models.conditioning import (
    DEFAULT_PREFIX_LENGTH,
    DEFAULT_TERRAINS,
    TerrainPolicy,
    condition,
)
from elm_rl.models.language_model import load_language_model, weights_digest
from elm_rl.models.supervised_training import Example, TrainConfig, TrainResult, load_finished, train_causal_lm
from elm_rl.models.tokenizer import encode_text, start_id, unsampleable_ids
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.processes import done_once
from elm_rl.runs.run_directory import read_json, write_json
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.families import ALL_TERRAIN_NAMES

SCORES_FILE = "scores.json"

# A run directory may move, and neither of the others changes what is learnt.
_NOT_COMPARED = ("corpus", "language_model", "out", "n_jobs", "progress")


@dataclass(frozen=True, kw_only=True)
class WarmStartConfig(TrainConfig):
    """Settings of the terrain warm start."""

    corpus: Path
    """Corpus folder that 'elm-rl corpus' has written."""
    language_model: Path
    """Folder of the stage 2 model that 'elm-rl pretrain' has written."""
    out: Path
    """Folder for the policy, its metrics and its figures. A finished one with the same settings is reused."""
    terrains: tuple[str, ...] = DEFAULT_TERRAINS
    """Terrains to learn; choose a set on which no single walker does well."""
    prefix_length: int = DEFAULT_PREFIX_LENGTH
    """Codes in front of a program per terrain."""
    programs: int = 2000
    """Programs of the corpus to roll out on every terrain, drawn at random when there are more."""
    top_percent: float = 10.0
    """Share of these programs, the best on a terrain, that the policy learns to write for it."""
    learning_rate: float = 1e-3
    """Peak of the learning rate; lower than in pretraining, so that the model keeps what it knows."""
    max_seconds: float | None = 45.0
    """Time budget of the training in seconds, rollouts not included. Not used together with max_steps."""
    duration: float = 10.0
    """Simulated seconds a walker is scored for."""
    n_jobs: int = -1
    """Threads that evaluate; -1 for one a core."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        take_paths(self)
        super().__post_init__()
        if not self.terrains or len(set(self.terrains)) != len(self.terrains):
            raise ConfigError(f"terrains is {list(self.terrains)}; expected one or more names, each once.")
        if unknown := [name for name in self.terrains if name not in ALL_TERRAIN_NAMES]:
            raise ConfigError(f"There is no terrain {unknown[0]!r}; the terrains are {', '.join(ALL_TERRAIN_NAMES)}.")
        if self.prefix_length < 1 or self.programs < 1:
            raise ConfigError(
                f"prefix_length is {self.prefix_length} and programs {self.programs}; expected 1 or more."
            )
        if not 0 < self.top_percent <= 100:
            raise ConfigError(f"top_percent is {self.top_percent}; expected more than 0 and at most 100.")


@dataclass(frozen=True)
class TerrainScores:
    """How the programs of the corpus did on one terrain.

    Attributes:
        valid: Share that made a walker.
        mean: Mean distance in walker units, invalid ones counting 0.
        best: Longest distance.
        chosen: Programs that the policy learns to write for this terrain.
        threshold: Distance of the worst of these.
    """

    valid: float
    mean: float
    best: float
    chosen: int
    threshold: float


@dataclass(frozen=True)
class WarmStartResult:
    """Figures of a finished warm start.

    Attributes:
        programs: Programs rolled out.
        scores: How they did on every terrain.
        training: Figures of the training.
    """

    programs: int
    scores: dict[str, TerrainScores]
    training: TrainResult


def run_warm_start(config: WarmStartConfig) -> WarmStartResult:
    """Trains a conditioned policy on the best corpus programs of every terrain, and saves it to ``config.out``.

    Beside the policy the folder holds ``metrics.jsonl``, ``tensorboard/``, ``training.json`` and ``scores.json``.

    Raises:
        ElmError: A folder is missing or damaged, no program moves on some terrain, the disk is full, another process
            writes to ``out``, or that holds a run with other settings.
    """
    settings = {k: v for k, v in asdict(config).items() if k not in _NOT_COMPARED}
    settings["corpus_fingerprint"] = read_json(config.corpus / CORPUS_FILE).get("fingerprint")
    settings["language_model_weights"] = weights_digest(config.language_model)
    return done_once(config.out, lambda: _load_finished(config.out, settings), lambda: _train(config, settings))


def _load_finished(folder: Path, settings: dict[str, Any]) -> WarmStartResult | None:
    """Figures of the warm start that finished in ``folder``, or None when there is none."""
    if (finished := load_finished(folder, settings)) is None:
        return None
    content = read_json(folder / SCORES_FILE)
    scores = {name: TerrainScores(**figures) for name, figures in content["scores"].items()}
    return WarmStartResult(content["programs"], scores, finished)


def _train(config: WarmStartConfig, settings: dict[str, Any]) -> WarmStartResult:
    language_model, tokenizer = load_language_model(config.language_model)
    texts = sorted(set(load_corpus(config.corpus)[TRAIN]["program"]))
    order = np.random.default_rng(config.seed).permutation(len(texts))[: config.programs]
    programs = [texts[i] for i in order]
    with Evaluator(n_jobs=config.n_jobs, duration=config.duration) as evaluator:
        fitness, valid = score_programs(programs, config.terrains, evaluator, config.progress)
    policy = condition(
        language_model,
        config.terrains,
        prefix_length=config.prefix_length,
        unsampleable=unsampleable_ids(tokenizer),
        seed=config.seed,
    )
    examples: list[Example] = []
    scores = {}
    for row, name in enumerate(config.terrains):
        chosen = best_programs(fitness[row], valid[row], config.top_percent)
        if not chosen:
            raise ElmError(
                f"None of {len(programs)} corpus programs moves on {name}; score more of them (programs), or let "
                "evolution run longer."
            )
        wanted = max(1, round(config.top_percent / 100 * len(programs)))
        examples += examples_for(policy, tokenizer, name, [programs[i] for i in chosen], wanted)
        scores[name] = TerrainScores(
            valid=float(valid[row].mean()),
            mean=float(fitness[row].mean()),
            best=float(fitness[row].max()),
            chosen=len(chosen),
            threshold=float(fitness[row][chosen].min()),
        )
    write_json(
        config.out / SCORES_FILE, {"programs": len(programs), "scores": {n: asdict(s) for n, s in scores.items()}}
    )
    training = train_causal_lm(policy, tokenizer, examples, config.out, config, settings=settings)
    return WarmStartResult(len(programs), scores, training)


def score_programs(
    programs: Sequence[str], terrains: Sequence[str], evaluator: ProgramEvaluator, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Rolls every program out on every terrain.

    Returns:
        Distances (terrains, programs), 0 where invalid, and which were valid (terrains, programs).
    """
    fitness = np.zeros((len(terrains), len(programs)))
    valid = np.zeros((len(terrains), len(programs)), dtype=bool)
    with tqdm(total=len(programs), desc="Scoring the corpus", unit="program", disable=not progress) as bar:
        for begin in range(0, len(programs), 100):
            part = list(programs[begin : begin + 100])
            for row, scored in enumerate(rollouts(evaluator, part, terrains)):
                valid[row, begin : begin + len(part)] = [s.valid for s in scored]
                fitness[row, begin : begin + len(part)] = [s.fitness if s.valid else 0.0 for s in scored]
            bar.update(len(part))
    return fitness, valid


def best_programs(fitness: np.ndarray, valid: np.ndarray, percent: float) -> list[int]:
    """Indices of the best ``percent`` of the programs, best first, among those that are valid and move at all.

    Args:
        fitness: Distances (programs,).
        valid: Which programs made a walker (programs,).
        percent: Share of all programs, invalid ones included; at least one is taken.
    """
    count = max(1, round(percent / 100 * len(fitness)))
    ranked = np.argsort(-fitness, kind="stable")  # stable: ties keep the order of the programs
    return [int(i) for i in ranked if valid[i] and fitness[i] > 0][:count]


def examples_for(
    policy: TerrainPolicy,
    tokenizer: PreTrainedTokenizerBase,
    terrain: str,
    programs: Sequence[str],
    count: int,
) -> list[Example]:
    """Pairs of prompt and completion that teach a policy to write ``programs`` for a terrain.

    The programs are repeated to make up ``count`` pairs: the codes of a terrain on which few programs move would else
    be trained less than those of the others.
    """
    prompt = [*policy.prompt_ids(terrain), start_id(tokenizer)]
    completions = [[*encode_text(tokenizer, program), int(tokenizer.eos_token_id or 0)] for program in programs]
    return [(prompt, completions[i % len(completions)]) for i in range(count)]
