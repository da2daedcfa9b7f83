"""What evolution runs admitted to their archives, as records of one form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from elm_rl.errors import ElmError
from elm_rl.runs.run_directory import ADMITTED_FILE, read_jsonl


@dataclass(frozen=True)
class AdmittedProgram:
    """One program that was admitted, with what evolution knew about it.

    Attributes:
        program: The source text.
        run: Index of the evolution directory it comes from.
        id: Its id in that run.
        parent: The id of the program it was mutated from, or -1 for a seed.
        archive: Name of the archive that admitted it.
        terrain: Text that names the terrain it was scored on.
        iteration: Iteration in which it was admitted.
        operator: The mutation operator that wrote it.
        fitness: Distance walked, in length units.
        height: Initial height of the walker, in length units.
        width: Initial width, in length units.
        mass: Total mass.
        niche: Flat index of its niche in the archive.
        lineage: What its relatives share: the id of the root it descends from, in a corpus the number of the lineage it was
            held out or kept with.
    """

    program: str
    run: int
    id: int
    parent: int
    archive: str
    terrain: str
    iteration: int
    operator: str
    fitness: float
    height: float
    width: float
    mass: float
    niche: int
    lineage: int


def read_admitted(folder: Path, run: int = 0) -> list[AdmittedProgram]:
    """Reads all programs admitted in one evolution run, in order; a half-written last line is left out.

    Args:
        folder: The evolution directory.
        run: Index to record as the programs' run.

    Returns:
        One entry per admitted program.

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
                    terrain=str(line.get("terrain", "Flat")),  # runs of older versions had no other
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
