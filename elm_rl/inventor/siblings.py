"""Siblings: many walkers that do as well as a chosen one where that is the choice, so that a model learns a kind, not a text.

A policy that learns a few programs by heart writes these and nothing else. Here genetic programming drifts away from each
walker of a portfolio: a child that does nearly as well is a parent too. What comes of it differs in joints, muscles and
statements, not in how far it walks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from elm_rl.corpus.cross_table import TABLE_FILE, WALKERS_FILE, CrossTable, load_cross_table
from elm_rl.corpus.score_store import ScoreStore
from elm_rl.corpus.walker_choice import best_in_turn
from elm_rl.corpus.walker_regressor import LEAST_TERRAINS, WalkerRegressor
from elm_rl.errors import ConfigError, ElmError
from elm_rl.judging.selection_baselines import greedy_portfolio
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import parents_of
from elm_rl.runs.parquet_file import write_parquet
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.processes import done_once
from elm_rl.runs.run_directory import read_json, write_json
from elm_rl.runs.setting_checks import check_threads
from sodarace_gym.evaluation import Evaluator

SIBLINGS_FILE = "siblings.json"
SCORES_FOLDER = "scores"
_BATCH = 128
"""Children of a walker that are made and rolled out together."""

# A run directory may move, and how many threads evaluate makes no difference.
_NOT_COMPARED = ("cross_table", "out", "n_jobs", "progress")


@dataclass(frozen=True, kw_only=True)
class SiblingsConfig:
    """Settings of ``elm-rl siblings``."""

    cross_table: Path
    """Folder of a table that 'elm-rl cross-table' has written."""
    out: Path
    """Folder for the siblings. A finished one with the same settings is reused, an unfinished one goes on."""
    portfolio: int = 24
    """Walkers that get siblings: a greedy choice from the table, so that one of them suits each terrain; from a table of fewer
    than 10 terrains the best of each in turn."""
    count: int = 64
    """Siblings of each, at most."""
    children: int = 640
    """Children tried for each, at most."""
    terrains: int = 6
    """Terrains of the table on which they are tried: those where the walker leads the rest of the portfolio by most."""
    keep: float = 0.9
    """What a sibling has to walk, as a share of what the walker itself does: on all of these together, and on the first of
    them, the first two and so on, so that most roll-outs of bad children are spared."""
    seed: int = 0
    """Seed of the changes."""
    n_jobs: int = -1
    """Threads that evaluate; -1 for one a core."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        take_paths(self)
        for name, low in (("portfolio", 1), ("count", 1), ("children", 1), ("terrains", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} or more.")
        check_threads(self.n_jobs)
        if not 0 < self.keep <= 1:
            raise ConfigError(f"keep is {self.keep}; expected a share above 0 and up to 1.")


@dataclass(frozen=True)
class Sibling:
    """A walker that does nearly as well as the one it descends from; that one itself is its own first sibling.

    Attributes:
        walker: Number of that walker in the table.
        program: The text.
        design: 16 bytes that tell walkers apart.
        share: Of what that walker walks, on the terrains where both were tried.
    """

    walker: int
    program: str
    design: bytes
    share: float


def run_siblings(config: SiblingsConfig) -> dict[int, list[Sibling]]:
    """Makes siblings and writes ``walkers.parquet`` and ``siblings.json`` to ``config.out``.

    Returns:
        The siblings of each walker of the portfolio, by its number in the table; the walker itself first.

    Raises:
        ElmError: The table is missing or unfinished, no walker of it moves, the folder holds siblings of another table or with
            other settings, another process writes to it, or the disk is full.
    """
    table = load_cross_table(config.cross_table)
    made = read_json(config.cross_table / TABLE_FILE)["config"]
    settings = {name: value for name, value in asdict(config).items() if name not in _NOT_COMPARED}
    content: dict[str, Any] = {"settings": settings, "fingerprint": _fingerprint(table, made)}

    def finished() -> dict[int, list[Sibling]] | None:
        path = config.out / SIBLINGS_FILE
        if not path.exists():
            return None
        before = read_json(path)
        for name, value in settings.items():
            if before["settings"].get(name) != value:
                raise ElmError(
                    f"'{config.out}' holds siblings with {name} = {before['settings'].get(name)}, not {value}; choose another "
                    "folder."
                )
        if before["fingerprint"] != content["fingerprint"]:
            raise ElmError(f"'{config.out}' holds siblings of another table; choose another folder.")
        return load_siblings(config.out) if (config.out / WALKERS_FILE).exists() else None

    def work() -> dict[int, list[Sibling]]:
        expected = _expected(table)
        portfolio = _portfolio(table, expected, config.portfolio)
        if not portfolio:
            raise ElmError(f"No walker of the table in '{config.cross_table}' moves; let evolution run longer.")
        write_json(config.out / SIBLINGS_FILE, content)
        store = ScoreStore(config.out / SCORES_FOLDER, made["robustness"])
        found: list[Sibling] = []
        with (
            Evaluator(n_jobs=config.n_jobs, duration=made["duration"]) as evaluator,
            tqdm(portfolio, desc="siblings", unit="walker", disable=not config.progress) as bar,
        ):
            for walker in bar:
                texts = _own_terrains(table, expected, portfolio, walker, config.terrains)
                found += drift(table.walkers[walker].program, walker, texts, store, evaluator, config)
                bar.set_postfix(siblings=len(found))
        # Written last: whoever finds it finds finished siblings.
        write_parquet(config.out / WALKERS_FILE, pa.Table.from_pylist([asdict(each) for each in found]))
        return load_siblings(config.out)

    return done_once(config.out, finished, work)


def drift(
    program: str,
    walker: int,
    texts: Sequence[str],
    store: ScoreStore,
    evaluator: Evaluator,
    config: SiblingsConfig,
) -> list[Sibling]:
    """A walker and siblings of it, each the child of one before.

    Children go from terrain to terrain together, and those that are behind after one do not see the next.

    Args:
        program: The walker's text.
        walker: Its number.
        texts: Terrains on which siblings have to do as well.
        store: Knows what was rolled out before, so that nothing is done twice.
        evaluator: Rolls out.
        config: How many, and how good.
    """
    rng = np.random.default_rng([config.seed, walker])
    operator = GPMutation()
    store.fill([program], texts, evaluator, progress=False)
    design = store.design(program, texts[0])
    siblings = [Sibling(walker, program, design or b"", 1.0)]
    texts = [text for text in texts if store.least(program, text) > 0]
    own = [store.least(program, text) for text in texts]
    if design is None or not own:
        return siblings
    known: set[bytes | None] = {design, None}
    for begin in range(0, config.children, _BATCH):
        count = min(_BATCH, config.children - begin)
        parents = [siblings[place].program for place in rng.integers(len(siblings), size=count)]
        made = [child.program for child in operator.mutate(parents_of(parents), rng)]
        left = dict.fromkeys((text for text in made if text is not None), 0.0)
        for tried, text in enumerate(texts, start=1):
            store.fill(list(left), [text], evaluator, progress=False)
            walked = {child: distance + store.least(child, text) for child, distance in left.items()}
            needed = config.keep * sum(own[:tried])
            left = {
                child: distance
                for child, distance in walked.items()
                if distance >= needed and store.design(child, text) not in known
            }
        for child, distance in left.items():
            if (found := store.design(child, texts[0])) is not None and found not in known:
                siblings.append(Sibling(walker, child, found, distance / sum(own)))
                known.add(found)
            if len(siblings) > config.count:
                return siblings
    return siblings


def load_siblings(folder: Path) -> dict[int, list[Sibling]]:
    """Reads finished siblings, by the number of the walker in its table; the walker itself first.

    Raises:
        ElmError: The folder holds none, or a file is damaged.
    """
    read_json(folder / SIBLINGS_FILE)
    try:
        rows = [Sibling(**row) for row in pq.read_table(folder / WALKERS_FILE).to_pylist()]
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ElmError(
            f"'{folder}' holds no siblings that can be read ({reason}); make them with 'elm-rl siblings'."
        ) from error
    found: dict[int, list[Sibling]] = {}
    for row in rows:
        found.setdefault(row.walker, []).append(row)
    return found


def _expected(table: CrossTable) -> NDArray[np.float64]:
    """What is expected of the walkers (terrains, walkers): smoothed over the terrains, where there are enough of them."""
    terrains, least = list(table.terrains.values()), table.least.astype(np.float64)
    return WalkerRegressor(terrains, least).predict(terrains) if len(terrains) >= LEAST_TERRAINS else least


def _portfolio(table: CrossTable, expected: NDArray[np.float64], count: int) -> list[int]:
    """Walkers of which one suits each terrain; on few terrains the best of each in turn."""
    if len(expected) >= LEAST_TERRAINS:
        return greedy_portfolio(expected, count)
    return best_in_turn(expected, [walker.design for walker in table.walkers], count)


def _own_terrains(
    table: CrossTable, expected: NDArray[np.float64], portfolio: Sequence[int], walker: int, count: int
) -> list[str]:
    """Terrains of the table on which one walker of a portfolio is expected to lead the others by most."""
    others = [each for each in portfolio if each != walker]
    rest = expected[:, others].max(axis=1) if others else np.zeros(len(expected))
    texts = list(table.terrains)
    return [texts[row] for row in np.argsort(rest - expected[:, walker], kind="stable")[:count]]


def _fingerprint(table: CrossTable, made: Mapping[str, Any]) -> str:
    """What tells tables apart."""
    digest = blake2b(f"{made['robustness']} {made['duration']}".encode(), digest_size=8)
    for walker in table.walkers:
        digest.update(walker.design)
    for text in table.terrains:
        digest.update(text.encode())
    return digest.hexdigest()
