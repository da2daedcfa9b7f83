"""Samples that are no copies: each is changed by genetic programming until its walker and its program are new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from elm_rl.corpus.lineages import mask_numbers
from elm_rl.judging.terrain_scores import Known
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import parents_of
from sodarace_gym.errors import ProgramError
from sodarace_gym.physics.robustness import design_digest
from sodarace_gym.programs.program import compile_programs

TRIES = 8
"""Children of a sample, of which the first that is new is taken; its own text where none is."""


def edited(written: Mapping[str, Sequence[str]], known: Known, seed: int) -> dict[str, list[str]]:
    """A new child of each program; one that is new already stays as it is. Programs are run and not rolled out.

    Args:
        written: Programs by terrain.
        known: What counts as known: a walker, or a program but for its numbers.
        seed: Seed of the changes.
    """
    found = {}
    operator = GPMutation()
    rng = np.random.default_rng(seed)
    for text, programs in written.items():
        found[text] = [
            next((each for each in [program, *_children(operator, program, rng)] if is_new(each, known)), program)
            for program in programs
        ]
    return found


def _children(operator: GPMutation, program: str, rng: np.random.Generator) -> list[str]:
    return [child.program for child in operator.mutate(parents_of([program] * TRIES), rng) if child.program is not None]


def is_new(program: str, known: Known) -> bool:
    """Whether a program builds a walker, and neither it nor the program is known."""
    (built,) = compile_programs([program])
    if isinstance(built, ProgramError) or mask_numbers(program) in known.masked:
        return False
    return design_digest(built[0]) not in known.designs
