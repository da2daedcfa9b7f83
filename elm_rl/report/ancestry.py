"""The ancestors of an elite, from a seed program to it, as the log of an evolution run tells them.

Only the log is read, and no lock is taken, so that a run can be looked at while it goes on.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elm_rl.errors import ConfigError, ElmError
from elm_rl.runs.run_directory import ADMITTED_FILE, CONFIG_FILE, read_json, read_jsonl

_NEEDED = ("id", "archive", "iteration", "program", "parent", "operator", "fitness", "niche")


@dataclass(frozen=True)
class Choice:
    """Which elite is meant.

    Attributes:
        identity: Number of a record; None for the best of those that the other two allow.
        niche: Number of a niche; None for all.
        archive: Name of an archive; None for all.
    """

    identity: int | None = None
    niche: int | None = None
    archive: str | None = None

    def __str__(self) -> str:
        where = "the run" if self.archive is None else f"archive '{self.archive}'"
        return f"the best of {where}" if self.niche is None else f"the best of niche {self.niche} in {where}"


def parse_choice(words: Sequence[str], archive: str | None = None) -> Choice:
    """Reads a record's number, ``best``, or ``niche`` and a number.

    Raises:
        ConfigError: It is none of these, or a number with an archive.
    """
    match [*words]:
        case ["best"]:
            return Choice(archive=archive)
        case ["niche", number] if number.isdecimal():
            return Choice(niche=int(number), archive=archive)
        case [number] if number.isdecimal():
            if archive is not None:
                raise ConfigError(
                    f"archive is '{archive}' beside record {number}, which lies in one archive anyway; leave one of them out."
                )
            return Choice(identity=int(number))
    raise ConfigError(
        f"elite is '{' '.join(words)}'; expected the number of a record, 'best', or 'niche' and a number, as in 'niche 769'."
    )


@dataclass(frozen=True)
class Generation:
    """One link of a lineage.

    Attributes:
        number: 0 for the seed, then 1, 2, 3...
        record: Its line in the log.
        before: The best fitness among its ancestors; 0.0 for the seed.
        change: Fitness above its parent's; 0.0 for the seed.
        parent_program: The parent's program; None for the seed.
    """

    number: int
    record: Mapping[str, Any]
    before: float
    change: float
    parent_program: str | None

    @property
    def fitness(self) -> float:
        """The objective that it was admitted for."""
        return float(self.record["fitness"])

    @property
    def raised(self) -> float:
        """By how much it beat the best of its ancestors; 0.0 if it did not."""
        return max(0.0, self.fitness - self.before)

    @property
    def other_parents(self) -> list[int]:
        """Ids of further parents, of a child that several made."""
        return [parent for parent in self.record.get("parents") or () if parent != self.record["parent"]]

    def diff(self) -> list[str]:
        """How the program differs from the parent's: lines of a unified diff with one line of context, without file names."""
        if self.parent_program is None:
            return []
        # Not splitlines: it takes for an end of a line what may stand within a literal.
        before, after = (text.removesuffix("\n").split("\n") for text in (self.parent_program, self.record["program"]))
        return list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]


def run_settings(run: Path) -> Mapping[str, Any]:
    """The settings of an evolution run.

    Raises:
        ElmError: The folder holds no evolution run.
    """
    if not (run / ADMITTED_FILE).is_file():
        inner = run / "evolution"
        hint = f", which is '{inner}' here" if (inner / ADMITTED_FILE).is_file() else ""
        raise ElmError(
            f"'{run}' holds no {ADMITTED_FILE}, so no evolution run; give the folder of 'elm-rl evolve' (--out){hint}."
        )
    settings = read_json(run / CONFIG_FILE)
    if not isinstance(settings, dict):
        raise ElmError(f"'{run / CONFIG_FILE}' is damaged: expected a JSON object; restore it from a copy.")
    return settings


