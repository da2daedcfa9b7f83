"""Source text becomes a walker: untrusted programs stop here.

`program` is the way in: text, :class:`~sodarace_gym.programs.sandbox.Sandbox`, repairs and limits, walker. `sandbox` checks the
text and finds the process's `worker_pool`, which shares out `interpreter` processes; what is said to those is in
`interpreter_messages`. `prelude` is what programs find defined, `sandbox_library` the part of it that a program is given on
demand (`np`, the grid), `imports` and `inplace` rewrite a program's text for it, and `verdicts` turns what went wrong into one
of the named errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from sodarace_gym.programs.program import CompiledProgram as CompiledProgram
    from sodarace_gym.programs.program import compile_program as compile_program
    from sodarace_gym.programs.program import compile_programs as compile_programs
    from sodarace_gym.programs.sandbox import MAX_SOURCE_BYTES as MAX_SOURCE_BYTES
    from sodarace_gym.programs.sandbox import Sandbox as Sandbox
    from sodarace_gym.programs.sandbox import default_sandbox as default_sandbox
    from sodarace_gym.programs.sandbox import run_program as run_program

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "program": ["CompiledProgram", "compile_program", "compile_programs"],
        "sandbox": ["MAX_SOURCE_BYTES", "Sandbox", "default_sandbox", "run_program"],
    },
)
