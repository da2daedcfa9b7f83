"""From the text of a walker program to a walker within the limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.sandbox import Sandbox, default_sandbox
from sodarace_gym.walkers.walker import WalkerDesign, build_design


class CompiledProgram(str):
    """The text of a program that has been run already, which an Evaluator need not do again.

    Args:
        source: The text.
        design: The walker that :func:`compile_program` got from it.
        repairs: The repairs that it needed, from there too.
    """

    design: WalkerDesign
    repairs: dict[str, int]

    def __new__(cls, source: str, design: WalkerDesign, repairs: Mapping[str, int]) -> Self:
        """A text takes its characters here."""
        program = super().__new__(cls, source)
        program.design, program.repairs = design, dict(repairs)
        return program

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        # Elsewhere it is a text like any other.
        return str, (str(self),)


def compile_program(source: str, sandbox: Sandbox | None = None) -> tuple[WalkerDesign, dict[str, int]]:
    """Runs a walker program in the sandbox and builds the walker it describes.

    The program defines ``make_walker()``, which makes a ``walker_creator()``, calls its ``add_joint(x, y)`` and
    ``add_muscle(a, b, distance_only=True, amplitude=0.0, phase=0.0)`` and returns its ``get_walker()``. Lengths are in
    walker units, phases in radians. The same text always gives the same walker.

    Args:
        source: The program.
        sandbox: Where to run it; by default the sandbox that this process shares.

    Returns:
        The walker, and the number of repairs of each kind that brought it within the limits (see ``build_design``).

    Raises:
        ProgramError: The program cannot be used; its ``kind`` and ``message`` say why and what to change.
    """
    raw = (sandbox or default_sandbox()).run(source)
    return build_design(raw.joints, raw.muscles)


def compile_programs(
    sources: Iterable[str], sandbox: Sandbox | None = None, processes: int | None = None
) -> Iterator[tuple[WalkerDesign, dict[str, int]] | ProgramError]:
    """Does what :func:`compile_program` does for many programs, from one thread that keeps several interpreters busy.

    Args:
        sources: The programs; a stream is read as interpreters become free, a few programs ahead of what is yielded.
        sandbox: Where to run them; by default the sandbox that this process shares.
        processes: Most interpreters to keep busy; None for as many as the sandbox may have.

    Yields:
        For each program, in order, what :func:`compile_program` returns, or the error that it raises.
    """
    for raw in (sandbox or default_sandbox()).run_many(sources, processes):
        if isinstance(raw, ProgramError):
            yield raw
            continue
        try:
            yield build_design(raw.joints, raw.muscles)
        except ProgramError as error:
            yield error
