"""From the history of evolution to a data set: every program ever admitted to an archive that was good for its niche.

Lehman et al. 2022, section on pretraining: a program is kept if its fitness is at least some percentage of the best
fitness seen in its niche over all runs. Final archives alone would be too few and too uneven.

Programs that descend from one another look alike, so the held-out part is whole lineages, and what still looks like a
training program with other numbers in it is dropped from the held-out part: its loss then measures generalisation.
"""

from __future__ import annotations

import hashlib
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from datasets import Dataset, DatasetDict, Features, Value

from elm_rl.errors import ConfigError, ElmError
from elm_rl.runs.parquet_file import write_parquet
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import ADMITTED_FILE, read_json, read_jsonl, write_json
from elm_rl.runs.run_lock import run_lock

CORPUS_FILE = "corpus.json"
TRAIN, HELD_OUT = SPLITS = ("train", "held_out")

_NUMBER = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Settings of ``elm-rl corpus``."""

    evolution: tuple[Path, ...]
    """Evolution directories to read; several runs make one corpus."""
    out: Path
    """Folder to write the corpus to."""
    threshold_percent: float = 50.0
    """Keep a program whose fitness is at least this percentage of the best seen in its niche, over all runs."""
    held_out_percent: float = 5.0
    """Share of the programs to hold out, by lineage."""
    exclude_archives: tuple[str, ...] = ()
    """Archives (seed names) to leave out, also when the best of a niche is sought. The paper left out Radial, whose
    walkers exploit chaos and transfer badly."""
    seed: int = 0
    """Decides which lineages are held out."""

    def __post_init__(self) -> None:
        take_paths(self)
        if not self.evolution:
            raise ConfigError(
                "evolution is empty; name at least one evolution directory that 'elm-rl evolve' has written."
            )
        if not 0 <= self.threshold_percent <= 100:
            raise ConfigError(f"threshold_percent must lie between 0 and 100, got {self.threshold_percent}.")
        if not 0 <= self.held_out_percent <= 50:
            raise ConfigError(f"held_out_percent must lie between 0 and 50, got {self.held_out_percent}.")


@dataclass(frozen=True)
class AdmittedProgram:
    """One program of the corpus, with what evolution knew about it; the columns of the Parquet files.

    Attributes:
        program: The source text.
        run: Index of the evolution directory it comes from.
        id: Its id in that run.
        parent: The id of the program it was mutated from, or -1 for a seed.
        archive: Name of the seed whose archive admitted it.
        iteration: Iteration in which it was admitted.
        operator: The mutation operator that wrote it.
        fitness: Distance walked, in length units.
        height: Initial height of the walker, in length units.
        width: Initial width, in length units.
        mass: Total mass.
        niche: Flat index of its niche in the archive.
        lineage: Index of the lineage it was held out or kept with.
    """

    program: str
    run: int
    id: int
    parent: int
    archive: str
    iteration: int
    operator: str
    fitness: float
    height: float
    width: float
    mass: float
    niche: int
    lineage: int


# Spelled out, so that an empty split has the same types as any other.
_TYPES = {"str": "string", "int": "int64", "float": "float64"}
_FEATURES = Features({field.name: Value(_TYPES[str(field.type)]) for field in fields(AdmittedProgram)})


def run_corpus(config: CorpusConfig) -> dict[str, Any]:
    """Builds the corpus and writes ``train.parquet``, ``held_out.parquet`` and ``corpus.json`` to ``config.out``.

    Returns:
        The content of ``corpus.json``: the settings, and the figures of every step from admitted to kept.

    Raises:
        ElmError: A directory holds no run, a file is damaged, an excluded archive does not exist, no program is left,
            another process writes to ``out``, or the disk is full.
    """
    records: list[AdmittedProgram] = []
    for index, folder in enumerate(config.evolution):
        records += read_admitted(folder, index)
    names = sorted({record.archive for record in records})
    if unknown := sorted(set(config.exclude_archives) - set(names)):
        raise ElmError(f"There is no archive {unknown[0]!r} to exclude; the archives are {', '.join(names) or 'none'}.")
    included = [record for record in records if record.archive not in config.exclude_archives]
    good = above_threshold(included, config.threshold_percent)
    distinct = list({record.program: record for record in reversed(good)}.values())[::-1]
    if not distinct:
        raise ElmError(
            f"None of the {len(records)} admitted programs is left for the corpus; let evolution run longer, lower "
            "--threshold-percent or exclude fewer archives."
        )
    train, held_out, split_figures = hold_out(distinct, included, config.held_out_percent / 100, config.seed)
    figures = {
        "admitted": len(records),
        "after_exclusion": len(included),
        "above_threshold": len(good),
        "distinct": len(distinct),
        TRAIN: len(train),
        HELD_OUT: len(held_out),
        **split_figures,
        "niches": len({record.niche for record in distinct}),
        "archives": dict(sorted(Counter(record.archive for record in distinct).items())),
        "mean_fitness": statistics.fmean(record.fitness for record in distinct),
        "best_fitness": max(record.fitness for record in distinct),
    }
    content = {"config": asdict(config), "figures": figures, "fingerprint": _fingerprint(train, held_out)}
    with run_lock(config.out):
        for name, part in zip(SPLITS, (train, held_out), strict=True):
            _write_parquet(config.out / f"{name}.parquet", part)
        # Written last: whoever finds it finds the Parquet files complete.
        write_json(config.out / CORPUS_FILE, content)
    return content


def load_corpus(folder: Path) -> DatasetDict:
    """Reads a corpus back.

    Returns:
        The splits ``train`` and ``held_out`` (which may be empty), with the columns of `AdmittedProgram`.

    Raises:
        ElmError: The folder holds no finished corpus, or a file in it is damaged.
    """
    read_json(folder / CORPUS_FILE)
    splits = {}
    for name in SPLITS:
        path = folder / f"{name}.parquet"
        try:
            # Read directly: `load_dataset` would copy the corpus into a cache in the user's home first.
            splits[name] = Dataset(pyarrow.parquet.read_table(path))
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ElmError(
                f"'{path}' cannot be read ({reason}); build the corpus again with 'elm-rl corpus'."
            ) from error
    return DatasetDict(splits)


def read_admitted(folder: Path, run: int = 0) -> list[AdmittedProgram]:
    """Reads all programs admitted in one evolution run, in order; a half-written last line is left out.

    Args:
        folder: The evolution directory.
        run: Index to record as the programs' run.

    Returns:
        One entry per admitted program; ``lineage`` holds the id of the root it descends from.

    Raises:
        ElmError: The folder is not an evolution directory, or a line of the file is damaged.
    """
    path = folder / ADMITTED_FILE
    if not path.is_file():
        raise ElmError(f"'{folder}' holds no {ADMITTED_FILE}; give a directory that 'elm-rl evolve' has written.")
    programs = []
    for number, line in enumerate(read_jsonl(path), start=1):
        try:
            programs.append(
                AdmittedProgram(
                    program=str(line["program"]),
                    run=run,
                    id=int(line["id"]),
                    parent=-1 if line["parent"] is None else int(line["parent"]),
                    archive=str(line["archive"]),
                    iteration=int(line["iteration"]),
                    operator=str(line["operator"]),
                    fitness=float(line["fitness"]),
                    height=float(line["height"]),
                    width=float(line["width"]),
                    mass=float(line["mass"]),
                    niche=int(line["niche"]),
                    lineage=int(line["root"]),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ElmError(
                f"Line {number} of '{path}' is damaged ({type(error).__name__}: {error}); restore the file from a copy."
            ) from error
    return programs


def above_threshold(programs: Sequence[AdmittedProgram], percent: float) -> list[AdmittedProgram]:
    """The programs that move at all and reach ``percent`` of the best fitness that any of them has in its niche."""
    best: dict[int, float] = {}
    for program in programs:
        best[program.niche] = max(program.fitness, best.get(program.niche, 0.0))
    return [p for p in programs if p.fitness > 0 and p.fitness >= percent / 100 * best[p.niche]]


def mask_numbers(program: str) -> str:
    """The program with every number replaced: near twins, which differ in numbers alone, become equal."""
    return _NUMBER.sub("0", program)


def hold_out(
    programs: Sequence[AdmittedProgram], history: Sequence[AdmittedProgram], share: float, seed: int
) -> tuple[list[AdmittedProgram], list[AdmittedProgram], dict[str, Any]]:
    """Splits the programs by lineage.

    A lineage is a root (a child of a seed) with its descendants. Should the lineages be too few or too uneven to give
    a held-out part of half the wanted size, the split goes down to the descendants of a program of a later generation.

    Args:
        programs: The distinct programs to split.
        history: All admitted programs, which connect ``programs`` to their ancestors.
        share: Share of ``programs`` to hold out.
        seed: Seed of the choice.

    Returns:
        The training programs, the held-out ones, and figures: ``lineages`` in all, ``held_out_lineages``,
        ``lineage_generation`` (1 for children of a seed) and ``near_twins_dropped``. The held-out part is empty when
        ``share`` is 0 or everything in it has a near twin in training.
    """
    target = round(share * len(programs))
    if share > 0:
        target = max(target, 1)
    best: tuple[int, list[int], set[int]] = (1, _lineages(programs, history, 1), set())
    held_size = 0
    for generation in range(1, 9):
        labels = _lineages(programs, history, generation)
        chosen = _choose_lineages(labels, target, seed)
        size = sum(label in chosen for label in labels)
        if size > held_size:
            best, held_size = (generation, labels, chosen), size
        if 2 * held_size >= target:
            break
    generation, labels, chosen = best
    labelled = [replace(program, lineage=label) for program, label in zip(programs, labels, strict=True)]
    train = [program for program in labelled if program.lineage not in chosen]
    twins = {mask_numbers(program.program) for program in train}
    candidates = [program for program in labelled if program.lineage in chosen]
    held_out = [program for program in candidates if mask_numbers(program.program) not in twins]
    figures = {
        "lineages": len(set(labels)),
        "held_out_lineages": len({program.lineage for program in held_out}),
        "lineage_generation": generation,
        "near_twins_dropped": len(candidates) - len(held_out),
    }
    return train, held_out, figures


def _lineages(programs: Sequence[AdmittedProgram], history: Sequence[AdmittedProgram], generation: int) -> list[int]:
    """Lineage index of every program, where lineages start at ``generation`` (seeds are 0, their children 1).

    Lineages of different runs that reached the same text are one: they go on through the same programs.
    """
    roots: dict[tuple[int, int], tuple[int, int]] = {}
    ages: dict[tuple[int, int], int] = {}
    for program in history:  # parents are admitted before their children
        key, parent = (program.run, program.id), (program.run, program.parent)
        ages[key] = ages[parent] + 1 if parent in ages else 0
        if generation == 1:
            roots[key] = (program.run, program.lineage)
        else:
            roots[key] = roots[parent] if ages[key] > generation else key
    index = {root: number for number, root in enumerate(dict.fromkeys(roots.values()))}
    joined = list(range(len(index)))

    def representative(label: int) -> int:
        while joined[label] != label:
            label = joined[label]
        return label

    first: dict[str, int] = {}
    for program in history:
        key = (program.run, program.id)
        # Every run starts from the same seeds; joining through these would join everything.
        if ages[key] > 0:
            label = representative(index[roots[key]])
            joined[label] = representative(first.setdefault(program.program, label))
    return [representative(index[roots[program.run, program.id]]) for program in programs]


def _choose_lineages(labels: Sequence[int], target: int, seed: int) -> set[int]:
    """Draws lineages until ``target`` programs are chosen, none of which makes up more than half of it."""
    sizes = Counter(labels)
    chosen: set[int] = set()
    total = 0
    for label in np.random.default_rng(seed).permutation(sorted(sizes)).tolist():
        if total >= target:
            break
        if sizes[label] <= max(1, target / 2):
            chosen.add(label)
            total += sizes[label]
    return chosen


def _write_parquet(path: Path, programs: Sequence[AdmittedProgram]) -> None:
    """Writes one split."""
    columns: dict[str, list[Any]] = {name: [getattr(program, name) for program in programs] for name in _FEATURES}
    # Not `to_parquet`, which draws a progress bar for what takes a moment.
    write_parquet(path, Dataset.from_dict(columns, features=_FEATURES).data.table)


def _fingerprint(*splits: Sequence[AdmittedProgram]) -> str:
    """Digest of the texts of all splits, by which later stages notice that a corpus has changed."""
    digest = hashlib.sha256()
    for split in splits:
        for program in split:
            digest.update(program.program.encode("utf-8") + b"\0")
        digest.update(b"\1")
    return digest.hexdigest()
