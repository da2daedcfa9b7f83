"""Stage 3: the stage 2 model learns which program suits which terrain.

`targets` chooses what is best known for every terrain from a cross table, and `supervised` shows it to the model. Then the
model tries its own, and `rank_reward` ranks it: `rank_gradient` (with `policy_update`), `ppo` (with `trainer`, TRL's) and
`group` (with `group_trainers`, TRL's GRPO and RLOO) take the steps, `policy_watch` says which policy is the best so far, and
`policy_run` keeps the books. `policy_stage` has what they share. `invent` uses a policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.inventor.group import GroupConfig as GroupConfig
    from elm_rl.inventor.group import run_group as run_group
    from elm_rl.inventor.invent import InventConfig as InventConfig
    from elm_rl.inventor.invent import Invention as Invention
    from elm_rl.inventor.invent import run_invent as run_invent
    from elm_rl.inventor.policy_run import PolicyResult as PolicyResult
    from elm_rl.inventor.ppo import FinetuneConfig as FinetuneConfig
    from elm_rl.inventor.ppo import run_finetune as run_finetune
    from elm_rl.inventor.rank_gradient import RankGradientConfig as RankGradientConfig
    from elm_rl.inventor.rank_gradient import run_rank_gradient as run_rank_gradient
    from elm_rl.inventor.supervised import SupervisedConfig as SupervisedConfig
    from elm_rl.inventor.supervised import run_supervised as run_supervised
    from elm_rl.inventor.trainer import TerrainPPOTrainer as TerrainPPOTrainer

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "group": ["GroupConfig", "run_group"],
        "invent": ["InventConfig", "Invention", "run_invent"],
        "policy_run": ["PolicyResult"],
        "ppo": ["FinetuneConfig", "run_finetune"],
        "rank_gradient": ["RankGradientConfig", "run_rank_gradient"],
        "supervised": ["SupervisedConfig", "run_supervised"],
        "trainer": ["TerrainPPOTrainer"],
    },
)
