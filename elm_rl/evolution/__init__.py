"""Stage 1: seed programs become maps of diverse walkers.

`stage` is what the command line runs, in rounds; `map_elites` is the loop and `settings` what it can be told. `planting` begins
a run with the programs of `seeds`; `breeding` makes the children of an iteration, by operators that `bandit` chooses;
`selection` offers them to the archives of `maps` (made by `archives`, spanned by `measures`), and `children_log` keeps all.
`state` is what a run knows between iterations and how that is kept: `pending` what is under way, `digest_set` which walkers it
has met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.evolution.archives import ArchiveSpec as ArchiveSpec
    from elm_rl.evolution.archives import ProgramMap as ProgramMap
    from elm_rl.evolution.map_elites import EvolutionResult as EvolutionResult
    from elm_rl.evolution.map_elites import run_evolution as run_evolution
    from elm_rl.evolution.seeds import SEED_NAMES as SEED_NAMES
    from elm_rl.evolution.seeds import load_seed as load_seed
    from elm_rl.evolution.settings import EvolveConfig as EvolveConfig
    from elm_rl.evolution.stage import run_evolve as run_evolve
    from elm_rl.evolution.state import EvolutionState as EvolutionState

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "archives": ["ArchiveSpec", "ProgramMap"],
        "map_elites": ["EvolutionResult", "run_evolution"],
        "seeds": ["SEED_NAMES", "load_seed"],
        "settings": ["EvolveConfig"],
        "stage": ["run_evolve"],
        "state": ["EvolutionState"],
    },
)
