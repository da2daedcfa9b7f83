"""The supervised start: a policy learns to write, for each terrain, the walkers of a cross table that are best there.

A policy gradient rewards what the policy happens to try. A stage 2 model hardly ever writes a walker that only suits a tunnel,
and then the easy way to more reward is one good walker for all terrains. So the policy is first shown what is known to suit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from elm_rl.corpus.cross_table import TABLE_FILE, CrossTable, CrossTableConfig, load_cross_table
from elm_rl.errors import ConfigError, ElmError
from elm_rl.inventor.encoder_lesson import choice_kept, drawn_kinds, kinds_of, teach_encoder
from elm_rl.inventor.siblings import load_siblings
from elm_rl.inventor.targets import Target, TargetConfig, choose_targets
from elm_rl.models.conditioning import DEFAULT_PREFIX_LENGTH, TerrainPolicy, condition
from elm_rl.models.conditioning.encoders import LookingEncoder
from elm_rl.models.language_model import load_language_model, weights_digest
from elm_rl.models.supervised_training import Example, TrainConfig, TrainResult, load_finished, train_causal_lm
from elm_rl.models.tokenizer import encode_text, start_id, unsampleable_ids
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.processes import done_once
from elm_rl.runs.run_directory import read_json, write_json

TARGETS_FILE = "targets.json"

# A run directory may move.
_NOT_COMPARED = ("cross_table", "language_model", "siblings", "out")


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(TargetConfig, TrainConfig):
    """Settings of ``elm-rl supervised``."""

    cross_table: Path
    """Folder of a table that 'elm-rl cross-table' has written."""
    language_model: Path
    """Folder of the stage 2 model, or of any causal language model."""
    out: Path
    """Folder for the policy, its metrics and its figures. A finished one with the same settings is reused."""
    siblings: Path | None = None
    """Folder of 'elm-rl siblings': only its walkers are learnt, and each time one of the siblings stands for a walker, so that
    the policy learns kinds of walkers and not texts."""
    siblings_each: int = 0
    """Of the siblings of a walker only so many are learnt, those that go furthest beside it. Fewer are learnt better: on a
    terrain whose four walkers had 1,254 siblings samples went 59 units, with 32 each 68 (Tunnel, one seed). 0 for all."""
    terrain_encoder: Literal["codes", "profile", "image", "text"] = "profile"
    """How the policy is told the terrain: learned codes for each of the table's; or, so that it takes terrains it never saw, a
    network over its profile or image, or its heights as text."""
    prefix_length: int = DEFAULT_PREFIX_LENGTH
    """Embeddings in front of a program; a text takes as many as it needs."""
    lesson_steps: int = 4000
    """Steps in which the network of a profile or image encoder first learns, alone, which walkers suit which terrain; 0 for
    none."""
    learning_rate: float = 2e-3
    """Peak of the learning rate, which warms up linearly and falls along a cosine."""
    max_epochs: float = 40.0
    """Passes over the examples, unless the time is up first. Many are needed: a program must be learnt by heart before a model
    writes it well."""

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
        if self.siblings is not None and self.portfolio:
            raise ConfigError("The siblings say which walkers are learnt; leave out portfolio.")
        if self.siblings_each < 0:
            raise ConfigError(f"siblings_each is {self.siblings_each}; expected 1 or more, or 0 for all siblings.")
        if self.siblings_each and self.siblings is None:
            raise ConfigError("siblings_each chooses among siblings; name their folder (siblings), or leave it out.")
        if self.lesson_steps < 0:
            raise ConfigError(f"lesson_steps is {self.lesson_steps}; expected 0 or more.")
        if self.prefix_length < 1:
            raise ConfigError(f"prefix_length is {self.prefix_length}; expected 1 or more.")


@dataclass(frozen=True)
class SupervisedResult:
    """Figures of a finished supervised start.

    Attributes:
        lesson: Loss of the encoder at the end of its first lesson, in nats; None without one.
        terrains: Terrains learnt.
        programs: Different walkers of the table among the targets.
        expected: Mean over the terrains of what is expected of their targets, walker units.
        training: Figures of the training.
    """

    lesson: float | None
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
    settings["cross_table"] = table.digest()
    if config.labelled:
        settings["labelled_from"] = {"families": list(made.families), "most_difficult": made.most_difficult}
    texts = {number: [walker.program] for number, walker in enumerate(table.walkers)}
    settings["siblings"] = None
    if config.siblings is not None:
        texts = _texts(config.siblings, table, config.siblings_each)
        settings["siblings"] = _digest(texts)
    only = None if config.siblings is None else list(texts)
    targets = choose_targets(table, config, made.distribution(), config.seed, only)

    def finished() -> SupervisedResult | None:
        training = load_finished(config.out, settings)
        if training is None:
            return None
        return SupervisedResult(**read_json(config.out / TARGETS_FILE)["figures"], training=training)

    def work() -> SupervisedResult:
        language_model, tokenizer = load_language_model(config.language_model)
        kinds = kinds_of(targets, config.per_terrain)
        policy = condition(
            language_model,
            [target.text for target in targets],
            encoder=config.terrain_encoder,
            prefix_length=config.prefix_length,
            kinds=len(kinds),
            bands=config.bands,
            unsampleable=unsampleable_ids(tokenizer),
            tokenizer=tokenizer,
            seed=config.seed,
        )
        rng = np.random.default_rng([config.seed, 4])
        lesson, learnt = None, targets
        if taught := isinstance(policy.encoder, LookingEncoder) and config.lesson_steps > 0:
            lesson = teach_encoder(
                policy, targets, kinds, config.per_terrain, steps=config.lesson_steps, seed=config.seed
            )
            learnt = chosen_targets(policy, targets, kinds, config.per_terrain, rng)
        figures: dict[str, Any] = {
            "lesson": lesson,
            "terrains": len(targets),
            "programs": len({number for target in targets for number in target.walkers}),
            "expected": float(np.mean([np.mean(target.scores[: config.per_terrain]) for target in targets])),
        }
        chosen = {
            target.text: [[n, s] for n, s in zip(target.walkers, target.scores, strict=True)] for target in targets
        }
        write_json(config.out / TARGETS_FILE, {"figures": figures, "targets": chosen})
        examples = examples_for(policy, tokenizer, learnt, texts, config.per_terrain, rng)
        with choice_kept(policy) if taught else nullcontext():
            training = train_causal_lm(
                policy, tokenizer, examples, config.out, config, settings=settings, by_length=False
            )
        return SupervisedResult(**figures, training=training)

    return done_once(config.out, finished, work)


def examples_for(
    policy: TerrainPolicy,
    tokenizer: PreTrainedTokenizerBase,
    targets: list[Target],
    texts: Mapping[int, Sequence[str]],
    count: int,
    rng: np.random.Generator,
) -> list[Example]:
    """Pairs of prompt and completion: ``count`` of each band of each terrain.

    The programs of a band are repeated to make up that many: a terrain that few walkers move on would else be learnt less
    than the others. Where several texts stand for a walker, one of them is drawn each time.
    """
    written: dict[str, list[int]] = {}

    def completion(number: int) -> list[int]:
        choices = texts[number]
        text = choices[int(rng.integers(len(choices)))]
        if text not in written:
            written[text] = [*encode_text(tokenizer, text), int(tokenizer.eos_token_id or 0)]
        return written[text]

    examples: list[Example] = []
    for target in targets:
        for band in range(max(1, policy.config.bands)):
            prompt = [*policy.prompt_ids(target.text, band), start_id(tokenizer)]
            if walkers := target.walkers[band * count : (band + 1) * count]:
                examples += [(prompt, completion(walkers[place % len(walkers)])) for place in range(count)]
    return examples


def chosen_targets(
    policy: TerrainPolicy, targets: Sequence[Target], kinds: Sequence[int], count: int, rng: np.random.Generator
) -> list[Target]:
    """The same targets with, in the place of the first band, walkers that a taught encoder chooses.

    What the language model is shown for a terrain is then what it is told of it.
    """
    drawn = drawn_kinds(policy, targets, count, rng)
    return [
        replace(target, walkers=[*(kinds[kind] for kind in row), *target.walkers[count:]])
        for target, row in zip(targets, drawn.tolist(), strict=True)
    ]


def _digest(texts: Mapping[int, Sequence[str]]) -> str:
    """What tells siblings apart."""
    every = "\0".join(text for number in texts for text in texts[number])
    return blake2b(every.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _texts(folder: Path, table: CrossTable, most: int) -> dict[int, list[str]]:
    """What may be written for each walker that has siblings: itself and the best of them, ``most`` in all unless that is 0.

    Raises:
        ElmError: The folder holds no siblings, or those of another table's walkers.
    """
    found = load_siblings(folder)
    for number, siblings in found.items():
        if number >= len(table.walkers) or table.walkers[number].program != siblings[0].program:
            raise ElmError(
                f"The siblings in '{folder}' are those of another cross table's walkers; make them again from this one."
            )
    texts = {}
    for number, (itself, *others) in found.items():
        if most:
            others = sorted(others, key=lambda sibling: -sibling.share)[: most - 1]
        texts[number] = [itself.program, *(sibling.program for sibling in others)]
    return texts
