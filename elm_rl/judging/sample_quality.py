"""How good and how diverse the programs of a model are.

Quality and diversity are measured as in Lehman et al. 2022: samples are dropped into an empty archive, and the niches
they fill and the QD score they reach are compared with those of as many programs of the corpus. Whether a model heeds the
terrain it is asked for is a question for `elm_rl.judging.comparison`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elm_rl.corpus.corpus import TRAIN, load_corpus
from elm_rl.corpus.descriptions import Description
from elm_rl.errors import ConfigError
from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.models.conditioning.policy import TerrainPolicy
from elm_rl.models.language_model import load_language_model
from elm_rl.models.sampling import sample_completions
from elm_rl.models.tokenizer import decode_program, encode_text, start_id
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import read_text, write_json
from elm_rl.runs.run_lock import file_lock
from elm_rl.runs.setting_checks import named_terrain
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.terrains.texts import terrain_from_text


class ProgramEvaluator(Protocol):
    """The part of `sodarace_gym.evaluation.Evaluator` that is needed here."""

    def evaluate(self, programs: Sequence[str], terrain: Terrain | str) -> list[Evaluation]:
        """One evaluation per program, in order; a bad program gives an evaluation with an error."""
        ...


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Settings of ``elm-rl sample``."""

    model: str
    """Model folder that 'elm-rl pretrain' or 'elm-rl finetune' has written, or a hub name."""
    count: int = 3
    """Programs to write."""
    terrain: str | None = None
    """Terrain to ask a terrain-conditioned model for, as in Hills,difficulty=0.7,seed=3, or a JSON file of a terrain, and to
    measure on; Flat for other models."""
    order: str | None = None
    """What the walker is to be like, as in height=12,width=8,mass=40,distance=100, for a model that was trained with --describe
    ahead."""
    complete: Path | None = None
    """File with the beginning of a program, which the model goes on with."""
    temperature: float = 1.0
    """Below 1 the model plays safe: more valid programs, fewer different ones. 0 takes the likeliest token."""
    top_p: float = 1.0
    """Sample from the likeliest tokens whose probabilities first reach this sum."""
    max_new_tokens: int = 256
    """Cut a program there if it has not ended."""
    batch_size: int = 64
    """Programs written side by side."""
    seed: int = 0
    """The same seed gives the same programs."""
    measure: bool = False
    """Roll the programs out and print how many are valid, niches, QD score and distances instead of the programs."""
    corpus: Path | None = None
    """With --measure: corpus folder, to count copies of its programs and to measure as many programs of it."""
    out: Path | None = None
    """File to write the programs and figures to, as JSON."""
    duration: float = 10.0
    """With --measure: simulated seconds a walker is scored for."""
    n_jobs: int = -1
    """With --measure: threads that evaluate; -1 for one a core."""

    def __post_init__(self) -> None:
        take_paths(self)
        for name in ("count", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        if not 0 <= self.temperature < math.inf or not 0 < self.top_p <= 1:
            raise ConfigError(
                f"temperature is {self.temperature} and top_p {self.top_p}; expected 0 or more, and above 0 up to 1."
            )
        if self.terrain is not None:
            named_terrain(self.terrain)
        if self.order is not None and self.complete is not None:
            raise ConfigError("order and complete both say how a program begins; leave out one.")
        if self.order is not None:
            Description.ordered(self.order)
        if self.corpus is not None and not self.measure:
            raise ConfigError("corpus is only used with measure; add --measure, or leave --corpus out.")
        if not 0 < self.duration < math.inf or self.n_jobs == 0 or self.n_jobs < -1:
            raise ConfigError(
                f"duration is {self.duration} and n_jobs {self.n_jobs}; expected more than 0 simulated seconds, and -1 "
                "(one thread a core) or 1 or more."
            )


@dataclass(frozen=True)
class SampleQuality:
    """Figures of a set of programs on one terrain. Programs that fail count in every mean, with distance 0.

    Attributes:
        count: Programs in the set.
        valid_percent: Share that made a walker which could be scored.
        distinct_percent: Share of different texts.
        copies_percent: Share whose text is in the training set; None when no training set was given.
        niches: Niches of an empty archive that the set fills.
        qd_score: Sum of the best distance in each of these.
        mean_fitness: Mean distance, in walker units.
        best_fitness: Longest distance, in walker units.
        best_program: The program that covered it; None when none is valid.
        errors: How often each kind of error occurred.
    """

    count: int
    valid_percent: float
    distinct_percent: float
    copies_percent: float | None
    niches: int
    qd_score: float
    mean_fitness: float
    best_fitness: float
    best_program: str | None
    errors: dict[str, int]


def run_sample(config: SampleConfig) -> dict[str, Any]:
    """Samples programs and prints them, or their figures.

    Returns:
        The programs, and with ``measure`` the figures of the model's and of the corpus programs, as written to ``out``.

    Raises:
        ElmError: The model or the corpus cannot be read, the model does not know the terrain, another process writes
            to ``out``, or the disk is full.
    """
    begin = "" if config.order is None else Description.ordered(config.order).line
    if config.complete is not None:
        begin = read_text(config.complete, "The beginning of a program")
    model, tokenizer = load_language_model(config.model)
    with nullcontext() if config.out is None else file_lock(config.out):
        return _sample_and_write(config, model, tokenizer, begin)


def _sample_and_write(
    config: SampleConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, begin: str
) -> dict[str, Any]:
    programs = sample_programs(
        model,
        tokenizer,
        config.count,
        temperature=config.temperature,
        top_p=config.top_p,
        seed=config.seed,
        max_new_tokens=config.max_new_tokens,
        prefix_ids=terrain_prefix(model, config.terrain, required=not config.measure),
        begin=begin,
        batch_size=config.batch_size,
    )
    result: dict[str, Any] = {"config": asdict(config), "programs": programs}
    if config.measure:
        terrain = config.terrain or "Flat"
        training = None if config.corpus is None else list(load_corpus(config.corpus)[TRAIN]["program"])
        with Evaluator(n_jobs=config.n_jobs, duration=config.duration) as evaluator:
            figures = _compare_with_corpus(programs, training, evaluator, terrain_from_text(terrain), config.seed)
        result |= figures
        shown = [_table(figures, terrain)]
    else:
        numbered = enumerate(programs, start=1)
        shown = [f"# program {number} of {len(programs)}\n{program.rstrip()}\n" for number, program in numbered]
    if config.out is not None:  # first, as whoever reads what is printed may stop reading
        write_json(config.out, result)
    print("\n".join(shown))
    return result


def measure_quality(
    model_folder: Path | str,
    corpus_folder: Path,
    n: int,
    evaluator: ProgramEvaluator,
    *,
    terrain: str = "Flat",
    temperature: float = 1.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures ``n`` samples of an unconditioned model against ``n`` programs of its corpus.

    Returns:
        The fields of `SampleQuality` for ``model`` (the samples) and for ``corpus``.

    Raises:
        ElmError: The model or the corpus cannot be read.
    """
    model, tokenizer = load_language_model(model_folder)
    training = list(load_corpus(corpus_folder)[TRAIN]["program"])
    programs = sample_programs(model, tokenizer, n, temperature=temperature, seed=seed)
    return _compare_with_corpus(programs, training, evaluator, terrain, seed)


def _compare_with_corpus(
    programs: Sequence[str],
    training: Sequence[str] | None,
    evaluator: ProgramEvaluator,
    terrain: Terrain | str,
    seed: int,
) -> dict[str, Any]:
    """Figures of the ``model`` programs and, with a training set, of as many programs of the ``corpus``."""
    figures = {"model": asdict(measure_programs(programs, evaluator, terrain, training))}
    if training:
        chosen = draw_programs(training, len(programs), seed)
        figures["corpus"] = asdict(measure_programs(chosen, evaluator, terrain))
    return figures


def terrain_prefix(model: PreTrainedModel, terrain: str | None, *, required: bool = True) -> list[int] | None:
    """Ids that ask a model for a terrain, for `sample_programs`.

    Args:
        model: Any language model.
        terrain: The terrain; None asks an unconditioned model for nothing.
        required: Refuse to ask an unconditioned model for a terrain, instead of returning None.

    Raises:
        ConfigError: A conditioned model needs a terrain, or another one than was given; or the model takes none.
    """
    if isinstance(model, TerrainPolicy):
        if terrain is None:
            known = ", ".join(model.book.texts) or "any family's, with settings behind commas, or a file's"
            raise ConfigError(f"This model writes for a terrain; name one with --terrain: {known}.")
        return model.prompt_ids(terrain)
    if terrain is not None and required:
        raise ConfigError(f"This model was not trained to heed a terrain; leave out --terrain {terrain}.")
    return None


def sample_programs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    n: int,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    max_new_tokens: int = 256,
    prefix_ids: Sequence[int] | None = None,
    begin: str = "",
    batch_size: int = 64,
) -> list[str]:
    """Samples programs; sample ``i`` depends on ``seed`` and ``i``, and not on ``n`` or ``batch_size``.

    Args:
        model: A language model.
        tokenizer: Its tokenizer.
        n: Programs to sample.
        temperature: Divides the logits; 0 always takes the likeliest token.
        top_p: Samples from the likeliest tokens whose probabilities first reach this sum.
        seed: Seed of all random choices.
        max_new_tokens: Tokens after which a program is cut.
        prefix_ids: Ids in front of ``<bos>`` (see `terrain_prefix`).
        begin: What all programs begin with; best whole lines, as a token may reach over their end.
        batch_size: Programs written side by side.

    Returns:
        ``n`` program texts, valid or not.
    """
    prompt = [*(prefix_ids or ()), start_id(tokenizer), *encode_text(tokenizer, begin)]
    completions = sample_completions(
        model,
        tokenizer,
        [prompt] * n,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        batch_size=batch_size,
    )
    return [begin + decode_program(tokenizer, completion) for completion in completions]


def draw_programs(programs: Sequence[str], n: int, seed: int) -> list[str]:
    """Draws ``n`` of the programs without replacement, or with it when there are fewer than ``n``."""
    chosen = np.random.default_rng(seed).choice(len(programs), size=n, replace=n > len(programs))
    return [programs[index] for index in chosen]


def measure_programs(
    programs: Sequence[str],
    evaluator: ProgramEvaluator,
    terrain: Terrain | str = "Flat",
    training: Collection[str] | None = None,
) -> SampleQuality:
    """Rolls programs out and measures them; see `quality_of`."""
    return quality_of(programs, evaluator.evaluate(programs, terrain), training)


def quality_of(
    programs: Sequence[str], evaluations: Sequence[Evaluation], training: Collection[str] | None = None
) -> SampleQuality:
    """Measures programs that have been rolled out.

    Args:
        programs: The programs, at least one.
        evaluations: What became of each, in the same order.
        training: The programs the model was trained on, to count copies.

    Raises:
        ValueError: There are no programs, or not one evaluation for each.
    """
    if not programs or len(programs) != len(evaluations):
        raise ValueError(f"expected an evaluation for each program, got {len(evaluations)} for {len(programs)}")
    valid = [(p, e) for p, e in zip(programs, evaluations, strict=True) if e.valid]
    spec = ArchiveSpec()
    archive = spec.make()
    for number, (program, evaluation) in enumerate(valid):
        measures = list(spec.measure(evaluation).values())
        archive.add_single(program, evaluation.fitness, measures, id=number)
    best = max(valid, key=lambda pair: pair[1].fitness, default=None)
    known = None if training is None else set(training)
    return SampleQuality(
        count=len(programs),
        valid_percent=_percent(len(valid), len(programs)),
        distinct_percent=_percent(len(set(programs)), len(programs)),
        copies_percent=None if known is None else _percent(sum(p in known for p in programs), len(programs)),
        niches=len(archive),
        # fsum is exact, so the figures do not depend on the order of the programs.
        qd_score=math.fsum(archive.data("objective").tolist()),
        mean_fitness=math.fsum(evaluation.fitness for _, evaluation in valid) / len(programs),
        best_fitness=best[1].fitness if best else 0.0,
        best_program=best[0] if best else None,
        errors=dict(sorted(Counter(e.error.kind for e in evaluations if e.error is not None).items())),
    )


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole


def _table(figures: Mapping[str, Mapping[str, Any]], terrain: str) -> str:
    """The figures of each set of programs side by side, one row a figure."""
    first = next(iter(figures.values()))
    lines = [f"{'on ' + terrain:18}" + "".join(f"{name:>12}" for name in figures)]
    for row in first:
        if row not in ("best_program", "errors"):
            cells = ["-" if column[row] is None else f"{column[row]:.4g}" for column in figures.values()]
            lines.append(f"{row.replace('_', ' '):18}" + "".join(f"{cell:>12}" for cell in cells))
    errors = ", ".join(f"{kind} {count}" for kind, count in first["errors"].items())
    return "\n".join([*lines, f"errors of the model: {errors or 'none'}"])
