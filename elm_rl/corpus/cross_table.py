"""Which walker suits which terrain: chosen walkers on many terrains, with copies that tell luck from walking.

A cross table is a folder of Parquet files that pandas and ``datasets`` open: ``walkers.parquet``, ``terrains.parquet`` and, in
``scores/``, what has been rolled out. A pair that stands there is never rolled out again: a table that was stopped goes on, and
one that is asked for more walkers or terrains is extended.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from elm_rl.corpus.drawn_terrains import DrawnTerrains
from elm_rl.corpus.score_store import ScoreStore
from elm_rl.corpus.walker_choice import best_in_turn, read_elites
from elm_rl.errors import ConfigError, ElmError
from elm_rl.runs.parquet_file import write_parquet
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import read_json, write_json, write_text
from elm_rl.runs.run_lock import run_lock
from elm_rl.runs.setting_checks import check_threads, named_terrain
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.terrains.texts import terrain_from_text

TABLE_FILE, WALKERS_FILE, TERRAINS_FILE, SCORES_FOLDER = (
    "cross_table.json",
    "walkers.parquet",
    "terrains.parquet",
    "scores",
)


@dataclass(frozen=True, kw_only=True)
class CrossTableConfig(DrawnTerrains):
    """Settings of ``elm-rl cross-table``."""

    evolution: tuple[Path, ...]
    """Evolution directories whose elites are the walkers to choose from."""
    out: Path
    """Folder of the table; an existing one is extended."""
    walkers: int = 1200
    """Walkers in the table."""
    probes: int = 8
    """Terrains on which all elites are tried to choose them."""
    terrains: tuple[str, ...] = ()
    """Terrains of the table, as in Hills,difficulty=0.5,seed=3; beside those that are drawn."""
    draws: int = 160
    """Terrains drawn from the train split."""
    robustness: int = 2
    """Copies of each walker, with joints off by thousandths, that are rolled out too."""
    duration: float = 10.0
    """Simulated seconds a walker is scored for."""
    seed: int = 0
    """Seed of the terrains that are drawn."""
    n_jobs: int = -1
    """Threads that evaluate; -1 for one a core."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        take_paths(self)
        super().__post_init__()
        if not self.evolution:
            raise ConfigError("evolution is empty; name at least one directory that 'elm-rl evolve' has written.")
        for name, low in (("walkers", 1), ("probes", 1), ("draws", 0), ("robustness", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} or more.")
        if not self.terrains and not self.draws:
            raise ConfigError("There are no terrains; name some (terrains) or have some drawn (draws).")
        check_threads(self.n_jobs)
        if not 0 < self.duration < float("inf"):
            raise ConfigError(f"duration is {self.duration}; expected more than 0 simulated seconds.")
        for text in self.terrains:
            named_terrain(text)

    def texts(self) -> list[str]:
        """The terrains of the table: those that are named, then those that are drawn; each once."""
        rng = np.random.default_rng([self.seed, 1])
        drawn = (self.distribution().draw(rng).text for _ in range(self.draws))
        return list(dict.fromkeys([*self.terrains, *drawn]))


@dataclass(frozen=True)
class TableWalker:
    """A walker of a cross table.

    Attributes:
        program: The program that builds it.
        design: 16 bytes that tell walkers apart (`sodarace_gym.physics.robustness.design_digest`).
        run: Index of the evolution directory it comes from.
        id: Its id in that run.
        archive: The archive whose elite it is.
        fitness: Distance walked there, in walker units.
        height: In walker units.
        width: In walker units.
        mass: Joints plus half the summed rest lengths.
    """

    program: str
    design: bytes
    run: int
    id: int
    archive: str
    fitness: float
    height: float
    width: float
    mass: float


@dataclass(frozen=True)
class CrossTable:
    """A table in memory.

    Attributes:
        walkers: The walkers.
        terrains: The terrains by the texts that name them.
        distances: Distances in walker units, (terrains, walkers, 1 + copies), float32: the walker's own first; 0 for what
            could not be simulated.
    """

    walkers: list[TableWalker]
    terrains: dict[str, Terrain]
    distances: NDArray[np.float32]

    @property
    def plain(self) -> NDArray[np.float32]:
        """Distances as simulated, (terrains, walkers)."""
        return self.distances[:, :, 0]

    @property
    def least(self) -> NDArray[np.float32]:
        """The least of each walker and its copies, (terrains, walkers): no luck raises it."""
        found: NDArray[np.float32] = self.distances.min(axis=2)
        return found

    @property
    def mean(self) -> NDArray[np.float32]:
        """The mean over the copies alone, (terrains, walkers): an unbiased estimate of what a walker of this kind walks."""
        found: NDArray[np.float32] = self.distances[:, :, 1:].mean(axis=2)
        return found

    def digest(self) -> str:
        """16 hexadecimal digits that tell tables apart: by programs, terrains and distances."""
        texts = "\0".join([*(walker.program for walker in self.walkers), *self.terrains])
        content = texts.encode("utf-8", "surrogatepass") + b"\0" + self.distances.tobytes()
        return blake2b(content, digest_size=8).hexdigest()


def run_cross_table(config: CrossTableConfig) -> CrossTable:
    """Makes or extends a table; see the module.

    All elites are tried on some of the terrains, and those that do best there are the walkers of the table; then these are
    rolled out on the others.

    Raises:
        ElmError: A run is missing or damaged, no elite moves, the folder holds a table with another robustness or duration,
            another process writes to it, or the disk is full.
    """
    with run_lock(config.out):
        _check_same(config)
        elites, texts = read_elites(config.evolution), config.texts()
        programs = [each.program for each in elites]
        probes = texts[:: max(1, len(texts) // config.probes)][: config.probes]
        store = ScoreStore(config.out / SCORES_FOLDER, config.robustness)
        write_json(config.out / TABLE_FILE, {"config": asdict(config)})
        with Evaluator(n_jobs=config.n_jobs, duration=config.duration) as evaluator:
            store.fill(programs, probes, evaluator, label="choosing walkers", progress=config.progress)
            least = np.array([[store.least(program, text) for program in programs] for text in probes])
            digests = [store.design(program, probes[0]) for program in programs]
            chosen = best_in_turn(least, digests, config.walkers)
            if not chosen:
                raise ElmError(
                    f"None of {len(programs)} elites moves on any of {len(probes)} terrains; let evolution run longer."
                )
            best = [programs[place] for place in chosen]
            store.fill(best, texts, evaluator, label="cross table", progress=config.progress)
        names = [field.name for field in fields(TableWalker) if field.name != "design"]
        walkers = [
            {name: getattr(elites[place], name) for name in names} | {"design": digests[place]} for place in chosen
        ]
        write_parquet(config.out / TERRAINS_FILE, pa.table({"terrain": texts}))
        write_text(config.out / "README.md", _card(config, len(walkers), len(texts)))
        # Written last: whoever finds it finds a finished table.
        write_parquet(config.out / WALKERS_FILE, pa.Table.from_pylist(walkers))
    return load_cross_table(config.out)


def _check_same(config: CrossTableConfig) -> None:
    """Whether a table that is there has the robustness and the duration of this one."""
    if not (config.out / TABLE_FILE).exists():
        return
    before = read_json(config.out / TABLE_FILE)["config"]
    for name in ("robustness", "duration"):
        if before[name] != getattr(config, name):
            raise ElmError(
                f"'{config.out}' holds a table with {name} = {before[name]}, not {getattr(config, name)}; choose another "
                "folder."
            )


def load_cross_table(folder: Path) -> CrossTable:
    """Reads a finished table.

    Raises:
        ElmError: The folder holds none, it is not finished, or a file is damaged.
    """
    try:
        walkers = [TableWalker(**row) for row in pq.read_table(folder / WALKERS_FILE).to_pylist()]
        texts = pq.read_table(folder / TERRAINS_FILE)["terrain"].to_pylist()
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ElmError(
            f"'{folder}' holds no cross table that can be read ({reason}); make one with 'elm-rl cross-table'."
        ) from error
    store = ScoreStore(folder / SCORES_FOLDER, read_json(folder / TABLE_FILE)["config"]["robustness"])
    found = [[store.get(walker.program, text) for walker in walkers] for text in texts]
    if any(score is None for row in found for score in row):
        raise ElmError(f"The table in '{folder}' is not finished; run the same 'elm-rl cross-table' again.")
    distances = np.array([[score.distances for score in row if score] for row in found], dtype=np.float32)
    return CrossTable(walkers, {text: terrain_from_text(text) for text in texts}, distances)


def _card(config: CrossTableConfig, walkers: int, terrains: int) -> str:
    runs = ", ".join(str(path) for path in config.evolution)
    return f"""---
license: mit
configs:
- config_name: walkers
  data_files: walkers.parquet
- config_name: terrains
  data_files: terrains.parquet
- config_name: scores
  data_files: scores/*.parquet
---

# Walkers on terrains

{walkers} Sodarace walkers, elites of {runs}, on {terrains} terrains; made with `elm-rl cross-table`. Settings: `{TABLE_FILE}`.

- `walkers.parquet`: `program` (the text), `design` (16 bytes that tell walkers apart), `run` and `id` in that run, `archive`,
  `fitness` there, `height`, `width` and `mass`.
- `terrains.parquet`: `terrain`, the text that names it (`sodarace_gym.terrains.texts.terrain_from_text`).
- `scores/`: `terrain`, `program` and `design` (16 bytes of BLAKE2b of the text and of the walker), `distances` in walker units:
  the walker's own, then those of {config.robustness} copies whose joints are off by thousandths of a unit; 0 for what could not
  be simulated. Elites that were tried and not chosen are there too.

`elm_rl.corpus.load_cross_table` reads all of it as arrays.
"""
