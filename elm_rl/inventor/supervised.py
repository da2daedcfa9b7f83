"""The supervised start: a policy learns to write, for each terrain, the walkers of a cross table that are best there.

A policy gradient rewards what the policy happens to try. A stage 2 model hardly ever writes a walker that only suits a tunnel,
and then the easy way to more reward is one good walker for all terrains. So the policy is first shown what is known to suit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from elm_rl.corpus.cross_table import TABLE_FILE, CrossTableConfig, load_cross_table
from elm_rl.errors import ConfigError
from elm_rl.inventor.targets import Target, TargetConfig, choose_targets
from elm_rl.models.conditioning import DEFAULT_PREFIX_LENGTH, TerrainPolicy, condition
from elm_rl.models.language_model import load_language_model, weights_digest
from elm_rl.models.supervised_training import Example, TrainConfig, TrainResult, load_finished, train_causal_lm
from elm_rl.models.tokenizer import encode_text, start_id, unsampleable_ids
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.processes import done_once
from elm_rl.runs.run_directory import read_json, write_json

TARGETS_FILE = "targets.json"

# A run directory may move.
_NOT_COMPARED = ("cross_table", "language_model", "out")


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(TargetConfig, TrainConfig):
    """Settings of ``elm-rl supervised``."""

    cross_table: Path
    """Folder of a table that 'elm-rl cross-table' has written."""
    language_model: Path
    """Folder of the stage 2 model, or of any causal language model."""
    out: Path
    """Folder for the policy, its metrics and its figures. A finished one with the same settings is reused."""
    terrain_encoder: Literal["codes", "profile", "image", "text"] = "profile"
    """How the policy is told the terrain: learned codes for each of the table's; or, so that it takes terrains it never saw, a
    network over its profile or image, or its heights as text."""
    prefix_length: int = DEFAULT_PREFIX_LENGTH
    """Embeddings in front of a program; a text takes as many as it needs."""
    learning_rate: float = 2e-3
    """Peak of the learning rate, which warms up linearly and falls along a cosine."""
    max_epochs: float = 40.0
    """Passes over the examples, unless the time is up first. Many are needed: a program must be learnt by heart before a model
    writes it well (16 passes gave samples that walk 30 units on average, 40 passes 82; trial, LeftWall)."""

    def __post_init__(self) -> None:
        take_paths(self)
        TargetConfig.__post_init__(self)
        TrainConfig.__post_init__(self)
        if self.terrain_encoder == "codes" and self.labelled:
            raise ConfigError(
                "Codes are learnt for the terrains of the table alone; leave out labelled, or use profile, image or text."
            )
        if self.terrain_encoder == "text" and self.prefix_length != DEFAULT_PREFIX_LENGTH:
            raise ConfigError("A terrain as text takes as many tokens as it needs; leave out prefix_length.")
        if self.prefix_length < 1:
            raise ConfigError(f"prefix_length is {self.prefix_length}; expected 1 or more.")


@dataclass(frozen=True)
class SupervisedResult:
    """Figures of a finished supervised start.

    Attributes:
        terrains: Terrains learnt.
        programs: Different programs among the targets.
        expected: Mean over the terrains of what is expected of their targets, walker units.
        training: Figures of the training.
    """

    terrains: int
    programs: int
    expected: float
    training: TrainResult


def run_supervised(config: SupervisedConfig) -> SupervisedResult:
    """Trains a policy on the best walkers of every terrain, and saves it to ``config.out``.

    Beside the policy the folder holds ``metrics.jsonl``, ``tensorboard/``, ``training.json`` and ``targets.json``.

    Raises:
        ElmError: A folder is missing or damaged, there is nothing to learn, the disk is full, another process writes to
            ``out``, or that holds a run with other settings.
    """
    table = load_cross_table(config.cross_table)
    settings = {name: value for name, value in asdict(config).items() if name not in _NOT_COMPARED}
    settings["language_model_weights"] = weights_digest(config.language_model)
    made = CrossTableConfig(**read_json(config.cross_table / TABLE_FILE)["config"])
    targets = choose_targets(table, config, made.distribution(), config.seed)
    programs = [walker.program for walker in table.walkers]

    def finished() -> SupervisedResult | None:
        training = load_finished(config.out, settings)
        if training is None:
            return None
        return SupervisedResult(**read_json(config.out / TARGETS_FILE)["figures"], training=training)

    def work() -> SupervisedResult:
        language_model, tokenizer = load_language_model(config.language_model)
        policy = condition(
            language_model,
            [target.text for target in targets],
            encoder=config.terrain_encoder,
            prefix_length=config.prefix_length,
            bands=config.bands,
            unsampleable=unsampleable_ids(tokenizer),
            tokenizer=tokenizer,
            seed=config.seed,
        )
        figures: dict[str, Any] = {
            "terrains": len(targets),
            "programs": len({number for target in targets for number in target.walkers}),
            "expected": float(np.mean([np.mean(target.scores[: config.per_terrain]) for target in targets])),
        }
        chosen = {
            target.text: [[n, s] for n, s in zip(target.walkers, target.scores, strict=True)] for target in targets
        }
        write_json(config.out / TARGETS_FILE, {"figures": figures, "targets": chosen})
        examples = examples_for(policy, tokenizer, targets, programs, config.per_terrain)
        training = train_causal_lm(policy, tokenizer, examples, config.out, config, settings=settings)
        return SupervisedResult(**figures, training=training)

    return done_once(config.out, finished, work)


def examples_for(
    policy: TerrainPolicy,
    tokenizer: PreTrainedTokenizerBase,
    targets: list[Target],
    programs: list[str],
    count: int,
) -> list[Example]:
    """Pairs of prompt and completion: ``count`` of each band of each terrain.

    The programs of a band are repeated to make up that many: a terrain that few walkers move on would else be learnt less
    than the others.
    """
    written: dict[int, list[int]] = {}
    examples: list[Example] = []
    for target in targets:
        for number in target.walkers:
            if number not in written:
                written[number] = [*encode_text(tokenizer, programs[number]), int(tokenizer.eos_token_id or 0)]
        for band in range(max(1, policy.config.bands)):
            prompt = [*policy.prompt_ids(target.text, band), start_id(tokenizer)]
            if walkers := target.walkers[band * count : (band + 1) * count]:
                examples += [(prompt, written[walkers[place % len(walkers)]]) for place in range(count)]
    return examples
