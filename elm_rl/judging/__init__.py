"""How good is what a model writes?

`sample_quality` measures samples (valid, distinct, niches, distances). `comparison` sets what a model writes for terrains
beside what it writes without them, with `rollouts` of every program on every terrain, and `terrain_matrix` decides whether it
writes differently for different terrains. `terrain_scores` scores what was written for any number of terrains, copies apart;
`selection_baselines` are what that has to beat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.judging.comparison import compare as compare
    from elm_rl.judging.sample_quality import SampleConfig as SampleConfig
    from elm_rl.judging.sample_quality import SampleQuality as SampleQuality
    from elm_rl.judging.sample_quality import measure_quality as measure_quality
    from elm_rl.judging.sample_quality import run_sample as run_sample
    from elm_rl.judging.terrain_matrix import diagonal_support as diagonal_support
    from elm_rl.judging.terrain_matrix import is_conditional as is_conditional

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "comparison": ["compare"],
        "sample_quality": ["SampleConfig", "SampleQuality", "measure_quality", "run_sample"],
        "terrain_matrix": ["diagonal_support", "is_conditional"],
    },
)
