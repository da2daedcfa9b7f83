"""The environment: observe a terrain, act with a program, get the distance its walker covers."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sodarace_gym.arguments import checked_duration, checked_number, checked_options, checked_render_mode, checked_whole
from sodarace_gym.envs.pictures import WalkPictures
from sodarace_gym.envs.spaces import WalkerPrograms
from sodarace_gym.evaluation import Evaluation, EvaluationError, Evaluator
from sodarace_gym.physics.constants import DURATION, FRAME_RATE
from sodarace_gym.terrains.distribution import TerrainDraw, as_terrain
from sodarace_gym.terrains.source import TerrainSource
from sodarace_gym.terrains.terrain import PROFILE_MAX_HEIGHT, PROFILE_POINTS, Terrain

Observation = dict[str, NDArray[np.float32]]

REPAIRS = ("merged_joints", "dropped_muscles", "dropped_crowded_muscles", "dropped_parts", "clamped_amplitudes")
"""The repairs that every ``info["repairs"]`` counts; see :func:`sodarace_gym.walkers.build_design`."""

_CACHE_SIZE = 1_000  # roll-outs remembered by one environment: enough for an agent that repeats itself


class SodaraceEnv(WalkPictures, gym.Env[Observation, str]):
    """Invent a walker for a terrain.

    ## Description
    Sodarace walkers are point masses (*joints*) held together by springs (*muscles*); some muscles swing their rest length to
    and fro, all at the same rate. The agent sees a terrain and answers with the source text of a program; the program builds a
    walker, the walker is put on the terrain and left to come to rest, and then its muscles work for ``duration`` seconds. The
    further it gets, to either side, the better. The task is the third stage of Lehman et al. (2022).

    ## Action Space
    `WalkerPrograms()`, a `gymnasium.spaces.Text`: any `str` of at most 65,536 characters. `sample()` draws the program of a
    random walker that works. For libraries that cannot write texts there are `sodarace_gym.BoxActions` and
    `sodarace_gym.SequentialActions`.

    ## Action grammar
    Plain Python that defines `make_walker()`:

    ```python
    def make_walker():
        wc = walker_creator()
        a = wc.add_joint(0, 0)
        b = wc.add_joint(5, 0)
        c = wc.add_joint(2, 4)
        wc.add_muscle(a, b)
        wc.add_muscle(b, c, False, 1.0, 0.0)
        wc.add_muscle(c, a, False, 1.0, 3.14)
        return wc.get_walker()
    ```

    `add_joint(x, y)` returns the joint's id. `add_muscle(a, b, distance_only=True, amplitude=0.0, phase=0.0)` joins two joints
    by a plain spring, or by one whose rest length is `L + amplitude * sin(3 t + phase)`: lengths in walker units, phases in
    radians (OpenELM counts turns). `query_cppn(wc, xgrid, ygrid, scale, connect_func, amp_func, phase_func)` joins the nodes of
    a grid by functions of their coordinates, as the published routine does, and returns the joints by node. Published programs
    run where they mean one thing: flags as numbers or left out (`add_muscle(a, b, 2.0, 0.5)`), True as a number, dictionaries
    of `joints` and `muscles`, their imports. What is ambiguous, and a code fence, is refused, all faults in one sentence.

    `math` is there, and a small `np`: `pi, e, inf, nan, sin, cos, tan, arcsin, arccos, arctan, sinh, cosh, tanh, sqrt, exp,
    log, log2, log10, radians, deg2rad, degrees, rad2deg, fabs, arctan2, hypot, floor, ceil, abs, absolute, sign, power, mod,
    maximum, minimum, max, min, sum, mean, round, clip, float64, int64, array, asarray, zeros, ones, full, zeros_like,
    ones_like, linspace, arange, cumsum, diff, concatenate, random, ndarray`. Its arrays have one dimension and hold floats or
    whole numbers; operators, slices (views), `+=` and iteration do what numpy's do, and `np.random.default_rng(seed)` draws
    numpy's numbers. What `np` lacks is refused by name, and so is a division by zero. Programs run in a sandbox that has no
    access to the machine, for 0.1 s of processor time (on Linux; else 0.25 s), with 32 MB of memory and 200 nested calls.

    Walkers have at most 64 joints and 512 muscles and are at most 30 wide and 24 high, after repairs (before, 1,024 and 8,192).
    Lesser faults are repaired and counted: amplitudes above 0.3 of the rest length, joints closer than 0.1, muscles that join
    nothing or a pair again, more than 48 at a joint, parts that hang on nothing. A text has at most 65,536 bytes.

    ## Observation Space
    `Dict` of two `Box(-32, 32, (64,), float32)`: heights of the terrain at 64 places from x = -48 to x = 48, in walker units.
    The walker will start around x = 0.

    | Key       | Observation                               | Min | Max |
    |-----------|-------------------------------------------|-----|-----|
    | `floor`   | height of the ground                      | -32 | 32  |
    | `ceiling` | height of the ceiling, 32 where it is sky | -32 | 32  |

    ## Rewards
    The distance that the centre of mass moves along x while the muscles work, in walker units: at least 0, and 0 for a walker
    that only falls over, because it has come to rest before its muscles start. With `robustness=k` the least among the
    distances of the walker and of k copies whose joints are off by a thousandth of a unit, so that no luck of one trajectory
    is rewarded.

    ## Failure rewards
    A program that builds no walker, or one that physics cannot hold together, earns `invalid_reward`. Nothing is raised:
    `info["error"]` names the kind of failure (`sodarace_gym.errors.ERROR_KINDS` explains each) and `info["error_message"]`
    says in a sentence what was wrong and what to change. An action that is no `str` is a `not_text`.

    `info` after a step holds, always:

    | Key                       | Meaning                                                                         |
    |---------------------------|---------------------------------------------------------------------------------|
    | `displacement`            | the distance with its sign, 0.0 after a failure                                 |
    | `height`, `width`, `mass` | of the walker as built; 0.0 if there is none                                    |
    | `repairs`                 | `dict` of counts, one for each kind of repair                                   |
    | `error`, `error_message`  | `None`, or two `str`                                                            |
    | `terrain`                 | the name of the terrain, also in the info of `reset`                            |
    | `robust_fitness`          | with `robustness` only: the least distance among the walker and its copies      |

    ## Starting State
    The terrain is fixed for the life of an environment, whatever the seed of `reset`. Options of `reset` choose another for
    that one episode: `{"terrain_seed": n, "difficulty": d}` (both or one) another of the family, `{"terrain": terrain}` any
    `Terrain`. Of the paper's five only `Bumpy` has random parts, and none has a difficulty. `Sodarace-Random-v0` draws a
    terrain at each reset; see `RandomTerrainEnv`.

    ## Episode End
    Every episode ends after one step (`terminated` is True). The observation it ends with is that of the same terrain. A second
    step without `reset` raises `gymnasium.error.ResetNeeded`.

    ## Rendering
    `"rgb_array"` gives one image: the terrain after `reset`, the end of the walk after `step`. `"rgb_array_list"` gives the
    whole walk at 20 frames a second (frames are handed out once, as Gymnasium's lists are). `"human"` plays each walk in a
    window, in real time. Active muscles are blue while their drive shortens them and orange while it lengthens them.

    Videos: `gymnasium.wrappers.RecordVideo` takes one frame a step, so of these episodes it keeps the terrain and the end.
    `sodarace_gym.RecordWalks` is the same wrapper, with the same arguments, that keeps whole walks. Images as observations:
    `sodarace_gym.TerrainImage`.

    ## Wrappers
    Those of `gymnasium.wrappers` that are not named here work as they are.

    | Wrapper                                                     | What it needs, or why it does not fit                      |
    |-------------------------------------------------------------|------------------------------------------------------------|
    | `ClipAction`, `RescaleAction`, `DiscretizeAction`           | `sodarace_gym.BoxActions` beneath: they act with a `Box`   |
    | `DtypeObservation`, `MaxAndSkipObservation`,                | `FlattenObservation` beneath: they observe one `Box`       |
    | `NormalizeObservation`, `RescaleObservation`,               |                                                            |
    | `ReshapeObservation`                                        |                                                            |
    | `DiscretizeObservation`                                     | the same, and `multidiscrete=True`: one number for all 128 |
    |                                                             | entries would be too large                                 |
    | `GrayscaleObservation`, `ResizeObservation`                 | `AddRenderObservation` beneath: they observe one image     |
    | `TimeAwareObservation`                                      | `TimeLimit` beneath: nothing else limits the steps         |
    | `AddRenderObservation`, `AddWhiteNoise`, `ObstructView`,    | `render_mode="rgb_array"`                                  |
    | `RenderCollection`                                          |                                                            |
    | `HumanRendering`, `RecordVideo`                             | `render_mode="rgb_array"` or `"rgb_array_list"`            |
    | `ArrayConversion`, `NumpyToTorch`                           | beneath, `sodarace_gym.NumericInfo` and something that     |
    |                                                             | acts without texts, such as `sodarace_gym.BoxActions`:     |
    |                                                             | they take texts apart                                      |
    | `JaxToNumpy`, `JaxToTorch`                                  | do not fit: they are for environments that compute in JAX  |
    | `AtariPreprocessing`                                        | does not fit: it asks an Atari console for its lives       |

    ## Arguments
    ```python
    >>> import gymnasium as gym
    >>> env = gym.make("sodarace_gym:Sodarace-Bumpy-v0", terrain_seed=3, render_mode="rgb_array")
    >>> env
    <OrderEnforcing<PassiveEnvChecker<SodaraceEnv<Sodarace-Bumpy-v0>>>>

    ```

    | Parameter        | Type             | Default  | Description                                                     |
    |------------------|------------------|----------|-----------------------------------------------------------------|
    | `terrain`        | `str`, `Terrain` | by id    | name of a family, a terrain of your own, or a `TerrainDraw`     |
    | `render_mode`    | `str` or `None`  | `None`   | `"human"`, `"rgb_array"` or `"rgb_array_list"`                  |
    | `duration`       | `float`          | `10.0`   | simulated seconds that the muscles work                         |
    | `invalid_reward` | `float`          | `0.0`    | reward of a program that fails                                  |
    | `terrain_seed`   | `int`            | `0`      | seed of what is random in the family                            |
    | `difficulty`     | `float`, `None`  | `None`   | 0 to 1, `None` means 0.5; for families beyond the paper's five  |
    | `robustness`     | `int`            | `0`      | copies with joints a thousandth of a unit off that walk along;  |
    |                  |                  |          | the reward is then the least of all distances                   |

    ## Determinism
    The same program on the same terrain earns the same `float` on the same type of machine: in every process and thread, and
    whatever was evaluated before. Rendering changes nothing. Seeds matter to `action_space.sample()` only (and to the draws of
    `Sodarace-Random-v0`).

    ## Version History
    * v0: first release (0.1.0); rewards may change before the package's version 1.0. On 2026-11-26 `query_cppn` and the CPPN
      seeds took the published pairs. Distances on the paper's five terrains: seeds (65, now 75 muscles) 1.6 on each before,
      2.0 since; the paper's Runner (678, now 410) refused before; 39.6, 39.6, 3.0, 22.2 and unstable since.

    ## References
    * J. Lehman, J. Gordon, S. Jain, K. Ndousse, C. Yeh, K. O. Stanley: "Evolution through Large Models",
      [arXiv:2206.08896](https://arxiv.org/abs/2206.08896), 2022.
    * P. Szerlip, K. O. Stanley: "Indirectly Encoded Sodarace for Artificial Life", ECAL 2013.

    Attributes:
        terrain: The terrain of this episode.
        evaluation: What became of this episode's program, with the walker's design; None before the step.

    Raises:
        ValueError: An argument is out of range or the name of a terrain or render mode is unknown.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["human", "rgb_array", "rgb_array_list"],
        "render_fps": FRAME_RATE,
    }

    def __init__(
        self,
        terrain: str | Terrain | TerrainDraw = "Flat",
        render_mode: str | None = None,
        duration: float = DURATION,
        invalid_reward: float = 0.0,
        terrain_seed: int = 0,
        difficulty: float | None = None,
        robustness: int = 0,
    ) -> None:
        self.render_mode = checked_render_mode(render_mode, self.metadata["render_modes"])
        self.duration = checked_duration(duration)
        self.invalid_reward = checked_number("invalid_reward", invalid_reward)
        self.robustness = checked_whole("robustness", robustness, "a number of copies, 0 or more")
        self._source = TerrainSource(terrain, terrain_seed, difficulty)
        self.terrain = self._source.own  # of this episode
        self._terrain_info: dict[str, Any] = {}  # what there is to say about it besides its name
        self.evaluation: Evaluation | None = None  # of this episode's program; None before the step

        self.action_space = WalkerPrograms()
        heights: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(-PROFILE_MAX_HEIGHT, PROFILE_MAX_HEIGHT, (PROFILE_POINTS,), np.float32)
            for name in ("floor", "ceiling")
        }
        self.observation_space = spaces.Dict(heights)  # type: ignore[assignment] # a Space of dict[str, Any]
        self._evaluator = self._make_evaluator()
        self._in_episode = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: Seed of ``np_random``, as everywhere in Gymnasium; only ``Sodarace-Random-v0`` draws terrains from it.
            options: What is to be another terrain for this episode; see the class.

        Returns:
            The terrain's profile, and an info with the terrain's name.

        Raises:
            ValueError: An option is unknown or out of range, or a terrain of the caller's own is to be drawn again.
        """
        super().reset(seed=seed)
        self.terrain, self._terrain_info = self._choose_terrain(checked_options(options, self._OPTIONS))
        self.evaluation = None
        self._in_episode = True
        self._unshown = True
        if self.render_mode == "human":
            self._open_window().show_terrain(self.terrain)
        return self._observation(), {"terrain": self.terrain.name} | self._terrain_info

    _OPTIONS: ClassVar[tuple[str, ...]] = ("terrain_seed", "difficulty", "terrain")

    def _choose_terrain(self, options: dict[str, Any]) -> tuple[Terrain, dict[str, Any]]:
        """The terrain of the episode that begins, and what there is to say about it besides its name."""
        if "terrain" in options:
            if len(options) > 1 or not isinstance(options["terrain"], (Terrain, TerrainDraw)):
                raise ValueError("options: expected a Terrain or a TerrainDraw as 'terrain', and then no other option.")
            return as_terrain(options["terrain"]), {}
        return self._source.drawn(options), {}

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Runs a program and lets its walker walk.

        Args:
            action: The program's text.

        Returns:
            The terrain's profile, the distance (or ``invalid_reward``), True, False, and the info that the class describes.

        Raises:
            gymnasium.error.ResetNeeded: The episode is over or none has begun.
        """
        if not self._in_episode:
            raise gym.error.ResetNeeded("an episode is a single step: call reset() before each step().")
        self._in_episode = False
        self.evaluation = self._evaluate(action)
        self._unshown = True
        design = self.evaluation.design
        if self.render_mode == "human" and design is not None:
            self._open_window().play(design, self.terrain, self._trajectory(design))
        distance = self.evaluation.robust_fitness if self.robustness else self.evaluation.fitness
        reward = distance if self.evaluation.valid and distance is not None else self.invalid_reward
        return self._observation(), float(reward), True, False, self._info(self.evaluation)

    @property
    def in_episode(self) -> bool:
        """Whether an episode has begun and waits for its step."""
        return self._in_episode

    def use_evaluator(self, evaluator: Evaluator) -> None:
        """Evaluates with another evaluator from now on, which environments of the same process may share.

        Args:
            evaluator: One that lets walkers walk for as long as this environment does, with as many copies.

        Raises:
            ValueError: Its duration or its number of copies is another one.
        """
        if evaluator.duration != self.duration:
            raise ValueError(f"evaluator: expected a duration of {self.duration:g} s, got {evaluator.duration:g} s.")
        if evaluator.robustness != self.robustness:
            raise ValueError(f"evaluator: expected {self.robustness} perturbed copies, got {evaluator.robustness}.")
        self._evaluator = evaluator

    def _make_evaluator(self) -> Evaluator:
        return Evaluator(n_jobs=1, duration=self.duration, cache_size=_CACHE_SIZE, robustness=self.robustness)

    def _evaluate(self, action: Any) -> Evaluation:
        if not isinstance(action, str):
            message = (
                f"the action is a {type(action).__name__}; pass the program's source text as a str, or wrap the "
                "environment in sodarace_gym.BoxActions to act with vectors."
            )
            return Evaluation(error=EvaluationError("not_text", message))
        return self._evaluator.evaluate([str(action)], self.terrain)[0]

    def _observation(self) -> Observation:
        return self.terrain.profile()

    def _info(self, evaluation: Evaluation) -> dict[str, Any]:
        # Vector environments stack infos by key, so every key is always there. They would also merge a dict of some episodes
        # with the None of others and fail, hence two plain texts for the error.
        error = evaluation.error
        return {
            "displacement": evaluation.displacement,
            "height": evaluation.height,
            "width": evaluation.width,
            "mass": evaluation.mass,
            "repairs": dict.fromkeys(REPAIRS, 0) | dict(evaluation.repairs),
            "error": None if error is None else error.kind,
            "error_message": None if error is None else error.message,
            "terrain": self.terrain.name,
            **({"robust_fitness": evaluation.robust_fitness or 0.0} if self.robustness else {}),
            **self._terrain_info,
        }

    def __getstate__(self) -> dict[str, Any]:
        # A window and the evaluator's threads belong to their process; the copy makes its own.
        return {name: value for name, value in self.__dict__.items() if name != "_evaluator"} | {"_window": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._evaluator = self._make_evaluator()

    def close(self) -> None:
        """Closes the window, if there is one, and forgets remembered walks; closing twice is fine."""
        if self._window is not None:
            self._window.close()
            self._window = None
        self._evaluator.close()