def read_lineage(run: Path, choice: Choice) -> list[Generation]:
    """Finds an elite and its ancestors.

    The log is read twice, once for who descends from whom and once for the few records that matter: that of a long run is
    larger than what should be kept in memory.

    Args:
        run: Folder of the run.
        choice: Which elite. Of equally good ones the first that was admitted, as in the archive.

    Returns:
        From the seed to the elite.

    Raises:
        ElmError: There is no such elite, or the log is damaged or of a version that wrote other records.
    """
    log = run / ADMITTED_FILE
    parents: dict[int, int | None] = {}
    archives: set[str] = set()
    found: tuple[float, int] | None = None
    for record in read_jsonl(log):
        _check(record, parents, log)
        identity = record["id"]
        parents[identity] = record["parent"]
        archives.add(str(record["archive"]))
        wanted = (
            choice.identity in (None, identity)
            and choice.niche in (None, record["niche"])
            and choice.archive in (None, record["archive"])
        )
        if wanted and (found is None or record["fitness"] > found[0]):
            found = record["fitness"], identity
    if found is None:
        raise ElmError(_nobody(run, choice, len(parents), archives))
    line: list[int] = []
    link: int | None = found[1]
    while link is not None:
        line.append(link)
        link = parents[link]
    members = set(line)
    records = {record["id"]: record for record in read_jsonl(log) if record["id"] in members}
    if len(records) < len(members):  # a run that was killed and goes on repeats its last iterations
        raise ElmError(f"'{log}' was cut back while it was read, because its run was resumed; ask again.")
    return _generations([records[identity] for identity in reversed(line)])


def _check(record: Mapping[str, Any], known: Collection[int], log: Path) -> None:
    """That a record has all that is needed and descends from an earlier one, so that every lineage ends."""
    missing = [key for key in _NEEDED if key not in record]
    if missing:
        raise ElmError(
            f"A record of '{log}' has no '{missing[0]}': another version wrote it; look at it with the version in "
            "versions.json."
        )
    if record["parent"] is not None and record["parent"] not in known:
        raise ElmError(
            f"Record {record['id']} of '{log}' names parent {record['parent']}, which no line before it holds; restore the "
            "file from a copy."
        )


def _nobody(run: Path, choice: Choice, count: int, archives: Collection[str]) -> str:
    if not count:
        return f"The run in '{run}' has admitted no program yet; wait for its seeds."
    if choice.identity is not None:
        return (
            f"The run in '{run}' has no record {choice.identity}; expected 0 to {count - 1}, 'best', or 'niche' and a "
            "number."
        )
    if choice.archive is not None and choice.archive not in archives:
        return f"The run in '{run}' has no archive '{choice.archive}'; expected one of {', '.join(sorted(archives))}."
    return (
        f"Nothing was admitted to niche {choice.niche} of "
        f"{'any archive' if choice.archive is None else repr(choice.archive)} in '{run}'; the records of {ADMITTED_FILE} "
        "name their niches."
    )


def _generations(records: Sequence[Mapping[str, Any]]) -> list[Generation]:
    generations: list[Generation] = []
    best = 0.0
    for number, record in enumerate(records):
        fitness = float(record["fitness"])
        parent = records[number - 1] if number else None
        generations.append(
            Generation(
                number=number,
                record=record,
                before=best,
                change=fitness - float(parent["fitness"]) if parent else 0.0,
                parent_program=str(parent["program"]) if parent else None,
            )
        )
        best = max(best, fitness)
    return generations


def most_telling(generations: Sequence[Generation], count: int) -> list[Generation]:
    """The seed, the elite, and between them those that raised the lineage's best fitness most, in their order.

    Where too few raised it, those follow that got furthest above their parent.

    Args:
        generations: A lineage.
        count: How many to choose, at least 2.

    Returns:
        At most ``count`` of them.
    """
    if len(generations) <= count:
        return list(generations)
    between = sorted(generations[1:-1], key=lambda g: (-g.raised, -g.change, g.number))[: count - 2]
    return [generations[0], *sorted(between, key=lambda g: g.number), generations[-1]]
