"""Mutation by genetic programming: edits of a program's syntax tree that know what a walker program is.

`operator` draws a commit message and then an edit that fits it. `program_tree` parses and writes programs, `program_lines` does
so line by line and remembers the lines, `program_expressions` finds what one line says and `program_view` what it means in its
program, and the edits are in `constants`, `expressions`, `statements` and `parts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.mutation.gp.operator import GPMutation as GPMutation

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "operator": ["GPMutation"],
    },
)
