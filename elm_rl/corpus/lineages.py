"""Holding programs out by lineage: programs that descend from one another look alike.

What still looks like a training program with other numbers in it is dropped from the held-out part: a loss on it then measures
generalisation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elm_rl.corpus.admitted import AdmittedProgram

_NUMBER = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def mask_numbers(program: str) -> str:
    """The program with every number replaced: near twins, which differ in numbers alone, become equal."""
    return _NUMBER.sub("0", program)


def hold_out(
    programs: Sequence[AdmittedProgram],
    history: Sequence[AdmittedProgram],
    share: float,
    seed: int,
    terrains: Sequence[str] = (),
) -> tuple[list[AdmittedProgram], list[AdmittedProgram], dict[str, Any]]:
    """Splits the programs by lineage.

    A lineage is a root (a child of a seed) with its descendants. Should the lineages be too few or too uneven to give
    a held-out part of half the wanted size, the split goes down to the descendants of a program of a later generation.

    Args:
        programs: The distinct programs to split.
        history: All admitted programs, which connect ``programs`` to their ancestors.
        share: Share of ``programs`` to hold out.
        seed: Seed of the choice.
        terrains: Whatever was scored on these is held out too.

    Returns:
        The training programs, the held-out ones, and figures: ``lineages`` in all, ``held_out_lineages``,
        ``lineage_generation`` (1 for children of a seed) and ``near_twins_dropped``. The held-out part is empty when
        ``share`` is 0 or everything in it has a near twin in training.
    """
    target = round(share * len(programs))
    if share > 0:
        target = max(target, 1)
    best: tuple[int, list[int], set[int]] = (1, _lineages(programs, history, 1), set())
    held_size = 0
    for generation in range(1, 9):
        labels = _lineages(programs, history, generation)
        chosen = _choose_lineages(labels, target, seed)
        size = sum(label in chosen for label in labels)
        if size > held_size:
            best, held_size = (generation, labels, chosen), size
        if 2 * held_size >= target:
            break
    generation, labels, chosen = best
    labelled = [replace(program, lineage=label) for program, label in zip(programs, labels, strict=True)]
    train = [program for program in labelled if program.lineage not in chosen and program.terrain not in terrains]
    twins = {mask_numbers(program.program) for program in train}
    candidates = [program for program in labelled if program.lineage in chosen or program.terrain in terrains]
    held_out = [program for program in candidates if mask_numbers(program.program) not in twins]
    figures = {
        "lineages": len(set(labels)),
        "held_out_lineages": len({program.lineage for program in held_out}),
        "lineage_generation": generation,
        "near_twins_dropped": len(candidates) - len(held_out),
    }
    return train, held_out, figures


def _lineages(programs: Sequence[AdmittedProgram], history: Sequence[AdmittedProgram], generation: int) -> list[int]:
    """Lineage index of every program, where lineages start at ``generation`` (seeds are 0, their children 1).

    Lineages of different runs that reached the same text are one: they go on through the same programs.
    """
    roots: dict[tuple[int, int], tuple[int, int]] = {}
    ages: dict[tuple[int, int], int] = {}
    for program in history:  # parents are admitted before their children
        key, parent = (program.run, program.id), (program.run, program.parent)
        ages[key] = ages[parent] + 1 if parent in ages else 0
        if generation == 1:
            roots[key] = (program.run, program.lineage)
        else:
            roots[key] = roots[parent] if ages[key] > generation else key
    index = {root: number for number, root in enumerate(dict.fromkeys(roots.values()))}
    joined = list(range(len(index)))

    def representative(label: int) -> int:
        while joined[label] != label:
            label = joined[label]
        return label

    first: dict[str, int] = {}
    for program in history:
        key = (program.run, program.id)
        # Every run starts from the same seeds; joining through these would join everything.
        if ages[key] > 0:
            label = representative(index[roots[key]])
            joined[label] = representative(first.setdefault(program.program, label))
    return [representative(index[roots[program.run, program.id]]) for program in programs]


def _choose_lineages(labels: Sequence[int], target: int, seed: int) -> set[int]:
    """Draws lineages until ``target`` programs are chosen, none of which makes up more than half of it."""
    sizes = Counter(labels)
    chosen: set[int] = set()
    total = 0
    for label in np.random.default_rng(seed).permutation(sorted(sizes)).tolist():
        if total >= target:
            break
        if sizes[label] <= max(1, target / 2):
            chosen.add(label)
            total += sizes[label]
    return chosen
