"""Mutation by genetic programming that knows Python and nothing of what a program is about.

`operator` draws edits or crossovers. The edits are in `expressions` and `statements`, `crossover` takes parts of one program
into another, and `growth` makes what is new. Programs are read and written by :mod:`elm_rl.mutation.gp`, of whose view only
the places, the names in reach and which of these are functions are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.mutation.gp_blind.operator import GPBlindMutation as GPBlindMutation
    from elm_rl.mutation.gp_blind.operator import GPBlindOptions as GPBlindOptions

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "operator": ["GPBlindMutation", "GPBlindOptions"],
    },
)
