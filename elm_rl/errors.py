"""What goes wrong in a stage, said in one sentence."""

from __future__ import annotations


class ElmError(RuntimeError):
    """A stage cannot go on, for a reason the user can act on.

    ``str(error)`` is one sentence: what was wrong, what was expected and what to do. The command line prints it without
    a traceback and exits with a non-zero status.
    """


class ConfigError(ElmError, ValueError):
    """A setting is out of range or contradicts another; the sentence names it and what is allowed."""


class BudgetSpent(ElmError):
    """A budget of an operator (tokens or money) is spent: the run ends here and can be resumed with a larger one."""
