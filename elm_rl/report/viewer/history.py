"""What a page shows of evolution runs: the elites of their archives, and all ancestors of these back to the seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elm_rl.errors import ElmError
from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.evolution.maps import Maps
from elm_rl.report.ancestry import run_settings
from elm_rl.runs.run_directory import ADMITTED_FILE, METRICS_FILE, SUMMARY_FILE, read_json, read_jsonl

_NEEDED = ("id", "archive", "iteration", "program", "parent", "operator", "fitness", "niche", "height", "width", "mass")


@dataclass
class Record:
    """An elite, or an ancestor of one.

    Attributes:
        run: Number of its run.
        line: Its line in the run's ``admitted.jsonl``.
        terrain: Text that names the terrain it was scored on.
        elite: Whether it is in its archive at the end.
        parent: Place of its parent among the records; None for a seed.
        planted: Whether that parent is an elite of another run that this one began with.
        heirs: How many elites descend from it.
    """

    run: int
    line: Mapping[str, Any]
    terrain: str
    elite: bool
    parent: int | None = None
    planted: bool = False
    heirs: int = 0

    @property
    def fitness(self) -> float:
        """What it was admitted for, walker units."""
        return float(self.line["fitness"])

    @property
    def program(self) -> str:
        """Its text."""
        return str(self.line["program"])


@dataclass
class Run:
    """One evolution run.

    Attributes:
        folder: Where it is.
        settings: Its ``config.json``.
        spec: What archives it has.
        archives: The text that names each archive's terrain, by the archive's name.
        finished: Whether it has ended.
    """

    folder: Path
    settings: Mapping[str, Any]
    spec: ArchiveSpec
    archives: dict[str, str]
    finished: bool

    @property
    def robustness(self) -> int:
        """Perturbed copies whose least distance was the objective; 0 where the distance was."""
        return int(self.settings.get("robustness") or 0)


@dataclass
class History:
    """The runs and their records: ancestors come before their descendants."""

    runs: list[Run] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def lineage(self, place: int) -> list[int]:
        """Places of a record's ancestors and its own, from the seed on."""
        line: list[int] = []
        at: int | None = place
        while at is not None:
            line.append(at)
            at = self.records[at].parent
        return line[::-1]

    def elites(self) -> list[int]:
        """Places of the elites."""
        return [place for place, record in enumerate(self.records) if record.elite]

    def champions(self) -> list[int]:
        """Places of the best of each archive, the best first."""
        best: dict[tuple[int, str], int] = {}
        for place in self.elites():
            key = self.records[place].run, str(self.records[place].line["archive"])
            if key not in best or self.records[place].fitness > self.records[best[key]].fitness:
                best[key] = place
        return sorted(best.values(), key=lambda place: (-self.records[place].fitness, place))


def read_history(folders: Sequence[Path]) -> History:
    """Reads evolution runs; they may still be going on.

    Args:
        folders: Of the runs; a run that began with the elites of another stands after that one.

    Raises:
        ElmError: A folder holds no evolution run, or its log is damaged or of a version that wrote other records.
    """
    history = History()
    for number, folder in enumerate(folders):
        run = _run(folder)
        known = {record.program: place for place, record in enumerate(history.records)} if history.runs else {}
        began_with = run.settings.get("start_from")
        history.runs.append(run)
        places: dict[int, int] = {}
        elites, wanted = _wanted(run)
        for line in _lines(folder):
            if line["id"] not in wanted:
                continue
            terrain = str(line.get("terrain", run.settings.get("terrain", "Flat")))
            record = Record(number, line, terrain, line["id"] in elites)
            if line["parent"] is not None:
                record.parent = places[line["parent"]]
            elif began_with is not None and record.program in known:
                record.parent, record.planted = known[record.program], True
            places[line["id"]] = len(history.records)
            history.records.append(record)
            run.archives.setdefault(str(line["archive"]), terrain)
    heirs: Counter[int] = Counter()
    for place in range(len(history.records) - 1, -1, -1):
        record = history.records[place]
        record.heirs = heirs[place]
        if record.parent is not None:
            heirs[record.parent] += heirs[place] + record.elite
    return history


def _run(folder: Path) -> Run:
    settings = run_settings(folder)
    archive = settings.get("archive")
    spec = ArchiveSpec(**archive) if isinstance(archive, dict) else ArchiveSpec()
    return Run(folder, settings, spec, {}, (folder / SUMMARY_FILE).is_file())


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    log = folder / ADMITTED_FILE
    for line in read_jsonl(log):
        missing = [key for key in _NEEDED if key not in line]
        if missing:
            raise ElmError(
                f"A record of '{log}' has no '{missing[0]}': another version wrote it; look at it with the version in "
                "versions.json."
            )
        yield line


def _wanted(run: Run) -> tuple[set[int], set[int]]:
    """Numbers of the elites, and of the elites and all their ancestors.

    Where niches are fixed the last that a niche took is its elite, and nothing but that is kept of the log, which may be large;
    other archives are filled anew.
    """
    parents: dict[int, int | None] = {}
    last: dict[tuple[str, int], int] = {}
    full: list[dict[str, Any]] = []
    for line in _lines(run.folder):
        if line["parent"] is not None and line["parent"] not in parents:
            raise ElmError(
                f"Record {line['id']} of '{run.folder / ADMITTED_FILE}' names parent {line['parent']}, which no line before it "
                "holds; restore the file from a copy."
            )
        parents[line["id"]] = line["parent"]
        last[str(line["archive"]), int(line["niche"])] = line["id"]
        if not run.spec.fixed:
            full.append(line)
    elites = set(last.values()) if run.spec.fixed else _refilled(run, full)
    wanted: set[int] = set()
    for elite in elites:
        at: int | None = elite
        while at is not None and at not in wanted:
            wanted.add(at)
            at = parents[at]
    return elites, wanted


def _refilled(run: Run, lines: Sequence[Mapping[str, Any]]) -> set[int]:
    maps = Maps(run.spec, {str(line["archive"]): "" for line in lines})
    maps.rebuild(lines)
    return {int(identity) for archive in maps.archives.values() for identity in archive.data("id")}


def finished_iterations(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics; none where it has written none."""
    path = folder / METRICS_FILE
    return list(read_jsonl(path)) if path.is_file() else []


def finished_summary(folder: Path) -> Mapping[str, Any]:
    """A run's or a pipeline's summary; empty while there is none."""
    path = folder / SUMMARY_FILE
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}
