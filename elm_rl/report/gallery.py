"""The pictures that a run has material for, and for each of the others a sentence that says why it is not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elm_rl.errors import ElmError
from elm_rl.evolution.maps import rebuild_archives
from elm_rl.report.figures import matrices_of, part, terrains_of
from elm_rl.report.pictures import (
    draw_archives,
    draw_evolution,
    draw_film_strip,
    draw_matrices,
    draw_policies,
)
from elm_rl.runs.run_directory import METRICS_FILE, explained_disk_errors, read_jsonl
from sodarace_gym.programs.program import compile_program
from sodarace_gym.terrains.making import make_terrain

FOLDER = "report"
"""Where pictures lie, in the folder of the run."""

GENERATOR_NAMES = {
    "corpus": "corpus programs",
    "stage2": "stage 2 model",
    "supervised": "supervised start",
    "rank_gradient": "rank policy gradient",
    "stage3": "stage 3 (PPO)",
}
"""What readers call the generators of a summary."""


def draw_pictures(summary: Mapping[str, Any], run: Path) -> dict[str, str]:
    """Draws what can be drawn into the run's folder of pictures.

    Args:
        summary: The run's summary.
        run: Folder of the run.

    Returns:
        Markdown by the picture's name: the picture, or why there is none. The names are ``archives``, ``evolution``,
        ``matrices``, ``training`` and ``film_<terrain>``.

    Raises:
        ElmError: The disk is full or the folder cannot be written.
    """
    folder = run / FOLDER
    with explained_disk_errors(folder):
        folder.mkdir(exist_ok=True)
    stage3 = part(summary, "stage3")
    drawn = {
        "archives": _archives(run, folder),
        "evolution": _evolution(part(summary, "stage1"), run, folder),
        "matrices": _matrices(stage3, folder),
    }
    drawn["training"] = _training(stage3, run, folder)
    for terrain, best in part(stage3, "best_programs").items():
        drawn[f"film_{terrain}"] = _film(terrain, best, folder)
    return drawn


def _archives(run: Path, folder: Path) -> str:
    try:
        records = list(read_jsonl(run / "evolution" / "admitted.jsonl"))
        archives = rebuild_archives(records, list(dict.fromkeys(str(record.get("archive")) for record in records)))
    except ElmError as error:
        return _none(error)
    if not archives:
        return _none("no program was admitted.")
    return _picture("Maps of elites", draw_archives(archives, folder / "archives.png"))


def _evolution(stage1: Mapping[str, Any], run: Path, folder: Path) -> str:
    try:
        records = list(read_jsonl(run / "evolution" / METRICS_FILE))
    except ElmError as error:
        return _none(error)
    if not records:
        return _none("no iteration was finished.")
    later = {phase.get("first_iteration") for phase in stage1.get("phases", [])[1:]} - {None}
    starts = [r["evaluations"] for r in records if "evaluations" in r and r.get("iteration", -1) + 1 in later]
    return _picture("Progress of evolution", draw_evolution(records, starts, folder / "evolution.png"))


def _matrices(stage3: Mapping[str, Any], folder: Path) -> str:
    matrices = {GENERATOR_NAMES.get(name, name): matrix for name, matrix in matrices_of(stage3).items()}
    if not matrices:
        return _none("the summary holds no matrices.")
    return _picture("Terrain matrices", draw_matrices(matrices, terrains_of(stage3), folder / "matrices.png"))


def _training(stage3: Mapping[str, Any], run: Path, folder: Path) -> str:
    curves = {}
    for name in part(stage3, "training"):
        if not (run / name / METRICS_FILE).is_file():
            continue
        try:
            records = list(read_jsonl(run / name / METRICS_FILE))
        except ElmError as error:
            return _none(error)
        if any("validation" in record for record in records):
            curves[GENERATOR_NAMES.get(name, "PPO")] = records
    if not curves:
        return _none("no update was finished.")
    return _picture("The policies in training", draw_policies(curves, folder / "training.png"))


def _film(terrain: str, best: Mapping[str, Any], folder: Path) -> str:
    if best.get("distance", 1.0) <= 0.0:
        return _none("nothing moved.")
    if "program" not in best:
        return _none("its program was not recorded.")
    try:
        design, ground = compile_program(best["program"])[0], make_terrain(terrain)
    except ValueError as error:  # another version's program or terrain
        return _none(error)
    return _picture(terrain, draw_film_strip(design, ground, folder / f"film_{terrain}.png"))


def _picture(title: str, path: Path) -> str:
    return f"![{title}]({FOLDER}/{path.name})"


def _none(reason: object) -> str:
    return f"(No picture: {reason})"
