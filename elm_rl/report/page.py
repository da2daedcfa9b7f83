"""``report.md``: what a pipeline run came to, in tables and pictures, for somebody who was not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elm_rl.errors import ElmError
from elm_rl.evolution_state import rebuild_archives
from elm_rl.report.pictures import (
    draw_archives,
    draw_evolution,
    draw_film_strip,
    draw_finetuning,
    draw_matrices,
)
from elm_rl.run_directory import METRICS_FILE, SUMMARY_FILE, explained_disk_errors, read_json, read_jsonl, write_text
from elm_rl.terrain_matrix import SURE_PERCENT

REPORT_FILE = "report.md"

_NAMES = {
    "corpus": "corpus programs",
    "stage2": "stage 2 model",
    "warm_start": "terrain warm start",
    "stage3": "stage 3 (PPO)",
    "stage3_without_warm_start": "stage 3 without warm start",
}


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Settings of ``elm-rl report``."""

    run: Path
    """Folder of a finished ``elm-rl pipeline`` run."""


def run_report(config: ReportConfig) -> Path:
    """Writes ``report.md`` and its pictures (folder ``report/``) from what the run left.

    Returns:
        The path of the report.

    Raises:
        ElmError: The folder holds no finished pipeline run, or the disk is full.
    """
    if not (config.run / SUMMARY_FILE).is_file():
        raise ElmError(
            f"'{config.run}' holds no {SUMMARY_FILE}, so no finished pipeline run; give the --out of 'elm-rl pipeline', or "
            "run that again with --resume until it ends."
        )
    summary = read_json(config.run / SUMMARY_FILE)
    pictures = config.run / "report"
    with explained_disk_errors(pictures):
        pictures.mkdir(exist_ok=True)
    sections = [
        _head(summary),
        _stage1(summary["stage1"], config.run, pictures),
        _stage2(summary["stage2"]),
        _stage3(summary["stage3"], config.run, pictures),
        _films(summary["stage3"], config.run, pictures),
        _foot(summary),
    ]
    write_text(config.run / REPORT_FILE, "\n\n".join(sections) + "\n")
    return config.run / REPORT_FILE


def _head(summary: Mapping[str, Any]) -> str:
    stage3 = summary["stage3"]
    figures = stage3["generators"]
    better = [t for t in stage3["terrains"] if figures["stage3"][t]["mean"] > figures["stage2"][t]["mean"]]
    verdict = (
        "on every terrain"
        if len(better) == len(stage3["terrains"])
        else f"on {', '.join(better)} only"
        if better
        else "nowhere"
    )
    support = stage3["conditional_support_percent"]["stage3"]
    if not stage3["conditional"]["stage3"]:
        conditional = "is **not** conditional"
    elif support < SURE_PERCENT:
        conditional = "leans to the right walkers, but **within the noise** of its samples"
    else:
        conditional = "is conditional"
    return (
        f"# From seeds to a terrain-conditioned inventor: preset {summary['preset']}, seed {summary['seed']}\n\n"
        f"Stage 3's mean distance is above stage 2's {verdict}. By the terrain x terrain matrix the policy {conditional}."
    )


def _stage1(stage: Mapping[str, Any], run: Path, pictures: Path) -> str:
    seeds = list(stage["archives"])
    archives = rebuild_archives(list(read_jsonl(run / "evolution" / "admitted.jsonl")), seeds)
    draw_archives(archives, pictures / "archives.png")
    records = list(read_jsonl(run / "evolution" / METRICS_FILE))
    later = {phase["first_iteration"] for phase in stage["phases"][1:]}
    starts = [record["evaluations"] for record in records if record["iteration"] + 1 in later]
    draw_evolution(records, starts, pictures / "evolution.png")
    maps = [[name, f["niches"], f"{f['qd_score']:,.0f}", f"{f['best']:.1f}"] for name, f in stage["archives"].items()]
    maps.append(["best over all", stage["niches"], f"{stage['qd_score']:,.0f}", f"{stage['best']:.1f}"])
    operators = []
    for number, phase in enumerate(stage["phases"], start=1):
        for name, counts in phase["operators"].items():
            percents = [f"{counts[f'{key}_percent']:.1f}" for key in ("applied", "valid", "new", "admitted")]
            operators.append(
                [
                    f"{number} ({phase['first_iteration']}-{phase['last_iteration']})",
                    name,
                    counts["proposed"],
                    *percents,
                ]
            )
    return (
        "## Stage 1: evolution\n\n"
        f"{stage['evaluations']:,} evaluations on {stage['terrain']}; one map of {stage['all_niches']:,} niches per seed; "
        f"{stage['admitted']:,} programs admitted.\n\n"
        + _table(["map", "niches", "QD score", "best distance"], maps)
        + "\n\n![Maps of elites](report/archives.png)\n\n![Progress of evolution](report/evolution.png)\n\n"
        "What the mutation operators' children were worth. Applied: a program came out; valid: it built a walker; new: the "
        "run had not seen that walker; admitted: a map took it. All are shares of the proposed children; they fall over time "
        "as maps fill, so compare operators within a phase.\n\n"
        + _table(
            ["phase (iterations)", "operator", "proposed", "applied %", "valid %", "new %", "admitted %"], operators
        )
    )


