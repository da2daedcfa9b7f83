"""The one exception a bad walker program raises, and the closed set of reasons it may give."""

from __future__ import annotations

ERROR_KINDS: dict[str, str] = {
    # What the text is.
    "source_too_long": "the program text is longer than the sandbox accepts",
    "not_text": "the program is not clean text: no string, or one with NUL characters or invalid Unicode",
    "syntax_error": "the program does not parse, or uses Python the sandbox does not have",
    "forbidden_token": "there is no program: a token of the walker's word may not stand where it was written",
    # What it does when it runs.
    "unknown_name": "the program uses a name, module or system call that walker programs do not have",
    "runtime_error": "the program raised an exception",
    "time_limit": "the program ran for too long",
    "memory_limit": "the program used too much memory or printed too much",
    "recursion_limit": "the program's calls were nested too deeply",
    "no_make_walker": "the program defines no callable make_walker() that takes no arguments",
    "wrong_result": "make_walker() returned something that is not a walker, or one with values of a wrong type",
    "sandbox_failure": "the sandbox died while it ran the program",
    # What it built.
    "no_joints": "the walker has no joints",
    "no_muscles": "the walker has no muscles that join two different joints",
    "non_finite_coordinate": "a joint's coordinate is not a finite number",
    "coordinate_out_of_range": "a joint's coordinate is too large",
    "unknown_joint": "a muscle names a joint that does not exist",
    "too_many_joints": "the walker has more joints than allowed",
    "too_many_muscles": "the walker has more muscles than allowed",
    "walker_too_large": "the walker is wider or higher than allowed",
    "bad_muscle": "a muscle's amplitude or phase is unusable",
    # How it behaves.
    "unstable": "the walker moved faster than any sane physics allows",
    "escaped": "the walker got into the ground, a wall or the ceiling",
    "unsettled": "the walker did not come to rest before its muscles were to start",
}
"""Every reason for which a program earns nothing, with a line that explains it."""


class ProgramError(ValueError):
    """A walker program that cannot be used, and why.

    Attributes:
        kind: One of :data:`ERROR_KINDS`.
        message: One sentence for the program's author: what was wrong and what to change.

    Raises:
        ValueError: ``kind`` is not in :data:`ERROR_KINDS`.
    """

    def __init__(self, kind: str, message: str) -> None:
        if kind not in ERROR_KINDS:
            raise ValueError(f"expected a kind of ERROR_KINDS ({', '.join(ERROR_KINDS)}), got {kind!r}")
        # Both go to the base class, so that the exception survives pickling between worker processes.
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
