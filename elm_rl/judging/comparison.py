"""Does conditioning work? Generators side by side on every terrain, each judged by the same number of fresh samples.

Nothing here was used to choose a model: samples are drawn anew with a seed of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elm_rl.corpus.corpus import TRAIN, load_corpus
from elm_rl.corpus.cross_table import WALKERS_FILE, CrossTable
from elm_rl.judging.terrain_matrix import diagonal_support, is_conditional
from elm_rl.judging.terrain_scores import Known, TerrainScore, score_programs
from elm_rl.models.conditioning import prompts_of
from elm_rl.models.sampling import sample_completions
from elm_rl.models.tokenizer import decode_program, start_id
from sodarace_gym.evaluation import Evaluation, Evaluator

BLIND = ("corpus", "stage2")
"""Generators that know no terrain: the same programs stand for every terrain, and a matrix would say nothing."""


def sample_blind(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    terrains: Sequence[str],
    count: int,
    max_new_tokens: int,
    seed: int,
) -> dict[str, list[str]]:
    """Programs of a model that knows no terrain: the same ones stand for every terrain."""
    programs = _sample(model, tokenizer, [[start_id(tokenizer)]] * count, max_new_tokens, seed)
    return {name: list(programs) for name in terrains}


def sample_conditioned(
    policy: Any,
    tokenizer: PreTrainedTokenizerBase,
    terrains: Sequence[str],
    count: int,
    max_new_tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> dict[str, list[str]]:
    """Programs of a conditioned policy, as many for each terrain asked for; at temperature 1 as it was trained."""
    prompts = prompts_of(policy, tokenizer, [name for name in terrains for _ in range(count)])
    programs = _sample(policy, tokenizer, prompts, max_new_tokens, seed, temperature)
    return {name: programs[row * count : (row + 1) * count] for row, name in enumerate(terrains)}


def _sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> list[str]:
    completions = sample_completions(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed
    )
    return [decode_program(tokenizer, ids) for ids in completions]


def known_of(corpus: Path, table: CrossTable, siblings: Path | None = None) -> Known:
    """What a model may have been shown that learnt from a corpus, a cross table and perhaps siblings of its walkers.

    All siblings count, also where only the best of them were learnt (`SupervisedConfig.siblings_each`).
    """
    columns = load_corpus(corpus)[TRAIN]
    programs = [*columns["program"], *(walker.program for walker in table.walkers)]
    designs = [*columns["design"], *(walker.design for walker in table.walkers)]
    if siblings is not None:
        rows = pq.read_table(siblings / WALKERS_FILE)
        programs += rows["program"].to_pylist()
        designs += rows["design"].to_pylist()
    return Known.of(programs, [design for design in designs if design is not None])


def compare(
    generators: Mapping[str, Mapping[str, Sequence[str]]],
    terrains: Sequence[str],
    evaluator: Evaluator,
    known: Known,
    robustness: int = 2,
) -> dict[str, Any]:
    """Rolls out every generator's programs and tells how it does on each terrain.

    What counts is the least distance of a walker and its perturbed copies.

    Args:
        generators: Programs of each generator by the terrain they were asked for; those of `BLIND` have no matrix.
        terrains: The terrains, in order.
        evaluator: Scores programs.
        known: What copies are told by.
        robustness: Perturbed copies of each walker.

    Returns:
        ``terrains``; ``generators``: name -> terrain -> ``mean`` (of the least distances, what is no walker counting 0),
        ``plain`` (the mean as simulated), ``best``, ``valid_percent``, ``distinct`` (walkers), ``copies_percent`` (of known
        walkers), ``novel`` (the mean of what is neither that nor known but for its numbers) and ``samples``; ``matrices``:
        name -> rows (asked for) of columns (walked on), mean least distance; ``best_programs``: stage 3's best program and its
        distance on each terrain; ``conditional``: name -> whether on every terrain the programs asked for it are the best;
        ``conditional_support_percent``: name -> in how many bootstrap resamplings of the programs this holds.
    """
    figures: dict[str, dict[str, dict[str, float | None]]] = {}
    matrices: dict[str, list[list[float]]] = {}
    support: dict[str, float] = {}
    best: dict[str, dict[str, Any]] = {}
    for name, by_terrain in generators.items():
        blind = name in BLIND
        asked = terrains[:1] if blind else terrains
        scored = {
            row: [evaluator.evaluate(list(by_terrain[row]), terrain, robustness=robustness) for terrain in terrains]
            for row in asked
        }
        figures[name] = {
            terrain: _figures(
                score_programs(by_terrain[terrain], scored[terrains[0] if blind else terrain][column], known)
            )
            for column, terrain in enumerate(terrains)
        }
        if name == "stage3":
            best = {
                terrain: _best(by_terrain[terrain], scored[terrain][column]) for column, terrain in enumerate(terrains)
            }
        if not blind:
            distances = [np.array([[each.score for each in column] for column in scored[row]]) for row in terrains]
            matrices[name] = [[float(mean) for mean in row.mean(axis=1)] for row in distances]
            support[name] = diagonal_support(distances)
    return {
        "terrains": list(terrains),
        "generators": figures,
        "matrices": matrices,
        "best_programs": best,
        "conditional": {name: is_conditional(np.array(matrix)) for name, matrix in matrices.items()},
        "conditional_support_percent": support,
    }


def _figures(score: TerrainScore) -> dict[str, float | None]:
    return {
        "mean": score.mean,
        "plain": score.plain,
        "best": score.best,
        "valid_percent": 100.0 * score.valid,
        "distinct": score.designs,
        "copies_percent": 100.0 * score.copies,
        "novel": score.novel if np.isfinite(score.novel) else None,
        "samples": score.samples,
    }


def _best(programs: Sequence[str], scored: Sequence[Evaluation]) -> dict[str, Any]:
    index = int(np.argmax([each.score for each in scored]))
    return {"program": programs[index], "distance": scored[index].fitness}