def _stage2(stage: Mapping[str, Any]) -> str:
    corpus, training, quality = stage["corpus"], stage["training"], stage["quality"]
    rows = []
    for name, label in (("model", "stage 2 samples"), ("corpus", "corpus programs")):
        figures = quality[name]
        rows.append(
            [
                label,
                figures["count"],
                f"{figures['valid_percent']:.1f}",
                f"{figures['distinct_percent']:.1f}",
                figures["niches"],
                f"{figures['qd_score']:,.0f}",
                f"{figures['mean_fitness']:.1f}",
                f"{figures['best_fitness']:.1f}",
            ]
        )
    held_out = training["held_out_loss"]
    return (
        "## Stage 2: a language model of walkers\n\n"
        f"Corpus: {corpus['train']:,} programs to train on, {corpus['held_out']:,} held out by lineage, of "
        f"{corpus['admitted']:,} admitted. Model: {training['parameters']:,} parameters, {training['steps']:,} steps, "
        f"{training['tokens']:,} tokens; loss {training['train_loss']:.3f} nats a token"
        + (f", {held_out:.3f} on the held-out programs" if held_out is not None else "")
        + ".\n\nAs many samples of each in a fresh map, on Flat:\n\n"
        + _table(["", "programs", "valid %", "distinct %", "niches", "QD score", "mean distance", "best"], rows)
    )


def _stage3(stage: Mapping[str, Any], run: Path, pictures: Path) -> str:
    terrains = stage["terrains"]
    matrices = {_NAMES.get(name, name): matrix for name, matrix in stage["matrices"].items()}
    draw_matrices(matrices, terrains, pictures / "matrices.png")
    text = ["## Stage 3: the right walker for the terrain"]
    samples = next(iter(stage["generators"]["stage2"].values()))["samples"]
    rows = []
    for name, figures in stage["generators"].items():
        row: list[object] = [_NAMES.get(name, name)]
        for terrain in terrains:
            f = figures[terrain]
            row.append(f"{f['mean']:.1f} / {f['best']:.1f} / {f['valid_percent']:.0f} / {f['distinct']:.0f}")
        rows.append(row)
    text.append(
        f"{samples} fresh programs each on every terrain: mean distance (invalid programs count 0) / best / valid % / distinct."
    )
    text.append(_table(["generator", *terrains], rows))
    text.append(
        "The matrix says whether a model is conditional: each column's largest entry (bold) should stand on the diagonal, "
        "that is, on every terrain the programs asked for that terrain should be the best. Resampling the programs tells "
        f"whether a diagonal could be luck: below {SURE_PERCENT:g}% it could."
    )
    for name, matrix in stage["matrices"].items():
        verdict = "diagonal" if stage["conditional"][name] else "not diagonal"
        verdict += f", and diagonal in {stage['conditional_support_percent'][name]:.0f}% of bootstrap resamplings"
        cells = []
        for terrain, values in zip(terrains, matrix, strict=True):
            marked = [
                f"**{value:.1f}**" if value == max(row[column] for row in matrix) else f"{value:.1f}"
                for column, value in enumerate(values)
            ]
            cells.append([f"asked for {terrain}", *marked])
        text.append(f"{_NAMES.get(name, name)}: {verdict}")
        text.append(_table(["mean distance", *(f"on {terrain}" for terrain in terrains)], cells))
    text.append("![Terrain matrices](report/matrices.png)")
    for name in stage["training"]:
        records = [r for r in read_jsonl(run / name / METRICS_FILE) if "terrains" in r]
        if records:
            draw_finetuning(records, terrains, pictures / f"{name}.png")
            text.append(f"PPO, run `{name}`:\n\n![PPO](report/{name}.png)")
    return "\n\n".join(text)


def _films(stage: Mapping[str, Any], run: Path, pictures: Path) -> str:
    text = ["## The best walker of stage 3 on each terrain"]
    for terrain, best in stage["best_programs"].items():
        if best["distance"] <= 0.0:
            text.append(f"{terrain}: no walker of stage 3 moved.")
            continue
        path = draw_film_strip(best["program"], terrain, pictures / f"film_{terrain}.png")
        text.append(
            f"{terrain}: {best['distance']:.1f} units\n\n![{terrain}](report/{path.name})\n\n<details><summary>Its "
            f"program</summary>\n\n```python\n{best['program'].strip()}\n```\n\n</details>"
        )
    return "\n\n".join(text)


def _foot(summary: Mapping[str, Any]) -> str:
    rows = [[part, seconds] for part, seconds in summary["timing"].items()]
    versions = ", ".join(f"{k} {v}" for k, v in summary["versions"].get("packages", summary["versions"]).items())
    return (
        "## How it was made\n\n"
        f"`elm-rl pipeline --preset {summary['preset']} --seed {summary['seed']}`\n\n"
        + _table(["part", "seconds"], rows)
        + f"\n\nVersions: {versions}.\n\nEvery figure above is in `summary.json`; the pictures are in `report/`."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|"]
    lines += ["| " + " | ".join(f"{c:,}" if isinstance(c, int) else str(c) for c in row) + " |" for row in rows]
    return "\n".join(lines)
