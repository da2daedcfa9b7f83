"""The control environment: the walker is given, the agent drives its muscles step by step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sodarace_gym.arguments import checked_number, checked_options, checked_render_mode, checked_whole, shown
from sodarace_gym.envs.pictures import warn_without_render_mode
from sodarace_gym.envs.senses import Senses
from sodarace_gym.errors import ProgramError
from sodarace_gym.physics.constants import CONSTANTS, DRIVE_RATE, DURATION, STEP_RATE
from sodarace_gym.physics.control import ControlledWorld, MuscleDrive, phase_groups
from sodarace_gym.physics.world import world_arrays
from sodarace_gym.programs.program import compile_program
from sodarace_gym.terrains.distribution import TerrainDraw
from sodarace_gym.terrains.source import TerrainSource
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.library import WALKER_NAMES, load_walker
from sodarace_gym.walkers.walker import WalkerDesign

if TYPE_CHECKING:
    from sodarace_gym.rendering.window import Window

Observation = NDArray[np.float32]
Action = NDArray[np.float32]

CONTROL_RATE = 20
"""Actions per second: three physics steps each."""


class SodaraceControlEnv(gym.Env[Observation, Action]):
    """Drive the muscles of a given walker.

    ## Description
    The body is fixed: any walker program, or one of the library's by name. It is put on a terrain and comes to rest, exactly
    as in the environments whose action is a program; then the agent decides, `control_rate` times a second, how long each
    active muscle wants to be. The further the walker gets to the right, the better. The same bodies thus serve evolution,
    which gives every muscle a fixed swing, and ordinary reinforcement learning, which can react.

    ## Action Space
    `Box(-1, 1, (actions,), float32)`: one action for each active muscle, in the order of the program, or with `max_actions`
    one for each group of muscles that swing alike. An action is the muscle's wanted deviation from its built length, as a
    share of its own amplitude: 1 is as long as its gait ever makes it, -1 as short, and `sin(3 t + phase)` is the gait
    itself. Values beyond 1 are cut off. A rest length changes by at most 6 amplitudes a second (the gait: 3), except in the
    first step, where a gait may begin anywhere in its swing too.

    With `residual=True` the action is added to the walker's own gait, still within its amplitudes: an agent that always
    answers 0 repeats the gait, to the last bit of the distance that the program earns.

    ## Observation Space
    A `Box` of float32. With J joints and M active muscles, in this order:

    | Num  | Observation                                                                                  | Min  | Max |
    |------|----------------------------------------------------------------------------------------------|------|-----|
    | 2    | the gait's clock: `sin(3 t)`, `cos(3 t)`                                                     | -1   | 1   |
    | 2 J  | joints' x and y, from the centre of mass, over half of the walker's larger extent            | -5   | 5   |
    | 2 J  | joints' velocities along x and y, in 10 units / s                                            | -6   | 6   |
    | M    | stretch of the active muscles: length over built length less 1, over 0.3                     | -5   | 5   |
    | M    | where the active muscles' rest lengths are now, as a share of the amplitude                  | -1   | 1   |
    | 33   | heights of the floor at x = -8, -7, ..., 24 from the centre of mass, relative to it, over 10 | -2   | 2   |
    | 33   | heights of the ceiling there, likewise                                                       | -2   | 2   |

    ## Rewards
    How far the centre of mass moved to the right during the step, in walker units: over an episode the rewards add up to
    the displacement. The direction is fixed because a sum over steps cannot reward "the further to either side"; a walker
    that goes to the left is to be mirrored (`WalkerDesign.mirrored`). If physics comes apart (see Episode End), all that was
    gained is taken back and `fault_penalty` is subtracted, so that such an episode is worth less than standing still.

    `info`, of `reset` too, holds:

    | Key            | Meaning                                                                       |
    |----------------|-------------------------------------------------------------------------------|
    | `displacement` | of the centre of mass since the start, walker units; 0.0 after a fault        |
    | `time`         | since the start, s                                                            |
    | `fault`        | `None`, or "unstable" (a joint beyond 60 units / s), "escaped" (into terrain) |
    | `terrain`      | the name of the terrain                                                       |

    ## Starting State
    The walker at rest, at t = 0 of its gait. With `start_noise` every joint gets a random velocity, normally distributed with
    that standard deviation, drawn from `np_random`. Without it nothing is random, whatever the seed.
    `reset(options={"terrain_seed": n, "difficulty": d})` (both or one) draws another terrain of the family for that one
    episode. Of the paper's five only `Bumpy` has random parts, and none has a difficulty.

    ## Episode End
    Truncation after `duration` seconds. Termination as soon as a roll-out would end: a joint faster than 60 units / s or deep
    inside the terrain.

    ## Rendering
    `"rgb_array"` draws the walker as it is now; `gymnasium.wrappers.RecordVideo` makes films of that. `"human"` shows every
    step in a window, in real time.

    ## Wrappers
    Those of `gymnasium.wrappers` that are not named here work as they are. There is no batch version of this environment:
    `gymnasium.make_vec` makes its `SyncVectorEnv`, or its `AsyncVectorEnv` with `vectorization_mode="async"`, and for their
    wrappers the same holds, and what `SodaraceVectorEnv` says of autoreset modes.

    | Wrapper                                                     | What it needs, or why it does not fit                      |
    |-------------------------------------------------------------|------------------------------------------------------------|
    | `DiscretizeObservation`                                     | `multidiscrete=True`: one number for all entries would be  |
    |                                                             | too large                                                  |
    | `FilterObservation`                                         | does not fit: it chooses among the keys of a `Dict`        |
    | `GrayscaleObservation`, `ResizeObservation`                 | `AddRenderObservation` beneath: they observe images        |
    | `TimeAwareObservation`                                      | `TimeLimit` beneath: it does not know of `duration`        |
    | `AddRenderObservation`, `AddWhiteNoise`, `HumanRendering`,  | `render_mode="rgb_array"`                                  |
    | `ObstructView`, `RecordVideo`, `RenderCollection`           |                                                            |
    | `ArrayConversion`, `NumpyToTorch`                           | `sodarace_gym.NumericInfo` beneath: they know no texts     |
    | `JaxToNumpy`, `JaxToTorch`                                  | do not fit: they are for environments that compute in JAX  |
    | `AtariPreprocessing`                                        | does not fit: it asks an Atari console for its lives       |

    ## Arguments
    ```python
    >>> import gymnasium as gym
    >>> env = gym.make("sodarace_gym:SodaraceControl-Bumpy-v0", walker="worm", residual=True)
    >>> env.action_space
    Box(-1.0, 1.0, (12,), float32)

    ```

    | Parameter       | Type                  | Default   | Description                                                        |
    |-----------------|-----------------------|-----------|--------------------------------------------------------------------|
    | `terrain`       | `str`, `Terrain`      | by id     | name of a family, a terrain of your own, or a `TerrainDraw`        |
    | `walker`        | `str`, `WalkerDesign` | `"biped"` | a name of `sodarace_gym.WALKER_NAMES`, a program's text, a design  |
    | `render_mode`   | `str` or `None`       | `None`    | `"human"` or `"rgb_array"`                                         |
    | `duration`      | `float`               | `10.0`    | simulated seconds of an episode                                    |
    | `control_rate`  | `int`                 | `20`      | actions per second; a divisor of 60, the physics steps per second  |
    | `residual`      | `bool`                | `False`   | whether actions are added to the walker's own gait                 |
    | `max_actions`   | `int` or `None`       | `None`    | group muscles by phase into at most so many actions                |
    | `start_noise`   | `float`               | `0.0`     | standard deviation of the joints' velocities at the start, units/s |
    | `fault_penalty` | `float`               | `10.0`    | what a fault costs beyond all that was gained                      |
    | `terrain_seed`  | `int`                 | `0`       | seed of what is random in the family                               |
    | `difficulty`    | `float`, `None`       | `None`    | 0 to 1, `None` means 0.5; for families beyond the paper's five     |

    ## Determinism
    The same actions from the same start give the same floats on the same type of machine. A copy (`pickle`,
    `copy.deepcopy`) replays the episode's actions and goes on where the original was.

    ## Version History
    * v0: first release (0.1.0); rewards may still change while the version of the package is below 1.0.

    ## References
    * P. Szerlip, K. O. Stanley: "Indirectly Encoded Sodarace for Artificial Life", ECAL 2013.
    * T. Johannink et al.: "Residual Reinforcement Learning for Robot Control", ICRA 2019.

    Attributes:
        design: The walker.
        terrain: The terrain of this episode.

    Raises:
        ValueError: An argument is out of range, a name is unknown, or the walker has no active muscle.
        ProgramError: The program builds no walker.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - declared as Gymnasium does; each instance has its own
        "render_modes": ["human", "rgb_array"],
        "render_fps": CONTROL_RATE,
    }

    def __init__(
        self,
        terrain: str | Terrain | TerrainDraw = "Flat",
        walker: str | WalkerDesign = "biped",
        render_mode: str | None = None,
        duration: float = DURATION,
        control_rate: int = CONTROL_RATE,
        residual: bool = False,
        max_actions: int | None = None,
        start_noise: float = 0.0,
        fault_penalty: float = 10.0,
        terrain_seed: int = 0,
        difficulty: float | None = None,
    ) -> None:
        self.render_mode = checked_render_mode(render_mode, self.metadata["render_modes"])
        least_time = 0.5 / STEP_RATE  # rounds to a step
        expected = f"at least one physics step (1/{STEP_RATE} s)"
        self.duration = checked_number("duration", duration, expected, above=least_time)
        expected = f"a whole divisor of {STEP_RATE}"
        self.control_rate = checked_whole("control_rate", control_rate, expected, 1, STEP_RATE)
        if STEP_RATE % self.control_rate:
            raise ValueError(f"control_rate: expected {expected}, got {control_rate}.")
        self.metadata = {**type(self).metadata, "render_fps": self.control_rate}
        self.residual = bool(residual)
        self.start_noise = checked_number("start_noise", start_noise, "a number of at least 0", least=0.0)
        self.fault_penalty = checked_number("fault_penalty", fault_penalty, "a number of at least 0", least=0.0)
        if max_actions is not None:
            max_actions = checked_whole("max_actions", max_actions, "None or a whole number of at least 1", least=1)
        self._source = TerrainSource(terrain, terrain_seed, difficulty)
        self.terrain = self._source.own  # of this episode
        self.design = walker if isinstance(walker, WalkerDesign) else _design(walker)

        arrays = world_arrays(self.design, self.terrain, self.duration)
        if not len(arrays.active):
            raise ValueError("walker: expected at least one active muscle, got none; there is nothing to control.")
        everyone = MuscleDrive(arrays, np.arange(len(arrays.active)), self.residual)
        self._drive = MuscleDrive(arrays, phase_groups(everyone.phase, max_actions), self.residual)
        self._senses = Senses(arrays)
        self._action_shape = (int(self._drive.groups.max()) + 1,)
        self.action_space = spaces.Box(-1.0, 1.0, self._action_shape, np.float32)
        self.observation_space = self._senses.space
        self._world: ControlledWorld | None = None
        self._start: NDArray[np.float64] = np.zeros((0, 2))  # joints of the settled walker
        self._start_centre = 0.0
        self._push: NDArray[np.float64] | None = None  # what start_noise added to this episode
        self._actions: list[NDArray[np.float64]] = []  # of this episode
        self._in_episode = False
        self._window: Window | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Puts the walker down, lets it come to rest and starts an episode.

        Args:
            seed: Seed of ``np_random``, which ``start_noise`` is drawn from.
            options: ``{"terrain_seed": n, "difficulty": d}``, both or one, draws another terrain of the family for this
                episode.

        Returns:
            The first observation, and the info that the class describes.

        Raises:
            ValueError: An option is unknown or out of range, or a terrain of the caller's own is to be drawn again.
            ProgramError: The walker does not come to rest on this terrain.
        """
        super().reset(seed=seed)
        self.terrain = self._source.drawn(checked_options(options, ("terrain_seed", "difficulty")))
        self._actions = []
        joints = len(self.design.joints)
        self._push = self.start_noise * self.np_random.standard_normal((joints, 2)) if self.start_noise else None
        self._world = self._settled_world()
        self._in_episode = True
        self._show()
        return self._observation(self._world), self._info(self._world)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Drives the muscles for ``1 / control_rate`` seconds.

        Args:
            action: Wanted deviations as shares of the amplitudes, shape (actions,).

        Returns:
            Observation, progress to the right in walker units, whether physics came apart, whether the time is up, and the
            info that the class describes.

        Raises:
            gymnasium.error.ResetNeeded: The episode is over or none has begun.
            ValueError: The action has a wrong shape or a value that is not a number.
        """
        world = self._world
        if not self._in_episode or world is None:
            raise gym.error.ResetNeeded("no episode is under way: call reset() before step().")
        values = np.array(action, dtype=np.float64)
        if values.shape != self._action_shape:
            raise ValueError(f"action: expected shape {self._action_shape}, got {values.shape}.")
        if np.isnan(values).any():
            raise ValueError(f"action: expected numbers, got NaN at {np.flatnonzero(np.isnan(values)).tolist()}.")
        before = world.centre
        self._apply(world, np.clip(values, -1.0, 1.0))
        reward = world.centre - before
        terminated = world.fault is not None
        truncated = not terminated and world.steps_left == 0
        if terminated:
            # Also for a walker that had gone to the left: coming apart never pays.
            reward = min(0.0, self._start_centre - before) - self.fault_penalty
        self._in_episode = not (terminated or truncated)
        self._show()
        return self._observation(world), float(reward), terminated, truncated, self._info(world)

    def open_loop_action(self, time: float | None = None) -> Action:
        """The action with which the walker follows its own gait, as a baseline to compare with.

        Args:
            time: Time of the gait, s; by default the middle of the step that the next action will drive.

        Returns:
            An action, shape (actions,): zeros where actions are residual, else ``sin(3 t + phase)`` for each muscle, or its
            mean over the muscles of each group.
        """
        if self.residual:
            return np.zeros(self._action_shape, dtype=np.float32)
        if time is None:
            taken = 0 if self._world is None else self._world.taken
            time = (taken + 0.5 * (STEP_RATE // self.control_rate + 1)) / STEP_RATE
        angle = DRIVE_RATE * time
        shares = self._drive.gait(np.array([[math.sin(angle), math.cos(angle)]]))[0]
        groups = self._drive.groups
        mean = np.bincount(groups, weights=shares) / np.bincount(groups)
        return np.clip(mean, -1.0, 1.0).astype(np.float32)

    def _settled_world(self) -> ControlledWorld:
        world = ControlledWorld(world_arrays(self.design, self.terrain, self.duration), CONSTANTS)
        if world.fault is not None:
            raise ProgramError(
                world.fault,
                f"the walker does not come to rest on {self.terrain.name} with its muscles still ({world.fault}); choose "
                "another walker or terrain.",
            )
        self._start = world.motion[:, :2].copy()
        self._start_centre = world.centre
        if self._push is not None:
            world.push(self._push)
        return world

    def _apply(self, world: ControlledWorld, action: NDArray[np.float64]) -> None:
        self._actions.append(action)
        steps = min(STEP_RATE // self.control_rate, world.steps_left)
        drive = world.arrays.drive[world.taken : world.taken + steps]
        now = world.rest_lengths if world.taken else None
        world.advance(self._drive.rest_lengths(action, drive, now))

    def _observation(self, world: ControlledWorld) -> Observation:
        return self._senses.observe(world, self._drive.shares(world.rest_lengths))

    def _info(self, world: ControlledWorld) -> dict[str, Any]:
        return {
            "displacement": 0.0 if world.fault else float(world.centre - self._start_centre),
            "time": world.taken / STEP_RATE,
            "fault": world.fault,
            "terrain": self.terrain.name,
        }

    def render(self) -> Any:
        """Draws the walker as it is now.

        Returns:
            An array of shape (height, width, 3), uint8, for ``"rgb_array"``; otherwise nothing.
        """
        if self.render_mode is None:
            warn_without_render_mode(self.spec)
            return None
        if self.render_mode == "rgb_array":
            from sodarace_gym.rendering.film import pose_image, terrain_image

            return terrain_image(self.terrain) if self._world is None else pose_image(*self._pose(self._world))
        return None  # the window shows every step by itself

    def _pose(self, world: ControlledWorld) -> tuple[Any, ...]:
        drives = np.zeros(len(self.design.muscles))
        drives[world.arrays.active] = self._drive.shares(world.rest_lengths)
        return self.design, self.terrain, world.motion[:, :2], drives, self._start, world.taken / STEP_RATE

    def _show(self) -> None:
        if self.render_mode != "human" or self._world is None:
            return
        from sodarace_gym.rendering.window import Window

        if self._window is None:
            self._window = Window(title=f"Sodarace: {self.terrain.name}")
        self._window.show_pose(*self._pose(self._world), frame_rate=self.control_rate)

    def __getstate__(self) -> dict[str, Any]:
        # A window and a world belong to their process; the copy replays the episode in a world of its own.
        return self.__dict__ | {"_window": None, "_world": None, "_has_world": self._world is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        has_world = state.pop("_has_world")
        self.__dict__.update(state)
        if has_world:
            actions, self._actions = self._actions, []
            self._world = self._settled_world()
            for action in actions:
                self._apply(self._world, action)

    def close(self) -> None:
        """Closes the window, if there is one; closing twice is fine."""
        if self._window is not None:
            self._window.close()
            self._window = None


def _design(walker: str) -> WalkerDesign:
    if not isinstance(walker, str):
        raise ValueError(f"walker: expected a name, the text of a program or a WalkerDesign, got {shown(walker)}.")
    if walker in WALKER_NAMES:
        return compile_program(load_walker(walker))[0]
    if "\n" not in walker.strip():
        names = ", ".join(WALKER_NAMES)
        raise ValueError(f"walker: expected one of {names}, or the text of a program, got {walker!r}.")
    return compile_program(walker)[0]
