"""What goes wrong around the suite: each error says what was expected, what came and what to do."""

from __future__ import annotations


class SuiteError(Exception):
    """The suite cannot go on, for a reason that the user can act on; ``str(error)`` says it in a sentence or two."""


class BudgetSpent(Exception):
    """Nothing is left of a task's budget.

    A generator need not catch it: the suite takes it as the end of the task, with all that was evaluated before.
    """
