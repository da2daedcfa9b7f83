"""How far each walker of a cross table would go on a terrain that nobody tried: a regression over what terrains look like.

A distance is partly luck, and a table has holes. Kernel ridge regression over summaries of the profile smooths the one and
fills the other: what looks alike is expected to be walked alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from elm_rl.errors import ConfigError
from sodarace_gym.terrains.terrain import PROFILE_POINTS, Terrain

_WINDOWS = 16
"""Windows of the profile that are summed up, of 6 walker units each."""
_ALPHAS = (0.03, 0.1, 0.3, 1.0, 3.0)
_GAMMAS = (0.0003, 0.001, 0.003, 0.01, 0.03)
_FOLDS = 5
LEAST_TERRAINS = 2 * _FOLDS
"""Terrains that a regression needs."""


def terrain_summary(terrain: Terrain) -> NDArray[np.float64]:
    """What a terrain looks like, in few numbers.

    Returns:
        For each of the windows mean height of the floor, its roughness (standard deviation of the slope) and the least room
        below the ceiling, walker units: (48,).
    """
    profile = terrain.profile()
    floor, ceiling = (profile[name].astype(np.float64) for name in ("floor", "ceiling"))
    steps = np.diff(floor, prepend=floor[0]).reshape(_WINDOWS, -1)
    room = (ceiling - floor).reshape(_WINDOWS, -1).min(axis=1)
    return np.concatenate([floor.reshape(_WINDOWS, PROFILE_POINTS // _WINDOWS).mean(axis=1), steps.std(axis=1), room])


class WalkerRegressor:
    """Kernel ridge regression from terrains to the distances of walkers.

    Args:
        terrains: Terrains that the walkers were tried on, at least 10.
        distances: What is to be predicted, (terrains, walkers), walker units: plain, or robust.

    Attributes:
        alpha: Penalty that cross-validation over the terrains chose.
        gamma: Width of the kernel that it chose.
        error: Root mean square error in that cross-validation, walker units.
    """

    def __init__(self, terrains: Sequence[Terrain], distances: NDArray[np.floating]) -> None:
        if len(terrains) < LEAST_TERRAINS or distances.ndim != 2 or len(distances) != len(terrains):
            raise ConfigError(
                f"Expected distances (terrains, walkers) of {LEAST_TERRAINS} terrains or more, got shape {distances.shape} of "
                f"{len(terrains)} terrains."
            )
        looks = np.array([terrain_summary(terrain) for terrain in terrains])
        # What all terrains have in common is no matter for the kernel, which falls to zero far from all.
        self._mean = distances.mean(axis=0, dtype=np.float64)
        search = GridSearchCV(
            make_pipeline(StandardScaler(), KernelRidge(kernel="rbf")),
            {"kernelridge__alpha": _ALPHAS, "kernelridge__gamma": _GAMMAS},
            scoring="neg_root_mean_squared_error",
            cv=KFold(_FOLDS, shuffle=True, random_state=0),
        )
        search.fit(looks, distances - self._mean)
        self._model: Pipeline = search.best_estimator_
        self.alpha = float(search.best_params_["kernelridge__alpha"])
        self.gamma = float(search.best_params_["kernelridge__gamma"])
        self.error = -float(search.best_score_)

    def predict(self, terrains: Sequence[Terrain]) -> NDArray[np.float64]:
        """Expected distances (terrains, walkers), walker units."""
        looks = np.array([terrain_summary(terrain) for terrain in terrains])
        found: NDArray[np.float64] = self._mean + self._model.predict(looks)
        return found
