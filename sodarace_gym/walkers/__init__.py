"""What a walker is.

`walker` has the design with its limits, repairs and measures; `raw_walker` is what a program returned, before any of that.
`random_walker` draws walkers, `words` spells them token by token, and `library` holds eight programs by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from sodarace_gym.walkers.library import WALKER_NAMES as WALKER_NAMES
    from sodarace_gym.walkers.library import load_walker as load_walker
    from sodarace_gym.walkers.random_walker import random_design as random_design
    from sodarace_gym.walkers.raw_walker import RawWalker as RawWalker
    from sodarace_gym.walkers.walker import Muscle as Muscle
    from sodarace_gym.walkers.walker import WalkerDesign as WalkerDesign
    from sodarace_gym.walkers.walker import build_design as build_design
    from sodarace_gym.walkers.words import WalkerWord as WalkerWord

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "library": ["WALKER_NAMES", "load_walker"],
        "random_walker": ["random_design"],
        "raw_walker": ["RawWalker"],
        "walker": ["Muscle", "WalkerDesign", "build_design"],
        "words": ["WalkerWord"],
    },
)
