"""The environment that draws a terrain at each reset."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sodarace_gym.envs.env import SodaraceEnv
from sodarace_gym.physics.constants import DURATION
from sodarace_gym.terrains.distribution import TerrainDistribution
from sodarace_gym.terrains.families import FAMILIES
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain


class RandomTerrainEnv(SodaraceEnv):
    """Invent a walker for whatever terrain comes.

    ## Description
    `SodaraceEnv` on a terrain that is drawn anew at each reset: the family, the seed and the difficulty. To measure how well an
    agent generalises, learn with `split="train"` and report on the terrains of `terrain_split("test")`, which are the same for
    everybody.

    ## Action Space
    As in `SodaraceEnv`: `WalkerPrograms()`, the text of a program that builds a walker; the rendering is as there, too.

    ## Observation Space
    As in `SodaraceEnv`: `floor` and `ceiling`, heights of the terrain that was drawn. The agent does not observe the family.

    ## Rewards
    As in `SodaraceEnv`: the distance the walker covers, or `invalid_reward`.

    ## Starting State
    `reset(seed=n)` makes this draw and all that follow reproducible. Options of `reset` hold for one episode:

    | Option       | Type                 | Meaning                                         |
    |--------------|----------------------|-------------------------------------------------|
    | `families`   | list of `str`        | families to draw from                           |
    | `difficulty` | `float` or two       | difficulty, or least and greatest               |
    | `split`      | `str`                | `"train"`, `"validation"` or `"test"`           |
    | `terrain`    | `Terrain`            | no draw, but this terrain                       |

    `info` of `reset` and `step` holds, besides what `SodaraceEnv` puts there, `terrain_seed` and `difficulty` of a terrain that
    was drawn: `TerrainDraw(info["terrain"], info["terrain_seed"], info["difficulty"]).terrain()` makes it again. (A
    difficulty is drawn for the paper's five families too, to which it means nothing.)

    ## Episode End
    Every episode ends after one step (`terminated` is True), on the terrain it began on.

    ## Arguments
    ```python
    >>> import gymnasium as gym
    >>> env = gym.make("sodarace_gym:Sodarace-Random-v0", families=["Hills", "Gaps"], difficulty=(0.0, 0.5))
    >>> sorted(env.reset(seed=7)[1])
    ['difficulty', 'terrain', 'terrain_seed']

    ```

    | Parameter        | Type             | Default        | Description                                               |
    |------------------|------------------|----------------|-----------------------------------------------------------|
    | `families`       | list of `str`    | all 13         | families to draw from; the paper's five may be among them |
    | `difficulty`     | `float` or two   | `(0.0, 1.0)`   | difficulty, or least and greatest                         |
    | `split`          | `str`            | `"train"`      | which seeds are drawn                                     |
    | `render_mode`    | `str` or `None`  | `None`         | `"human"`, `"rgb_array"` or `"rgb_array_list"`            |
    | `duration`       | `float`          | `10.0`         | simulated seconds that the muscles work                   |
    | `invalid_reward` | `float`          | `0.0`          | reward of a program that fails                            |
    | `robustness`     | `int`            | `0`            | perturbed copies that walk along, see `SodaraceEnv`       |

    ## Determinism
    The seed of `reset` decides what terrains are drawn, by this reset and all that follow until the next seed, in every process
    alike. On each terrain rewards are as reproducible as in `SodaraceEnv`.

    ## Version History
    * v0: first release (0.1.0); rewards change as those of `Sodarace-<Terrain>-v0` do.

    ## References
    * K. Cobbe, C. Hesse, J. Hilton, J. Schulman: "Leveraging Procedural Generation to Benchmark Reinforcement Learning",
      [arXiv:1912.01588](https://arxiv.org/abs/1912.01588), 2020: why agents are trained on some seeds and measured on others.

    Attributes:
        distribution: What terrains are drawn from.

    Raises:
        ValueError: An argument is out of range or a name is unknown.
    """

    _OPTIONS = ("families", "difficulty", "split", "terrain")

    def __init__(
        self,
        families: Sequence[str] = tuple(FAMILIES),
        difficulty: float | tuple[float, float] = (0.0, 1.0),
        split: str = "train",
        render_mode: str | None = None,
        duration: float = DURATION,
        invalid_reward: float = 0.0,
        robustness: int = 0,
    ) -> None:
        self.distribution = TerrainDistribution(families, difficulty, split)
        # Until the first reset the terrain is one that no episode is played on.
        super().__init__(make_terrain("Flat"), render_mode, duration, invalid_reward, robustness=robustness)

    def _choose_terrain(self, options: dict[str, Any]) -> tuple[Terrain, dict[str, Any]]:
        if "terrain" in options:
            return super()._choose_terrain(options)
        draw = dataclasses.replace(self.distribution, **options).draw(self.np_random)
        return draw.terrain(), {"terrain_seed": draw.seed, "difficulty": draw.difficulty}
