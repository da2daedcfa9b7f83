"""Maps of an evolution run at any time of it, and what their elites are worth to a judge who did not choose them.

The log of a run says what its maps held after each iteration. The judge lets the elites walk again: as they are, as copies
whose joints are off by some thousandths of a unit (other copies than the objective of a run sees), and in finer time steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.convergence import arrays, distances, refined
from elm_rl.runs.run_directory import ADMITTED_FILE, METRICS_FILE, read_jsonl, to_json, write_text
from sodarace_gym.physics.constants import CONSTANTS, SOLVER_ITERATIONS, STEP_RATE
from sodarace_gym.physics.robustness import perturbed
from sodarace_gym.programs.program import compile_program
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign

FIRST_COPY = 1000
"""Number of the judge's first copy; an Evaluator's robustness counts its copies from 1, so that the two never meet."""
FINE_RATES = (2 * STEP_RATE, 480)
"""Steps a second: half the step in use, and 480 Hz."""

_CHUNK = 32


class Progress(NamedTuple):
    """What a run had done after an iteration: children evaluated, and seconds spent, over all resumed parts."""

    iteration: int
    evaluations: int
    seconds: float


def progress_of(run: Path) -> list[Progress]:
    """One entry an iteration, from the seeds on."""
    lines = list(read_jsonl(run / METRICS_FILE))
    seconds = accumulate(line.get("timing", {}).get("seconds", 0.0) for line in lines)
    return [Progress(line["iteration"], line["evaluations"], spent) for line, spent in zip(lines, seconds, strict=True)]


def within(progress: Sequence[Progress], seconds: float) -> Progress:
    """The last iteration that had ended when a run had spent so much time."""
    return max((entry for entry in progress if entry.seconds <= seconds), default=progress[0])


class Elites:
    """The elites of a run after an iteration, by archive and niche.

    Args:
        records: The run's log.
        until: The last iteration that counts.

    Attributes:
        by_niche: Records by archive and niche.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]], until: int) -> None:
        self.by_niche: dict[tuple[str, int], Mapping[str, Any]] = {}
        for record in records:  # in the order in which they were admitted: the last one of a niche holds it
            if record["iteration"] <= until:
                self.by_niche[record["archive"], record["niche"]] = record

    def best_of_archives(self) -> list[Mapping[str, Any]]:
        """One elite a niche: that of all archives which the run's own objective prefers."""
        best: dict[int, Mapping[str, Any]] = {}
        for (_, niche), record in self.by_niche.items():
            if niche not in best or record["fitness"] > best[niche]["fitness"]:
                best[niche] = record
        return list(best.values())


class Verdict(NamedTuple):
    """What a walker is worth: distances in walker units, 0 where it fails.

    Attributes:
        plain: As it is.
        copies: Of each copy whose joints are off.
        finer: At each of `FINE_RATES`; empty if that was not asked for.
    """

    plain: float
    copies: list[float]
    finer: list[float]


class Judge:
    """Judges the elites of one run, each once, and keeps what it found in the run's folder.

    Args:
        run: Folder of the run.
        terrain: Where they walk.
        copies: Copies of each walker.
    """

    def __init__(self, run: Path, terrain: Terrain, copies: int) -> None:
        self._file = run / f"judged_by_{copies}_copies.jsonl"
        self._terrain = terrain
        self._copies = copies
        found = read_jsonl(self._file) if self._file.exists() else ()
        self.verdicts = {line["id"]: Verdict(line["plain"], line["copies"], line["finer"]) for line in found}

    def judge(self, records: Sequence[Mapping[str, Any]], finer: bool = False) -> list[Verdict]:
        """Judges those that were not judged before.

        Args:
            records: Lines of the run's log.
            finer: Whether to try finer time steps too.

        Returns:
            A verdict on each record.
        """
        missing = [
            record
            for record in {record["id"]: record for record in records}.values()
            if record["id"] not in self.verdicts or (finer and not self.verdicts[record["id"]].finer)
        ]
        chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as threads:
            for number, verdicts in enumerate(threads.map(lambda chunk: self._walk(chunk, finer), chunks), start=1):
                self.verdicts.update(verdicts)
                if number % 16 == 0:
                    self._save()
        if missing:
            self._save()
        return [self.verdicts[record["id"]] for record in records]

    def _walk(self, records: Sequence[Mapping[str, Any]], finer: bool) -> dict[int, Verdict]:
        designs = [compile_program(record["program"])[0] for record in records]
        copies = [perturbed(design, FIRST_COPY + copy) for design in designs for copy in range(self._copies)]
        usual = self._distances([*designs, *copies], STEP_RATE)
        fine = [self._distances(designs, rate) for rate in (FINE_RATES if finer else ())]
        moved = np.reshape(usual[len(designs) :], (len(designs), self._copies)).tolist()
        return {
            record["id"]: Verdict(usual[number], moved[number], [of_rate[number] for of_rate in fine])
            for number, record in enumerate(records)
        }

    def _distances(self, designs: Sequence[WalkerDesign], rate: int) -> list[float]:
        finer = rate // STEP_RATE
        constants = CONSTANTS if finer == 1 else refined(finer, SOLVER_ITERATIONS)
        worlds = [arrays(design, self._terrain, finer, None) for design in designs]
        return [float(distance) for distance in np.nan_to_num(distances(worlds, constants))]

    def _save(self) -> None:
        lines = (to_json({"id": identity, **verdict._asdict()}) for identity, verdict in self.verdicts.items())
        write_text(self._file, "".join(f"{line}\n" for line in lines))


def kept(verdicts: Sequence[Verdict], least: float) -> dict[str, np.ndarray]:
    """Distances as shares of the walker's own, of those that get further than ``least``.

    Returns:
        By what was changed: "joints moved" (every copy of every walker) and "<rate> Hz".
    """
    walkers = [verdict for verdict in verdicts if verdict.plain > least]
    shares = {"joints moved": [copy / verdict.plain for verdict in walkers for copy in verdict.copies]}
    for number, rate in enumerate(FINE_RATES):
        shares[f"{rate} Hz"] = [verdict.finer[number] / verdict.plain for verdict in walkers if verdict.finer]
    return {name: np.array(values) for name, values in shares.items()}


def scores(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """QD scores of a map and its best walker, by three judges: plain distance, mean of the copies, least of the copies."""
    plain = [verdict.plain for verdict in verdicts]
    mean = [float(np.mean(verdict.copies)) for verdict in verdicts]
    least = [min(verdict.copies) for verdict in verdicts]
    return {
        "niches": float(len(verdicts)),
        "plain": float(np.sum(plain)),
        "mean": float(np.sum(mean)),
        "least": float(np.sum(least)),
        "best plain": max(plain, default=0.0),
        "best mean": max(mean, default=0.0),
    }


def read_log(run: Path) -> list[dict[str, Any]]:
    """The log of admitted programs."""
    return list(read_jsonl(run / ADMITTED_FILE))
