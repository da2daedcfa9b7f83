"""A generator of walkers to begin with: python -m sodarace_gym.suite run examples/generator.py:TwoFeet --out runs/suite."""

from __future__ import annotations

import numpy as np

from sodarace_gym.suite import Task

PROGRAM = """
def make_walker():
    wc = walker_creator()
    hub = wc.add_joint({0:.2f}, {1:.2f})
    feet = [wc.add_joint({2:.2f} * i, 0.0) for i in (-1, 1)]
    wc.add_muscle(feet[0], feet[1], False, {3:.2f}, {4:.2f})
    wc.add_muscle(hub, feet[0], False, {5:.2f}, {6:.2f})
    wc.add_muscle(hub, feet[1], False, {5:.2f}, {7:.2f})
    return wc.get_walker()
"""


class TwoFeet:
    """Draws bodies at random, and then changes the best one for as long as that helps."""

    name = "two feet"

    def generate(self, task: Task, rng: np.random.Generator) -> list[str]:
        """Spends the evaluations of a task; task.terrain has the ground, for those who look."""
        low, high = np.array([-4, 2, 1, 0, 0, 0, 0, 0]), np.array([4, 9, 5, 3, 6, 3, 6, 6])
        bodies, best, score = rng.uniform(low, high, size=(8, 8)), None, 0.0
        while task.left > 0:
            for body, evaluation in zip(bodies, task.evaluate(PROGRAM.format(*body) for body in bodies), strict=False):
                if evaluation.score > score:
                    best, score = body, evaluation.score
            bodies = rng.uniform(low, high, size=(8, 8))
            if best is not None:
                bodies[2:] = np.clip(best + 0.1 * (high - low) * rng.normal(size=(6, 8)), low, high)
        return []  # or programs for the evaluations that are left
