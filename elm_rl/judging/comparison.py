"""Does conditioning work? Generators side by side on every terrain, each judged by the same number of fresh samples.

Nothing here was used to choose a model: samples are drawn anew with a seed of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elm_rl.judging.rollouts import ProgramEvaluator, Scored, rollouts
from elm_rl.judging.terrain_matrix import diagonal_support, is_conditional
from elm_rl.models.sampling import sample_completions
from elm_rl.models.tokenizer import decode_program, start_id

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
) -> dict[str, list[str]]:
    """Programs of a conditioned policy, as many for each terrain asked for."""
    prompts = [[*policy.prompt_ids(name), start_id(tokenizer)] for name in terrains for _ in range(count)]
    programs = _sample(policy, tokenizer, prompts, max_new_tokens, seed)
    return {name: programs[row * count : (row + 1) * count] for row, name in enumerate(terrains)}


def _sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    seed: int,
) -> list[str]:
    # Temperature 1: the policy as PPO trained it.
    completions = sample_completions(model, tokenizer, prompts, max_new_tokens=max_new_tokens, seed=seed)
    return [decode_program(tokenizer, ids) for ids in completions]


def compare(
    generators: Mapping[str, Mapping[str, Sequence[str]]], terrains: Sequence[str], evaluator: ProgramEvaluator
) -> dict[str, Any]:
    """Rolls out every generator's programs and tells how it does on each terrain.

    Args:
        generators: Programs of each generator by the terrain they were asked for; those of `BLIND` have no matrix.
        terrains: The terrains, in order.
        evaluator: Scores programs.

    Returns:
        ``terrains``; ``generators``: name -> terrain -> ``mean`` (distance, invalid programs counting 0), ``best``,
        ``valid_percent``, ``distinct`` and ``samples``; ``matrices``: name -> rows (asked for) of columns (walked on), mean
        distance; ``best_programs``: stage 3's best program and its distance on each terrain; ``conditional``: name ->
        whether on every terrain the programs asked for it are the best; ``conditional_support_percent``: name -> in how
        many bootstrap resamplings of the programs this holds.
    """
    figures: dict[str, dict[str, dict[str, float]]] = {}
    matrices: dict[str, list[list[float]]] = {}
    support: dict[str, float] = {}
    best: dict[str, dict[str, Any]] = {}
    for name, by_terrain in generators.items():
        blind = name in BLIND
        asked = terrains[:1] if blind else terrains
        scored = {row: rollouts(evaluator, by_terrain[row], terrains) for row in asked}
        figures[name] = {
            terrain: _figures(by_terrain[terrain], scored[terrains[0] if blind else terrain][column])
            for column, terrain in enumerate(terrains)
        }
        if name == "stage3":
            best = {
                terrain: _best(by_terrain[terrain], scored[terrain][column]) for column, terrain in enumerate(terrains)
            }
        if not blind:
            distances = [np.array([_distances(column) for column in scored[row]]) for row in terrains]
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


def _distances(scored: Sequence[Scored]) -> list[float]:
    return [evaluation.fitness if evaluation.valid else 0.0 for evaluation in scored]


def _figures(programs: Sequence[str], scored: Sequence[Scored]) -> dict[str, float]:
    distances = _distances(scored)
    return {
        "mean": float(np.mean(distances)),
        "best": max(distances),
        "valid_percent": 100.0 * float(np.mean([evaluation.valid for evaluation in scored])),
        "distinct": len(set(programs)),
        "samples": len(programs),
    }


def _best(programs: Sequence[str], scored: Sequence[Scored]) -> dict[str, Any]:
    distances = _distances(scored)
    index = int(np.argmax(distances))
    return {"program": programs[index], "distance": distances[index]}
