"""Actions for agents that choose from a list: an episode writes a walker token by token."""

from __future__ import annotations

import math
import operator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sodarace_gym.arguments import checked_whole, shown
from sodarace_gym.envs.spaces import check_acts_with_programs
from sodarace_gym.walkers.words import PICTURE, TOKENS, WalkerWord

Observation = dict[str, NDArray[np.float32]]
WordObservation = dict[str, NDArray[Any]]

LONGEST_WORD = 40
"""Largest ``max_tokens``."""


class SequentialActions(gym.Wrapper[WordObservation, int, Observation, str], gym.utils.RecordConstructorArgs):
    """Lets an agent write a walker token by token; the last step of an episode runs it.

    ## Description
    The agent holds a pen that stands on a joint and draws plain muscles, or active ones at one of eight phases. A polygon comes
    first; then steps add joints beside the pen's, hubs add joints far out that drag the body along, copies double the body, and
    waves let muscles work one after the other. Short words make the bodies that Sodarace is known for:

    - a wheel with a far hub: `polygon 8`, `phase 0`, `hub up left`, `stop`
    - a grid whose far columns are joined: `polygon 4`, `repeat right`, `repeat right`, `repeat up`, `phase 0`, `join far`,
      `wave right`, `stop`
    - a body on two legs: `polygon 4`, `phase 0`, `step down`, `phase 4`, `mirror`, `stop`

    ## Action Space
    `Discrete(37)`, indices into `TOKENS`. Lengths are in walker units; a direction is `right`, `up right`, `up`, `up left`,
    `left`, `down left`, `down` or `down right`.

    | Token                         | What it writes                                                                       |
    |-------------------------------|--------------------------------------------------------------------------------------|
    | `stop`                        | the end of the word                                                                  |
    | `plain`                       | nothing, but the pen draws plain muscles from now on, as it does at first            |
    | `phase 0` ... `phase 7`       | nothing, but the pen draws active muscles of this phase, in eighths of a turn        |
    | `polygon n`, n = 3 4 5 6 8    | a regular polygon with sides of 2, neighbours and second neighbours joined; the      |
    |                               | phases go once around                                                                |
    | `step` and a direction        | a joint 2 away from the pen's (diagonally 2.8), joined to it and to the two nearest  |
    |                               | others, each a quarter turn later; where there is a joint already only the muscle to |
    |                               | it, in place of an older one; the pen moves there                                    |
    | `hub` and a direction         | a joint 9 away from the middle of the body, joined to all others; the phases go once |
    |                               | around in the order in which these were made; the pen stays                          |
    | `join far`                    | muscles between all joints that are more than 3.8 apart along x                      |
    | `repeat right`, `repeat up`   | a copy of the body beside it or above it, with a gap of 2                            |
    | `mirror`                      | a mirrored copy to the right, with a gap of 2                                        |
    | `wave right`, `wave up`       | phases: those of active muscles grow by a turn from one side of the body to the other|

    The muscles of a copy lag behind their originals by the pen's phase. Joints of body and copy that are nearer than 3, and at
    least the three nearest pairs, are joined with the pen, which moves to the copy. Active muscles have the largest amplitude.

    ## Action grammar
    ```text
    word = [pen] polygon {item} ["stop"]
    pen  = "plain" | "phase 0" | ... | "phase 7"
    item = [pen] (step | hub | "join far" | "repeat right" | "repeat up" | "mirror" | "wave right" | "wave up")
    ```
    The pen that is held is not taken again, no hub is put where a joint is, and nothing may pass a limit of
    `sodarace_gym.walkers.walker`. `action_masks()` says which tokens may follow, as sb3-contrib's `MaskablePPO` asks for it;
    `info["action_mask"]` says it as `action_space.sample(mask=...)` takes it.

    ## Observation Space
    `Dict` of what the environment observes (`floor` and `ceiling`) and

    | Key       | Observation                                          | Space                              |
    |-----------|------------------------------------------------------|------------------------------------|
    | `word`    | the tokens so far, each plus 1; 0 where none is yet  | `MultiDiscrete([38] * max_tokens)` |
    | `picture` | the body, flattened from (3, 12, 15)                 | `Box(-1, 1, (540,), float32)`      |

    The picture has rows and columns of cells of 2 x 2 from the body's lower left corner. Its layers are: 1 where a joint is;
    the sine and the cosine of the phases of the active muscles there, shorter where these disagree.

    ## Rewards
    0 for each token but the last, which earns what the walker earns in the wrapped environment.

    ## Failure rewards
    A token that may not follow ends the episode: it earns the environment's reward of a failure, with `info["error"]`
    `"forbidden_token"` and an `info["error_message"]` that names the tokens that may.

    ## Starting State
    An empty word.

    ## Episode End
    After "stop", after `max_tokens` tokens (the walker is then run as it is) or after a forbidden token (`terminated` is True).
    The last `info` is the environment's and holds all its keys.

    ## Arguments
    ```python
    >>> import gymnasium as gym
    >>> from sodarace_gym import SequentialActions
    >>> env = SequentialActions(gym.make("sodarace_gym:Sodarace-Flat-v0"))
    >>> observation, info = env.reset(seed=0)
    >>> _ = env.action_space.seed(0)
    >>> terminated = False
    >>> while not terminated:
    ...     token = env.action_space.sample(mask=info["action_mask"])
    ...     observation, reward, terminated, truncated, info = env.step(token)
    >>> info["error"] is None
    True

    ```

    | Parameter    | Type      | Default | Description                                      |
    |--------------|-----------|---------|--------------------------------------------------|
    | `env`        | `gym.Env` |         | an environment whose actions are walker programs |
    | `max_tokens` | `int`     | `12`    | longest word, from 2 to 40                       |

    ## Determinism
    The same word on the same terrain builds the same program and earns the same reward.

    Raises:
        ValueError: ``max_tokens`` is out of range, or the environment does not act with programs or observe a ``Dict``.
    """

    def __init__(self, env: gym.Env[Observation, str], max_tokens: int = 12) -> None:
        check_acts_with_programs(env)
        expected = f"a whole number from 2 to {LONGEST_WORD}"
        max_tokens = checked_whole("max_tokens", max_tokens, expected, 2, LONGEST_WORD)
        inner: Any = env  # Gymnasium's annotations expect what a wrapper wraps to act and observe as the wrapper does
        terrain: Any = env.observation_space
        if not isinstance(terrain, spaces.Dict):
            raise ValueError(
                f"env: expected an environment that observes a Dict, got {terrain}; flatten it after wrapping."
            )
        gym.utils.RecordConstructorArgs.__init__(self, max_tokens=max_tokens)
        gym.Wrapper.__init__(self, inner)
        self.max_tokens = max_tokens
        self.action_space = spaces.Discrete(len(TOKENS))  # type: ignore[assignment] # its numbers are ints enough
        word = spaces.MultiDiscrete([len(TOKENS) + 1] * max_tokens)
        picture = spaces.Box(-1.0, 1.0, (3 * math.prod(PICTURE),), np.float32)
        self.observation_space = spaces.Dict({**terrain.spaces, "word": word, "picture": picture})  # type: ignore[assignment]
        self._word = WalkerWord()
        self._terrain: Observation | None = None  # None outside an episode
        self._unshown = False  # whether a token was written since a frame was handed out

    @property
    def word(self) -> tuple[int, ...]:
        """The tokens of this episode so far; ``decode`` makes the program of them."""
        return tuple(self._word.tokens)

    def action_masks(self) -> NDArray[np.bool_]:
        """The tokens that may follow, shape (37,); none after the last one."""
        return self._word.mask() if self._terrain is not None else np.zeros(len(TOKENS), dtype=np.bool_)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[WordObservation, dict[str, Any]]:
        """Starts an episode; the arguments are the environment's.

        Returns:
            The first observation, and the environment's info with the ``action_mask``.
        """
        self._terrain, info = self.env.reset(seed=seed, options=options)
        self._word = WalkerWord()
        self._unshown = False
        return self._observation(self._terrain), info | self._told()

    def step(self, action: int) -> tuple[WordObservation, float, bool, bool, dict[str, Any]]:
        """Writes a token.

        Args:
            action: Its index in ``TOKENS``.

        Returns:
            The observation, the reward, whether the word is over, False, and an info with the ``action_mask``.

        Raises:
            gymnasium.error.ResetNeeded: The episode is over or none has begun.
            ValueError: The action is no whole number.
        """
        try:
            token = operator.index(action)
        except TypeError:
            raise ValueError(f"action: expected the index of a token, a whole number, got {shown(action)}.") from None
        if self._terrain is None:
            raise gym.error.ResetNeeded("the word is over or none has begun: call reset() before step().")
        self._unshown = True
        refusal = None
        try:
            self._word.write(token)
        except ValueError as error:
            refusal = str(error)
        if refusal is None and not self._word.over and len(self._word.tokens) < self.max_tokens:
            return self._observation(self._terrain), 0.0, False, False, self._told()
        self._terrain = None
        # No text, no walker: the environment books the failure and its reward as it would any other.
        program: Any = "" if refusal else self._word.program()
        terrain, reward, terminated, truncated, info = self.env.step(program)
        if refusal is not None:
            info |= {"error": "forbidden_token", "error_message": refusal}
        return self._observation(terrain), float(reward), terminated, truncated, info | self._told()

    def render(self) -> Any:
        """Renders the environment: the terrain while the word is being written. Each step has at least a frame in a list."""
        rendered = self.env.render()
        unshown, self._unshown = self._unshown, False
        if unshown and isinstance(rendered, list) and not rendered and self._terrain is not None:
            return self.get_wrapper_attr("walk_images")()
        return rendered

    def _observation(self, terrain: Observation) -> WordObservation:
        word = np.zeros(self.max_tokens, dtype=np.int64)
        word[: len(self._word.tokens)] = np.add(self._word.tokens, 1)
        # Copies: a step must not see what the caller did to an earlier observation.
        terrain = {name: values.copy() for name, values in terrain.items()}
        return {**terrain, "word": word, "picture": self._word.body.picture().ravel()}

    def _told(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks().astype(np.int8)}
