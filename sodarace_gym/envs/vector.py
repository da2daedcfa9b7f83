"""Many environments at once, their programs evaluated as one batch."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence, Sized
from typing import Any, ClassVar

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from sodarace_gym.arguments import checked_whole, shown
from sodarace_gym.envs.env import SodaraceEnv
from sodarace_gym.envs.random_terrain import RandomTerrainEnv
from sodarace_gym.evaluation.evaluator import CACHE_SIZE, PROGRAM_CACHE_SIZE, Evaluator

VectorObservation = dict[str, NDArray[np.float32]]


class SodaraceVectorEnv(SyncVectorEnv):
    """Many Sodarace environments that evaluate their programs together.

    ## Description
    What `gymnasium.make_vec("Sodarace-<Terrain>-v0", num_envs=256)` makes. It equals a `gymnasium.vector.SyncVectorEnv` of as
    many single environments bit for bit, in every autoreset mode, and takes less time: the programs of a step go to one
    `sodarace_gym.Evaluator`, which uses all cores (or a cluster) and evaluates equal programs and equal walkers once.

    ## Action Space
    A `Tuple` of `num_envs` spaces `WalkerPrograms()`: a tuple, list or array of as many `str`. `sample()` draws that many
    different programs. Where a sub-environment is due to be reset, its action is ignored.

    ## Observation Space
    `Dict` of two `Box(-32, 32, (num_envs, 64), float32)`: `floor` and `ceiling`, as in `SodaraceEnv`.

    ## Rewards
    An array of shape `(num_envs,)`, float64: what each single environment would give.

    ## Episode End
    Every episode ends after one step, so the autoreset mode matters. With `"NextStep"`, Gymnasium's default, steps that act and
    steps that only reset follow one another. With `"SameStep"` every step acts: the observations are those of the next
    episodes, and `infos["final_obs"]` and `infos["final_info"]` hold how the last ones ended. With `"Disabled"` you call
    `reset`, for all or, with `options={"reset_mask": mask}`, for some.

    ## Infos
    Those of the single environments, stacked by Gymnasium: under each key an array of shape `(num_envs,)`, and under `_key`
    which environments have it.

    ## Starting State
    As in `SodaraceEnv`. `reset(seed=n)` seeds the sub-environments with n, n + 1, ...; `reset(options=...)` hands its options
    to each of them (with a `reset_mask`, to the chosen ones).

    ## Rendering
    `render()` returns a tuple with what each sub-environment renders.

    ## Wrappers
    Those of `gymnasium.wrappers.vector` that are not named here work as they are. What a single environment has beneath, a
    wrapper that changes its actions or infos, goes into `make_vec(..., vectorization_mode="sync", wrappers=[...])`, or
    `"async"`; Gymnasium then steps the environments one by one.

    | Wrapper                                                     | What it needs, or why it does not fit                      |
    |-------------------------------------------------------------|------------------------------------------------------------|
    | every wrapper of observations                               | an autoreset mode other than `"SameStep"`; Gymnasium       |
    |                                                             | refuses it                                                 |
    | `NormalizeObservation`                                      | `"NextStep"`, and `FlattenObservation` beneath             |
    | `DtypeObservation`, `RescaleObservation`,                   | `FlattenObservation` beneath: they observe one `Box`       |
    | `ReshapeObservation`                                        |                                                            |
    | `GrayscaleObservation`, `ResizeObservation`                 | single environments with `AddRenderObservation`            |
    | `ClipAction`, `RescaleAction`                               | single environments with `sodarace_gym.BoxActions`         |
    | `ArrayConversion`, `NumpyToTorch`                           | single environments with both `sodarace_gym.BoxActions`    |
    |                                                             | and `sodarace_gym.NumericInfo`: they know no texts; not    |
    |                                                             | `"SameStep"`, whose `final_obs` they cannot convert        |
    | `HumanRendering`, `RecordVideo`                             | `render_mode="rgb_array"`; with `"SameStep"` the picture   |
    |                                                             | after a step is that of the next episode                   |
    | `JaxToNumpy`, `JaxToTorch`                                  | do not fit: they are for environments that compute in JAX  |

    ## Arguments
    ```python
    >>> import gymnasium as gym
    >>> envs = gym.make_vec("sodarace_gym:Sodarace-Bumpy-v0", num_envs=3, per_env=[{"terrain_seed": n} for n in range(3)])
    >>> envs
    SodaraceVectorEnv(Sodarace-Bumpy-v0, num_envs=3)

    ```

    | Parameter        | Type                    | Default       | Description                                                |
    |------------------|-------------------------|---------------|------------------------------------------------------------|
    | `num_envs`       | `int`                   | `1`           | number of environments                                     |
    | `autoreset_mode` | `str`, `AutoresetMode`  | `"NextStep"`  | when ended episodes are reset                              |
    | `n_jobs`         | `int`                   | `-1`          | workers that evaluate; -1 for one per core                 |
    | `backend`        | `str`                   | `"threading"` | where they are, see `sodarace_gym.Evaluator`               |
    | `per_env`        | sequence of `dict`      | `None`        | for each environment, arguments that only this one gets    |
    | others           |                         |               | those of the single environment, for all environments      |

    ## Determinism
    Rewards, observations and infos are those of the single environments, whatever `num_envs`, `n_jobs` and `backend` are.

    ## Version History
    * v0: first release (0.1.0); rewards are those of the single environment of the same version.

    ## References
    Those of `SodaraceEnv`.

    Attributes:
        envs: The sub-environments.

    Raises:
        ValueError: An argument is out of range, or `per_env` has not one entry per environment, or sets a duration or a
            robustness.
    """

    env_class: ClassVar[type[SodaraceEnv]] = SodaraceEnv
    envs: list[SodaraceEnv]  # type: ignore[assignment] # narrower than the parent's list of any environments

    def __init__(
        self,
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        n_jobs: int = -1,
        backend: str = "threading",
        per_env: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        num_envs = checked_whole("num_envs", num_envs, "a whole number of at least 1", least=1)
        if per_env is not None:
            expected = f"a list with a dict for each of {num_envs} environments"
            if not isinstance(per_env, Sequence) or not all(isinstance(own, Mapping) for own in per_env):
                raise ValueError(f"per_env: expected {expected}, got {shown(per_env)}.")
            if len(per_env) != num_envs:
                raise ValueError(f"per_env: expected {expected}, got {len(per_env)}.")
        for shared in ("duration", "robustness"):
            if any(shared in arguments for arguments in per_env or ()):
                raise ValueError(f"per_env: a batch has one {shared}; give it once, for all environments.")
        super().__init__(
            # Partials and not lambdas: they pickle.
            [functools.partial(self.env_class, **(kwargs | dict(own))) for own in per_env or [{}] * num_envs],
            autoreset_mode=autoreset_mode,
        )
        self._evaluator = Evaluator(
            n_jobs,
            self.envs[0].duration,
            cache_size=max(CACHE_SIZE, num_envs * (self.envs[0].robustness + 1)),
            backend=backend,
            robustness=self.envs[0].robustness,
            # Each environment asks for its own program again, which must not make room by forgetting the others'.
            program_cache_size=max(PROGRAM_CACHE_SIZE, num_envs),
        )
        self._share_evaluator()

    def _share_evaluator(self) -> None:
        self._evaluator.__enter__()  # keeps its workers until close()
        for env in self.envs:
            env.use_evaluator(self._evaluator)

    def step(
        self, actions: Sequence[str]
    ) -> tuple[VectorObservation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Runs one program in each environment, or resets where an episode has ended; see the class.

        Args:
            actions: As many program texts as there are environments.

        Returns:
            Observations, rewards of shape (num_envs,), whether each episode is over, whether it was cut short (never), and
            the infos.

        Raises:
            ValueError: The number of actions is not that of the environments.
            gymnasium.error.ResetNeeded: ``reset`` was not called.
        """
        one = isinstance(actions, str) or not isinstance(actions, Sized)
        if one or len(actions) != self.num_envs:
            got = shown(actions) if one else f"{len(actions)}"
            raise ValueError(f"actions: expected a program for each of {self.num_envs} environments, got {got}.")
        # Together and ahead of the steps: each environment then finds its evaluation remembered.
        acting = [
            (str(action), env.terrain)
            for action, env in zip(actions, self.envs, strict=True)
            if env.in_episode and isinstance(action, str)
        ]
        self._evaluator.evaluate([program for program, _ in acting], [terrain for _, terrain in acting])
        return super().step(tuple(actions))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self.closed:
            self._share_evaluator()

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the environments and lets the workers go."""
        super().close_extras(**kwargs)
        if hasattr(self, "_evaluator"):  # the constructor may have failed before
            self._evaluator.close()


class RandomTerrainVectorEnv(SodaraceVectorEnv):
    """What `gymnasium.make_vec("Sodarace-Random-v0", num_envs=256)` makes: each environment draws a terrain at each reset.

    Everything is as in `SodaraceVectorEnv` but the other arguments, which are those of `RandomTerrainEnv`.
    """

    env_class = RandomTerrainEnv
