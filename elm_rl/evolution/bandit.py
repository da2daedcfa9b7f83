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
    operator that has made nothing yet counts as good as the best. Where some cost nothing and bring something, these are
    compared by what a child brings, and the others get the floor.

    Args:
        names: The operators, in order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._gain = dict.fromkeys(names, 0.0)
        self._spent = dict.fromkeys(names, 0.0)
        self._made = dict.fromkeys(names, 0.0)  # children

    def shares(self) -> list[float]:
        """The share of each operator, in order; they sum to 1."""
        tried = [name for name, made in self._made.items() if made > 0]
        free = {name: self._gain[name] / self._made[name] for name in tried if self._spent[name] == 0}
        rates: dict[str, float | None] = dict.fromkeys(self._made)
        for name in tried:
            if any(free.values()):
                rates[name] = free.get(name, 0.0)
            else:
                rates[name] = 0.0 if name in free else self._gain[name] / max(self._spent[name], _SMALL)
        best = max((rate for rate in rates.values() if rate is not None), default=1.0) or 1.0
        weights = [((best if rate is None else rate) / best) ** SHARPNESS for rate in rates.values()]
        total = sum(weights)  # the best one's weight is 1, unless none has brought anything
        if total == 0:
            return [1.0 / len(weights)] * len(weights)
        floor = min(LEAST_SHARE, 1.0 / len(weights))
        return [floor + (1.0 - floor * len(weights)) * weight / total for weight in weights]

    def pay(self, accounts: Mapping[str, tuple[float, float, float]]) -> None:
        """Enters an iteration: what each operator brought, what that took, and its children; those left out made none."""
        for name in self._gain:
            gain, spent, made = accounts.get(name, (0.0, 0.0, 0.0))
            self._gain[name] = KEPT * self._gain[name] + gain
            self._spent[name] = KEPT * self._spent[name] + spent
            self._made[name] = KEPT * self._made[name] + made

    def state(self) -> dict[str, Any]:
        """The accounts, for a checkpoint."""
        return {name: [self._gain[name], self._spent[name], self._made[name]] for name in self._gain}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back the accounts of the operators that are still there; new ones begin without."""
        for name in self._gain.keys() & state.keys():
            # Runs of older versions did not count children, and counted operators that cost nothing as new.
            gain, spent, made = (*state[name], state[name][1])[:3]
            self._gain[name], self._spent[name], self._made[name] = float(gain), float(spent), float(made)
