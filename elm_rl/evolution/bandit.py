"""Which operator makes the next child: the more an operator has brought lately for what it took, the more often it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KEPT = 0.98
"""What is left of an operator's account after an iteration: fifty iterations back counts a third."""
LEAST_SHARE = 0.05
"""No operator is chosen less often, however little it brought: what it is worth may change."""
SHARPNESS = 2.0
"""Shares go with this power of the rates: 1 is probability matching, infinity takes the best alone."""
_SMALL = 1e-9  # of what was spent; less would only make a rate that no float holds


def divide(fixed: Sequence[float | None], chosen: Sequence[float]) -> list[float]:
    """The shares of operators some of which have fixed ones.

    Args:
        fixed: Part of all children of each operator; None where a bandit chooses.
        chosen: What a bandit gives each; the operators without a fixed part share what is left in these proportions.

    Returns:
        Shares that sum to 1.
    """
    if all(part is None for part in fixed):
        return list(chosen)
    left = 1.0 - sum(part for part in fixed if part is not None)
    free = sum(share for part, share in zip(fixed, chosen, strict=True) if part is None)
    shares = [left * share / free if part is None else part for part, share in zip(fixed, chosen, strict=True)]
    total = sum(shares)
    return [share / total for share in shares]


class Bandit:
    """Shares of the operators by their rates: gain in QD score for each evaluation, second or unit of money.

    It is probability matching (Thierens 2005) with an exponentially fading account, a floor, and rates raised to a power. An
    operator that has made nothing yet counts as good as the best.

    Args:
        names: The operators, in order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._gain = dict.fromkeys(names, 0.0)
        self._spent = dict.fromkeys(names, 0.0)

    def shares(self) -> list[float]:
        """The share of each operator, in order; they sum to 1."""
        rates = {
            name: self._gain[name] / max(spent, _SMALL) if spent > 0 else None for name, spent in self._spent.items()
        }
        best = max((rate for rate in rates.values() if rate is not None), default=1.0) or 1.0
        weights = [((best if rate is None else rate) / best) ** SHARPNESS for rate in rates.values()]
        total = sum(weights)  # the best one's weight is 1, unless none has brought anything
        if total == 0:
            return [1.0 / len(weights)] * len(weights)
        floor = min(LEAST_SHARE, 1.0 / len(weights))
        return [floor + (1.0 - floor * len(weights)) * weight / total for weight in weights]

    def pay(self, accounts: Mapping[str, tuple[float, float]]) -> None:
        """Enters an iteration: what each operator brought and what that took; those left out made nothing."""
        for name in self._gain:
            gain, spent = accounts.get(name, (0.0, 0.0))
            self._gain[name] = KEPT * self._gain[name] + gain
            self._spent[name] = KEPT * self._spent[name] + spent

    def state(self) -> dict[str, Any]:
        """The accounts, for a checkpoint."""
        return {name: [self._gain[name], self._spent[name]] for name in self._gain}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back the accounts of the operators that are still there; new ones begin without."""
        for name in self._gain.keys() & state.keys():
            self._gain[name], self._spent[name] = (float(value) for value in state[name])
