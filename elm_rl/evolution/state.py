"""Everything an evolution run knows: its archives, what it has seen and counted, and how that is saved and restored.

The archives are pyribs' own, one a seed program. They are not saved: `ADMITTED_FILE` lists every admitted program in
order, and adding them again in that order gives the same archives to the last bit. So a checkpoint is a few hundred
bytes of counters, random state and log lengths.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ribs.archives import GridArchive

from elm_rl.errors import ElmError
from elm_rl.evolution.digest_set import DigestSet
from elm_rl.runs.checkpoint import CHECKPOINT_FILE, AppendLog, load_checkpoint, save_checkpoint
from elm_rl.runs.run_directory import ADMITTED_FILE, METRICS_FILE, to_json
from sodarace_gym.evaluation import Evaluation
from sodarace_gym.walkers.walker import WalkerDesign

DESIGNS_FILE = "designs.bin"

MEASURES = ("height", "width", "mass")
"""What spans the map, in this order: walker units, walker units, joint masses."""
DIMS = (12, 12, 12)
"""Bins along each measure: 1,728 niches, as in Lehman et al. 2022."""
RANGES = ((0.0, 24.0), (0.0, 30.0), (0.0, 300.0))
"""Lowest and highest value of each measure; heavier walkers share the last bin of mass."""

COUNTS = ("proposed", "applied", "valid", "new", "admitted")
"""What is counted of an operator's children; each is a part of the one before. Applied: a program came out. Valid: it
built a walker that could be scored. New: the run had not seen that walker. Admitted: an archive took it."""

_KEY_BYTES = 16


def make_archive() -> GridArchive:
    """An empty map: program texts as solutions, fitness as objective, (height, width, mass) as measures; record ids."""
    return GridArchive(
        solution_dim=(),
        solution_dtype=object,  # str would silently keep one character
        dims=DIMS,
        ranges=RANGES,
        qd_score_offset=0.0,
        extra_fields={"id": ((), np.int64)},
        seed=0,  # never drawn from: parents come from the run's own generator, which a checkpoint can hold
    )


def design_key(design: WalkerDesign) -> bytes:
    """A digest that two walkers share when they are the same walker, 16 bytes."""
    digest = hashlib.blake2b(len(design.joints).to_bytes(4, "little"), digest_size=_KEY_BYTES)
    digest.update(array("d", chain.from_iterable(design.joints)).tobytes())
    digest.update(array("d", chain.from_iterable(design.muscles)).tobytes())
    return digest.digest()


def rebuild_archives(records: Sequence[Mapping[str, Any]], seeds: Sequence[str]) -> dict[str, GridArchive]:
    """Adds admitted records, in their order, to one new archive a seed.

    Args:
        records: lines of `ADMITTED_FILE`, all of them from the first.
        seeds: names of the archives.

    Raises:
        ElmError: a record is not what this version of the archive would have admitted.
    """
    archives = {name: make_archive() for name in seeds}
    for number, record in enumerate(records):
        try:
            fits = record["id"] == number and _add(archives[record["archive"]], record)
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise ElmError(
                f"Line {number + 1} of {ADMITTED_FILE} was not written by this version for these seeds; resume with "
                "the versions in versions.json, or start a new run."
            )
    return archives


def _add(archive: GridArchive, record: Mapping[str, Any]) -> bool:
    # One at a time: pyribs compares a batch with the archive before it, and keeps only the best in a niche.
    measures = [record[name] for name in MEASURES]
    info = archive.add_single(record["program"], record["fitness"], measures, id=record["id"])
    return bool(info["status"])


class EvolutionState:
    """The state of one run in one folder; a context manager that closes its logs.

    Attributes:
        archives: one map a seed program, by the seed's name.
        rng: the generator behind every choice of the run.
        iteration: iterations done; 0 once the seeds are in.
        evaluations: programs evaluated, seeds included.
        phases: one dict a phase: its last iteration, its operators, and their `COUNTS`.
        errors: how often each kind of error stopped a child.
        seconds: time spent, over all resumed parts.
    """

    def __init__(self, folder: Path, seeds: Sequence[str], seed: int) -> None:
        self.folder = folder
        self.archives = {name: make_archive() for name in seeds}
        self.rng = np.random.default_rng(seed)
        self.iteration = 0
        self.evaluations = 0
        self.phases: list[dict[str, Any]] = []
        self.errors: Counter[str] = Counter()
        self.seconds = 0.0
        self._best = {name: _fitness_by_niche(archive) for name, archive in self.archives.items()}
        self._roots = array("q")
        self._seed_ids: set[int] = set()
        self._seen = DigestSet()
        self._unwritten: dict[str, list[bytes]] = {ADMITTED_FILE: [], DESIGNS_FILE: []}
        with ExitStack() as stack:
            names = (ADMITTED_FILE, DESIGNS_FILE, METRICS_FILE)
            self._logs = {name: stack.enter_context(AppendLog(folder / name)) for name in names}
            self._stack = stack.pop_all()

    def __enter__(self) -> EvolutionState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def admitted(self) -> int:
        """Programs admitted so far, seeds included; the id of the next one."""
        return len(self._roots)

    def is_new(self, design: WalkerDesign) -> bool:
        """Whether the run sees this walker for the first time; asking makes it seen."""
        key = design_key(design)
        if not self._seen.add(key):
            return False
        self._unwritten[DESIGNS_FILE].append(key)
        return True

    def admit(
        self,
        archive: str,
        program: str,
        evaluation: Evaluation,
        *,
        parent: int | None,
        operator: str,
        message: str,
        diff: str | None,
    ) -> bool:
        """Offers a valid program to an archive, and logs it when it is taken.

        Args:
            archive: the seed name of the archive.
            program: the text.
            evaluation: its score and morphology.
            parent: record id of the parent; None for a seed.
            operator: name of what made it.
            message: the operator's message.
            diff: the change as a diff, when the operator writes diffs.

        Returns:
            True for a new niche or an improvement of one.
        """
        measures = (evaluation.height, evaluation.width, evaluation.mass)
        niche = int(self.archives[archive].index_of_single(measures))
        if not evaluation.fitness > self._best[archive][niche]:
            return False  # what the archive would say, in a tenth of the time
        identity = self.admitted
        # The lineage that a hold-out keeps together starts with a seed's child, or everything would be one lineage.
        root = identity if parent is None or parent in self._seed_ids else self._roots[parent]
        record = {
            "id": identity,
            "archive": archive,
            "iteration": self.iteration,
            "program": program,
            "parent": parent,
            "operator": operator,
            "message": message,
            "diff": diff,
            "fitness": float(evaluation.fitness),
            **{name: float(value) for name, value in zip(MEASURES, measures, strict=True)},
            "niche": niche,
            "root": root,
        }
        if not _add(self.archives[archive], record):
            return False
        self._best[archive][niche] = record["fitness"]
        self._remember(record)
        self._unwritten[ADMITTED_FILE].append(to_json(record).encode("ascii") + b"\n")
        return True

    def _remember(self, record: Mapping[str, Any]) -> None:
        self._roots.append(record["root"])
        if record["parent"] is None:
            self._seed_ids.add(record["id"])

    def write_iteration(self, metrics: Mapping[str, Any]) -> None:
        """Appends what the iteration found, and its line of metrics, to the logs."""
        for name, parts in self._unwritten.items():
            self._logs[name].append(b"".join(parts))
            parts.clear()
        self._logs[METRICS_FILE].append_json(metrics)

    def save(self) -> None:
        """Writes a checkpoint of all that `write_iteration` has logged."""
        state = {
            "iteration": self.iteration,
            "evaluations": self.evaluations,
            "rng": self.rng.bit_generator.state,
            "phases": self.phases,
            "errors": self.errors,
            "seconds": self.seconds,
            "logs": {name: log.mark() for name, log in self._logs.items()},
        }
        save_checkpoint(self.folder, state)

    def load(self) -> bool:
        """Restores the newest usable checkpoint and cuts the logs back to it.

        Returns:
            False when the run was killed before its first checkpoint; the logs are then emptied.

        Raises:
            ElmError: no checkpoint can be used, or there is none where there should be.
        """
        if load_checkpoint(self.folder, self._restore):
            return True
        if len((self.folder / METRICS_FILE).read_bytes().splitlines()) > 1:  # the seeds' line is saved before any other
            raise ElmError(
                f"'{self.folder}' holds the log of a run but no checkpoint; restore {CHECKPOINT_FILE} from a copy, or "
                "start a new run in another folder."
            )
        for log in self._logs.values():
            log.cut(b"")
        return False

    def _restore(self, state: dict[str, Any]) -> None:
        logged = {name: self._logs[name].verified(mark) for name, mark in state["logs"].items()}
        records = [json.loads(line) for line in logged[ADMITTED_FILE].splitlines()]
        archives = rebuild_archives(records, list(self.archives))
        for name, data in logged.items():  # nothing was changed before this line, so another checkpoint could be tried
            self._logs[name].cut(data)
        self.archives = archives
        self._best = {name: _fitness_by_niche(archive) for name, archive in archives.items()}
        self._roots, self._seed_ids = array("q"), set()
        for record in records:
            self._remember(record)
        keys = logged[DESIGNS_FILE]
        self._seen = DigestSet()
        for start in range(0, len(keys), _KEY_BYTES):
            self._seen.add(keys[start : start + _KEY_BYTES])
        self.rng.bit_generator.state = state["rng"]
        self.iteration = state["iteration"]
        self.evaluations = state["evaluations"]
        self.phases = state["phases"]
        self.errors = Counter(state["errors"])
        self.seconds = state["seconds"]

    def figures(self) -> dict[str, Any]:
        """Niches filled, QD score and best fitness: of the best over all archives, and of each archive."""
        merged = np.maximum.reduce(list(self._best.values()))
        archives = {name: _map_figures(fitness) for name, fitness in self._best.items()}
        return {**_map_figures(merged), "archives": archives}

    def summary(self) -> dict[str, Any]:
        """What the run has come to: `figures`, and how each operator fared in all and in each phase, errors, timing."""
        totals: dict[str, Counter[str]] = {}
        phases = []
        for phase in self.phases:
            for name, counts in phase["counts"].items():
                totals.setdefault(name, Counter(dict.fromkeys(COUNTS, 0))).update(counts)
            operators = {name: operator_figures(counts) for name, counts in phase["counts"].items()}
            last = min(phase["last_iteration"], self.iteration)
            phases.append({"first_iteration": phase["first_iteration"], "last_iteration": last, "operators": operators})
        return {
            "iterations": self.iteration,
            "evaluations": self.evaluations,
            "admitted": self.admitted,
            "all_niches": math.prod(DIMS),
            **self.figures(),
            "operators": {name: operator_figures(counts) for name, counts in totals.items()},
            "phases": phases,
            "errors": dict(sorted(self.errors.items())),
            "timing": {"seconds": self.seconds, "evaluations_per_second": self.evaluations / max(self.seconds, 1e-9)},
        }


def operator_figures(counts: Mapping[str, int]) -> dict[str, float]:
    """Counts of an operator's children (`COUNTS`), and each as a percentage of the proposed."""
    proposed = max(1, counts["proposed"])
    return {**counts, **{f"{name}_percent": 100.0 * counts[name] / proposed for name in COUNTS[1:]}}


def _fitness_by_niche(archive: GridArchive) -> NDArray[np.float64]:
    """Fitness of each niche's elite, -inf where there is none; shape (niches,)."""
    fitness = np.full(int(archive.cells), -np.inf)
    elites = archive.data(["objective", "index"])
    fitness[elites["index"]] = elites["objective"]
    return fitness


def _map_figures(fitness: NDArray[np.float64]) -> dict[str, Any]:
    filled = fitness[np.isfinite(fitness)].tolist()
    # fsum: exact, so the figure depends on the elites and not on the order or the machine they are added up on.
    return {"niches": len(filled), "qd_score": math.fsum(filled), "best": max(filled, default=0.0)}
