"""What ``elm-rl evolve`` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from elm_rl.corpus.drawn_terrains import DrawnTerrains
from elm_rl.errors import ConfigError
from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.evolution.seeds import SEED_NAMES, seed_name
from elm_rl.mutation.specs import read_specs
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.setting_checks import check_threads, named_terrain
from sodarace_gym.terrains.terrain import Terrain

# What a resumed run may set anew. Operators, shares and iterations have their own rule: see `map_elites`.
MAY_CHANGE = (
    "iterations", "operators", "shares", "bandit", "checkpoint_every", "n_jobs", "out", "resume", "replay", "progress",
    "max_evaluations", "max_seconds", "target_qd", "target_best",
)  # fmt: skip

DEFAULT_OPERATORS = ("gp,tries=4", "builtin,share=0.05")
"""What mutates where nothing else is said; builtin makes four tries by itself. A child of it brings about as much as one of
gp and takes several times as long: a bandit would have it make more than 40% of the children."""


@dataclass(frozen=True, kw_only=True)
class EvolveConfig(DrawnTerrains):
    """Evolves walkers from seed programs."""

    out: Path = Path("runs/evolution")
    """Folder of the run; must be new or empty unless resuming."""
    seeds: tuple[str, ...] = SEED_NAMES
    """Seed programs: names of the hand-written ones, or Python files of your own. Each has an archive of its own."""
    start_from: Path | None = None
    """Another run whose elites are planted beside the seeds, each in the archive of the seed it descends from; they are scored
    anew, on this run's terrains."""
    terrains: tuple[str, ...] = ("Flat",)
    """Terrains that walkers are scored on: names of families, with settings behind commas as in
    Hills,difficulty=0.7,seed=3, or JSON files of terrains. Each has archives of its own; iterations take them in turn."""
    random_terrains: int = 0
    """Further terrains, drawn from the train split; the seed decides which."""
    try_everywhere: bool = False
    """With several terrains: try every valid child on all of them, and not only on its parent's."""
    archive: ArchiveSpec = field(default_factory=ArchiveSpec.left_out)
    """What archives the run has: kind, measures, ranges, bins."""
    maps: Literal["seed", "terrain"] = "seed"
    """Whether each seed has a map of its own on each terrain, or all seeds share one map a terrain."""
    iterations: int = 200
    """Iterations in all, those of a resumed run included."""
    batch_size: int = 256
    """Children an iteration, over all archives together."""
    tournament: int = 12
    """A parent is the fittest of so many elites of an archive, drawn uniformly."""
    uniform: float = 0.5
    """Share of the parents that are drawn uniformly instead; 1 draws all so, as the paper did."""
    operators: tuple[str, ...] = DEFAULT_OPERATORS
    """What mutates, by kind and source, with settings behind commas, as in chat:models/small,temperature=0.8,name=warm; or
    TOML files that hold such operators (docs/evolution.md)."""
    rounds: int = 0
    """So many times, after equal parts of the iterations, train a model of line edits anew on the children of the run, those of
    its first iterations apart. It joins the other operators, in the place of the round's before it."""
    round_start: str = "builtin"
    """What each round's training begins from: builtin, the folder of another model of line edits, or scratch."""
    round_steps: int = 1000
    """Training steps of each round."""
    round_share: float = 0.05
    """Part of all children that the model of a round makes; 0 has the bandit choose."""
    shares: tuple[float, ...] = ()
    """Fixed share of the children that each operator makes. Left out, a bandit chooses by what they bring, but for operators
    that have a share of their own, as in builtin,share=0.05."""
    bandit: Literal["evaluation", "second", "cost"] = "evaluation"
    """What the bandit counts the operators' gain in QD score by: evaluations, seconds of generation and evaluation (such a run
    depends on the machine) or money."""
    robustness: int = 0
    """With k above 0 the objective is not the distance but the least distance of the walker and k copies whose joints are off
    by thousandths: luck does not count, and an evaluation takes k + 1 times the physics."""
    duration: float = 10.0
    """Simulated seconds a walker is scored for."""
    seed: int = 0
    """Seed of every random choice; the same seed gives the same run, whatever n_jobs."""
    max_evaluations: int | None = None
    """Stop after the iteration in which so many programs have been evaluated."""
    max_seconds: float | None = None
    """Stop after the iteration in which the run, over all its resumed parts, has taken so many seconds, the training of rounds
    apart."""
    target_qd: float | None = None
    """Stop once the QD score of the best over all archives has come to this."""
    target_best: float | None = None
    """Stop once the best walker has come so far, in walker units."""
    checkpoint_every: int = 1
    """Iterations between checkpoints; a killed run loses at most so many. With servers there is one after each iteration, which
    their budgets may end."""
    n_jobs: int = -1
    """Threads that evaluate; -1 for one a core."""
    resume: bool = False
    """Continue the run in the folder."""
    replay: Path | None = None
    """Take the replies of servers from this run, in which they were kept, instead of asking."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        take_paths(self)
        super().__post_init__()
        object.__setattr__(self, "archive", replace(self.archive))  # what is left out of it is filled in
        spared = {"seeds": self.start_from, "terrains": self.random_terrains, "operators": None}
        for name, instead in spared.items():
            values = getattr(self, name)
            if len(set(values)) != len(values) or not (values or instead):
                raise ConfigError(f"{name} is {list(values)}; expected one or more names, each once.")
        for name, low in (
            ("iterations", 0),
            ("batch_size", 1),
            ("tournament", 1),
            ("checkpoint_every", 1),
            ("seed", 0),
            ("robustness", 0),
            ("random_terrains", 0),
            ("rounds", 0),
            ("round_steps", 1),
        ):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} or more.")
        if not 0 <= self.uniform <= 1:
            raise ConfigError(f"uniform is {self.uniform}; expected a share from 0 to 1.")
        if not 0 < self.duration < float("inf"):
            raise ConfigError(f"duration is {self.duration}; expected more than 0 simulated seconds.")
        check_threads(self.n_jobs)
        for name in ("max_evaluations", "max_seconds", "target_qd", "target_best"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}; expected more than 0, or leave it out.")
        for name, known in (("maps", ("seed", "terrain")), ("bandit", ("evaluation", "second", "cost"))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}.")
        self._check_shares()
        for text in self.seeds:
            seed_name(text)
        self.made_terrains()

    def made_terrains(self) -> dict[str, Terrain]:
        """The terrains by the text that names them: those that are named, then those that are drawn.

        Raises:
            ConfigError: A text names none.
        """
        named = {text: named_terrain(text) for text in self.terrains}
        rng, drawn = np.random.default_rng([self.seed, 5]), self.distribution()
        while len(named) < len(self.terrains) + self.random_terrains:
            draw = drawn.draw(rng)
            named[draw.text] = draw.terrain()
        return named

    def fixed_shares(self) -> list[float | None]:
        """The part of all children that each operator makes; None where a bandit chooses."""
        if not self.shares:
            return [spec.share for spec in read_specs(self.operators)]
        total = sum(self.shares)
        return [share / total for share in self.shares]

    def _check_shares(self) -> None:
        specs = read_specs(self.operators)
        if self.shares and (len(self.shares) != len(specs) or not all(0 < s < 1e9 for s in self.shares)):
            raise ConfigError(
                f"shares is {list(self.shares)}; expected one number above 0 for each of the {len(specs)} operators, or none "
                "to have a bandit choose."
            )
        own = [spec.share for spec in specs if spec.share is not None]
        if self.shares and own:
            raise ConfigError("Shares are given twice, by shares and behind operators; leave out one.")
        if self.shares and self.rounds:
            raise ConfigError(
                "With rounds there is one more operator; give shares behind operators, as in gp,share=0.8."
            )
        if not 0 <= self.round_share < 1:
            raise ConfigError(f"round_share is {self.round_share}; expected a part from 0 to 1.")
        # In the parts of a run after the first, the model of a round is among the operators.
        trained = any(spec.name.startswith("round-") for spec in specs)
        taken = sum(own) + (self.round_share if self.rounds and not trained else 0.0)
        if taken > 1 or (taken == 1 and len(own) < len(specs)):
            raise ConfigError(
                f"The operators' own shares come to {taken:g} of all children; expected less than 1 where a bandit is to "
                "divide what is left, and not more than 1 in any case."
            )
