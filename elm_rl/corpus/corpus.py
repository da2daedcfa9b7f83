"""From the history of evolution to a data set: every program ever admitted to an archive that was good for its niche.

Lehman et al. 2022, section on pretraining: a program is kept if its fitness is at least some percentage of the best
fitness seen in its niche over all runs. Final archives alone would be too few and too uneven.
"""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow.parquet
from datasets import Dataset, DatasetDict, Features, Value

from elm_rl.corpus.admitted import AdmittedProgram, read_admitted
from elm_rl.corpus.lineages import hold_out
from elm_rl.errors import ConfigError, ElmError
from elm_rl.runs.parquet_file import write_parquet
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import read_json, write_json
from elm_rl.runs.run_lock import run_lock
from sodarace_gym.physics.robustness import design_digest
from sodarace_gym.programs.program import compile_programs

CORPUS_FILE = "corpus.json"
TRAIN, HELD_OUT = SPLITS = ("train", "held_out")


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Settings of ``elm-rl corpus``."""

    evolution: tuple[Path, ...]
    """Evolution directories to read; several runs make one corpus."""
    out: Path
    """Folder to write the corpus to."""
    threshold_percent: float = 50.0
    """Keep a program whose fitness is at least this percentage of the best seen in its niche on its terrain, over all runs."""
    elites_only: bool = False
    """Keep the final maps alone, and not what was admitted on the way."""
    held_out_percent: float = 5.0
    """Share of the programs to hold out, by lineage."""
    held_out_terrains: tuple[str, ...] = ()
    """Terrains whose programs are all held out, beside that share of the others. A program that was admitted on another
    terrain before, as elites of Flat are that a run on several terrains starts from, counts as one of that terrain."""
    exclude_archives: tuple[str, ...] = ()
    """Archives to leave out, by their names or those of their seeds, also when the best of a niche is sought. The paper left
    out Radial, whose walkers exploit chaos and transfer badly. Where all seeds share an archive (maps "terrain") that is left
    out as a whole or not at all."""
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

    def excludes(self, record: AdmittedProgram) -> bool:
        """Whether a record's archive is left out."""
        return not {record.archive, record.archive.split("/")[0]}.isdisjoint(self.exclude_archives)


# Spelled out, so that an empty split has the same types as any other.
_TYPES = {"str": "string", "int": "int64", "float": "float64"}
_COLUMNS = [field.name for field in fields(AdmittedProgram)]
_FEATURES = Features(
    {field.name: Value(_TYPES[str(field.type)]) for field in fields(AdmittedProgram)} | {"design": Value("binary")}
)


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
    included = [record for record in records if not config.excludes(record)]
    _check_known(config, records)
    considered = elites(included) if config.elites_only else included
    good = above_threshold(considered, config.threshold_percent)
    by_text = list({record.program: record for record in reversed(good)}.values())[::-1]
    designs = _designs(by_text)
    # A text without a walker stands for itself.
    by_design = {designs[record.program] or record.program: record for record in reversed(by_text)}
    distinct = list(by_design.values())[::-1]
    if not distinct:
        raise ElmError(
            f"None of the {len(records)} admitted programs is left for the corpus; let evolution run longer, lower "
            "--threshold-percent or exclude fewer archives."
        )
    train, held_out, split_figures = hold_out(
        distinct, included, config.held_out_percent / 100, config.seed, config.held_out_terrains
    )
    figures = {
        "admitted": len(records),
        "after_exclusion": len(included),
        "above_threshold": len(good),
        "distinct_texts": len(by_text),
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
            _write_parquet(config.out / f"{name}.parquet", part, designs)
        # Written last: whoever finds it finds the Parquet files complete.
        write_json(config.out / CORPUS_FILE, content)
    return content


def load_corpus(folder: Path) -> DatasetDict:
    """Reads a corpus back.

    Returns:
        The splits ``train`` and ``held_out`` (which may be empty), with the columns of `AdmittedProgram` and ``design``, 16
        bytes that tell walkers apart (`sodarace_gym.physics.robustness.design_digest`).

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


def elites(programs: Sequence[AdmittedProgram]) -> list[AdmittedProgram]:
    """Those that hold their niches at the end."""
    last = {(program.run, program.archive, program.niche): program for program in programs}
    return [program for program in programs if last[program.run, program.archive, program.niche] is program]


def above_threshold(programs: Sequence[AdmittedProgram], percent: float) -> list[AdmittedProgram]:
    """Those that move at all and reach ``percent`` of the best fitness that any of them has in its niche on its terrain."""
    best: dict[tuple[str, int], float] = {}
    for program in programs:
        niche = program.terrain, program.niche
        best[niche] = max(program.fitness, best.get(niche, 0.0))
    return [p for p in programs if p.fitness > 0 and p.fitness >= percent / 100 * best[p.terrain, p.niche]]


def _check_known(config: CorpusConfig, records: Sequence[AdmittedProgram]) -> None:
    names = sorted({record.archive for record in records})
    known = {*names, *(name.split("/")[0] for name in names)}
    if unknown := sorted(set(config.exclude_archives) - known):
        raise ElmError(f"There is no archive {unknown[0]!r} to exclude; the archives are {', '.join(names) or 'none'}.")
    terrains = sorted({record.terrain for record in records})
    if unknown := sorted(set(config.held_out_terrains) - set(terrains)):
        raise ElmError(
            f"There is no terrain {unknown[0]!r} to hold out; the terrains are {', '.join(terrains) or 'none'}."
        )


def _designs(programs: Sequence[AdmittedProgram]) -> dict[str, bytes | None]:
    """What tells the walkers of some programs apart, by text; None for a program that builds none."""
    texts = [program.program for program in programs]
    built = compile_programs(texts)
    return {
        text: None if isinstance(walker, Exception) else design_digest(walker[0])
        for text, walker in zip(texts, built, strict=True)
    }


def _write_parquet(path: Path, programs: Sequence[AdmittedProgram], designs: Mapping[str, bytes | None]) -> None:
    """Writes one split."""
    columns: dict[str, list[Any]] = {name: [getattr(program, name) for program in programs] for name in _COLUMNS}
    columns["design"] = [designs[program.program] for program in programs]
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
