"""What models have cost before the first task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from elm_rl.report.ledger import read_entries
from sodarace_gym.suite import SuiteError, Training

BUILTIN_POLICY_TRAINING = Training(evaluations=1_449_465, tokens=12_890_000, seconds=5_800.0)
"""What the shipped policy has cost: every stage that its card names, as ``elm-rl ledger`` counts them."""


def spent_in(folders: Sequence[str]) -> Training:
    """What the stages in some folders have cost.

    Raises:
        SuiteError: There are none.
    """
    entries = [entry for folder in folders for entry in read_entries(Path(folder))]
    if not entries:
        raise SuiteError(
            f"Nothing in '{', '.join(folders)}' is the result of a stage; give the folders of all that the model has cost."
        )
    return Training(
        evaluations=sum(entry.evaluations or 0 for entry in entries),
        tokens=sum(entry.tokens or 0 for entry in entries),
        seconds=sum(entry.seconds or 0.0 for entry in entries),
    )
