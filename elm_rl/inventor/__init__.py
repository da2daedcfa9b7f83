"""Stage 3: the stage 2 model learns which program suits which terrain.

`targets` chooses what is best known for every terrain from a cross table, and `supervised` shows it to the model; `warm_start`
does so from a corpus and a few terrains. Then it tries its own: `rank_gradient` ranks them within their terrain
(`policy_update`) and keeps the policy that does best (`policy_watch`); `ppo` does so with `trainer`, with the environment as
the reward (`reward`) and the terrain x terrain matrix as the judge (`monitor`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.inventor.ppo import FinetuneConfig as FinetuneConfig
    from elm_rl.inventor.ppo import FinetuneResult as FinetuneResult
    from elm_rl.inventor.ppo import run_finetune as run_finetune
    from elm_rl.inventor.rank_gradient import RankGradientConfig as RankGradientConfig
    from elm_rl.inventor.rank_gradient import RankGradientResult as RankGradientResult
    from elm_rl.inventor.rank_gradient import run_rank_gradient as run_rank_gradient
    from elm_rl.inventor.supervised import SupervisedConfig as SupervisedConfig
    from elm_rl.inventor.supervised import run_supervised as run_supervised
    from elm_rl.inventor.trainer import TerrainPPOTrainer as TerrainPPOTrainer
    from elm_rl.inventor.warm_start import WarmStartConfig as WarmStartConfig
    from elm_rl.inventor.warm_start import WarmStartResult as WarmStartResult
    from elm_rl.inventor.warm_start import run_warm_start as run_warm_start

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ppo": ["FinetuneConfig", "FinetuneResult", "run_finetune"],
        "rank_gradient": ["RankGradientConfig", "RankGradientResult", "run_rank_gradient"],
        "supervised": ["SupervisedConfig", "run_supervised"],
        "trainer": ["TerrainPPOTrainer"],
        "warm_start": ["WarmStartConfig", "WarmStartResult", "run_warm_start"],
    },
)
