"""Using a policy: a terrain in, walkers out, ranked by how far they surely get, and improved further if there is time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from elm_rl.corpus.known_walkers import known_designs
from elm_rl.errors import ConfigError, ElmError
from elm_rl.inventor.builtin import BUILTIN_POLICY
from elm_rl.models.conditioning import prompts_of
from elm_rl.models.language_model import load_policy
from elm_rl.models.sampling import context_length, sample_completions
from elm_rl.models.tokenizer import decode_program
from elm_rl.mutation.operator import MutationOperator, Parent
from elm_rl.mutation.specs import make_operators
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import explained_disk_errors, write_bytes, write_json, write_text
from elm_rl.runs.setting_checks import check_threads, named_terrain
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.physics.robustness import design_digest
from sodarace_gym.terrains.terrain import Terrain

_CHILDREN = 16
"""Children between two choices of parents."""
_FINALISTS = 8
"""Walkers that are checked at the end, at least."""
_DRAWN = 4
"""Walkers in the picture."""


@dataclass(frozen=True, kw_only=True)
class InventConfig:
    """Settings of ``elm-rl invent``."""

    terrain: str
    """Terrain to invent for: a family with settings, as in Hills,difficulty=0.7,seed=3, or a JSON file of a terrain."""
    model: Path | None = None
    """Folder of a policy that takes any terrain, or of one of codes for a terrain that it knows; left out, the built-in one."""
    count: int = 8
    """Walkers to give back, all different."""
    samples: int = 32
    """Programs that the policy writes to choose from."""
    improve: int = 0
    """Further evaluations spent on improving them, by genetic programming."""
    temperature: float = 0.7
    """Below 1 the policy plays safe; 0 takes the likeliest token."""
    min_p: float = 0.05
    """Leaves out tokens that are less than so many times as likely as the likeliest one."""
    robustness: int = 2
    """Copies of each walker, with joints off by thousandths, that are rolled out too; the least distance ranks."""
    check_copies: int = 4
    """Further copies of the best few, which are rolled out at the end: the walker that is best of many with few copies owes
    that to luck in part, and the least of all of its copies ranks and is shown. 0 for none; without robustness there are
    none either."""
    known: tuple[Path, ...] = ()
    """Folders of cross tables and corpora: walkers that these hold are not given back, but may be the parents of others."""
    out: Path | None = None
    """Folder for the programs, their figures and a picture of the best walking; without, programs are printed alone."""
    longest: int = 256
    """Tokens at which a program is cut."""
    duration: float = 10.0
    """Simulated seconds a walker is scored for."""
    seed: int = 0
    """The same seed gives the same walkers."""
    n_jobs: int = -1
    """Threads that evaluate; -1 for one a core."""

    def __post_init__(self) -> None:
        take_paths(self)
        lowest = {"count": 1, "samples": 1, "improve": 0, "robustness": 0, "check_copies": 0, "longest": 1, "seed": 0}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} or more.")
        if not 0 <= self.temperature < math.inf or not 0 <= self.min_p <= 1:
            raise ConfigError(
                f"temperature is {self.temperature} and min_p {self.min_p}; expected 0 or more, and from 0 to 1."
            )
        check_threads(self.n_jobs)
        if not 0 < self.duration < math.inf:
            raise ConfigError(f"duration is {self.duration}; expected more than 0 simulated seconds.")
        self.ground()

    def ground(self) -> Terrain:
        """The terrain.

        Raises:
            ConfigError: The text names none.
        """
        return named_terrain(self.terrain)


@dataclass(frozen=True)
class Invention:
    """A walker for the terrain.

    Attributes:
        program: The text that builds it.
        least: The least distance of it and its perturbed copies, walker units.
        distance: Its own.
        by: What wrote it: "policy", or the operator that improved it.
    """

    program: str
    least: float
    distance: float
    by: str


def run_invent(config: InventConfig) -> list[Invention]:
    """Invents walkers, prints them, and writes ``1.py``, ``inventions.json`` and ``race.png`` to ``out`` if there is one.

    Returns:
        The walkers, best first.

    Raises:
        ElmError: The model cannot be read or does not know the terrain, nothing that it wrote is a walker, or a new one where
            only these are wanted, or the disk is full.
    """
    with Evaluator(n_jobs=config.n_jobs, duration=config.duration, robustness=config.robustness) as evaluator:
        found = invent_walkers(config, evaluator)
    copies = config.robustness + config.check_copies if config.robustness else 0
    with Evaluator(n_jobs=config.n_jobs, duration=config.duration, robustness=copies) as evaluator:
        found = checked(found, config, evaluator)[: config.count]
    if config.out is not None:
        _write(config.out, config, found)
    for number, each in enumerate(found, start=1):
        print(
            f"# {number}: {each.least:.1f} units ({each.distance:.1f} as simulated), by {each.by}\n{each.program.rstrip()}\n"
        )
    return found


def invent_walkers(config: InventConfig, evaluator: Evaluator) -> list[Invention]:
    """Invents walkers, and neither prints nor writes them.

    Args:
        config: Its `out`, `robustness`, `check_copies`, `duration` and `n_jobs` are not looked at.
        evaluator: Rolls out `samples` programs, then at most `improve` more.

    Returns:
        The walkers, best first, and some more than `count` if that is low, to be checked.

    Raises:
        ElmError: See :func:`run_invent`.
    """
    terrain = config.ground()
    known = known_designs(config.known)
    policy, tokenizer = load_policy(config.model or BUILTIN_POLICY)
    prompts = prompts_of(policy, tokenizer, [config.terrain] * config.samples)
    room = min(config.longest, context_length(policy) - len(prompts[0]))
    ids = sample_completions(
        policy,
        tokenizer,
        prompts,
        max_new_tokens=room,
        temperature=config.temperature,
        min_p=config.min_p,
        seed=config.seed,
    )
    pool = _Pool(max(config.count, _FINALISTS), known)
    programs = [decode_program(tokenizer, answer) for answer in ids]
    pool.add(programs, evaluator.evaluate(programs, terrain), ["policy"] * len(programs))
    if not pool.parents:
        raise ElmError(
            f"None of {config.samples} programs makes a walker that can be simulated on {config.terrain}; ask for more "
            "(samples), at a lower temperature."
        )
    if config.improve:
        _improve(pool, config, terrain, evaluator)
    if not pool.walkers:
        raise ElmError(
            "All walkers that were found are known; ask for more (samples), at a higher temperature, or for children of theirs "
            "(improve)."
        )
    return list(pool.walkers.values())


def checked(found: Sequence[Invention], config: InventConfig, evaluator: Evaluator) -> list[Invention]:
    """Walkers in the order, and with the distances, that an evaluator with more copies finds.

    In a study of 40 terrains (benchmarks/results/invent_settings.md) the best of 35 samples and 197 children went at least
    167 units with the two copies that had chosen it and 139 with four others; the one chosen from 8 by six copies went 151
    with these.
    """
    scored = evaluator.evaluate([each.program for each in found], config.ground())
    again = [replace(each, least=new.score) for each, new in zip(found, scored, strict=True)]
    return sorted(again, key=lambda each: -each.least)


class _Pool:
    """The best walkers so far, all different, best first: those that are new, and apart from them those that are known."""

    def __init__(self, count: int, known: frozenset[bytes]) -> None:
        self.count = count
        self.walkers: dict[bytes, Invention] = {}
        self._known = known
        self._shown: dict[bytes, Invention] = {}

    @property
    def parents(self) -> list[Invention]:
        """The best of both, best first."""
        ranked = sorted([*self.walkers.values(), *self._shown.values()], key=lambda each: -each.least)
        return ranked[: self.count]

    def add(self, programs: Sequence[str], found: Sequence[Evaluation], makers: Sequence[str]) -> None:
        """Adds what walks, and keeps the best."""
        for program, each, maker in zip(programs, found, makers, strict=True):
            if each.valid and each.design is not None:
                digest = design_digest(each.design)
                place = self._shown if digest in self._known else self.walkers
                place.setdefault(digest, Invention(program, each.score, each.fitness, maker))
        self.walkers, self._shown = (
            dict(sorted(place.items(), key=lambda item: -item[1].least)[: self.count])
            for place in (self.walkers, self._shown)
        )


def _improve(pool: _Pool, config: InventConfig, terrain: Terrain, evaluator: Evaluator) -> None:
    """Spends evaluations on children of the best, which take the place of worse ones."""
    operators: list[MutationOperator] = make_operators(("gp",))
    try:
        rng = np.random.default_rng([config.seed, 1])
        left = config.improve
        while left > 0:
            best = pool.parents
            # The better half is drawn from twice as often.
            odds = np.array([2.0 if place < len(best) / 2 else 1.0 for place in range(len(best))])
            drawn = rng.choice(len(best), size=min(_CHILDREN, left), p=odds / odds.sum())
            parents = [
                Parent(best[place].program, fitness=best[place].least, terrain=config.terrain) for place in drawn
            ]
            children = list(operators[0].children(parents, rng))
            texts = [child.program for child in children if child.program is not None]
            pool.add(texts, evaluator.evaluate(texts, terrain), ["gp"] * len(texts))
            left -= len(parents)
    finally:
        operators[0].close()


def _write(out: Path, config: InventConfig, found: Sequence[Invention]) -> None:
    # Imported when it is needed: pictures need pygame.
    from io import BytesIO

    from sodarace_gym.programs.program import compile_program
    from sodarace_gym.rendering.film import film_strip

    terrain = config.ground()
    with explained_disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(found, start=1):
        write_text(out / f"{number}.py", each.program)
    strips = [
        film_strip(compile_program(each.program)[0], terrain, duration=config.duration) for each in found[:_DRAWN]
    ]
    picture = BytesIO()
    Image.fromarray(np.concatenate(strips)).save(picture, format="PNG")
    write_bytes(out / "race.png", picture.getvalue())
    write_json(out / "inventions.json", {"config": asdict(config), "walkers": [asdict(each) for each in found]})
