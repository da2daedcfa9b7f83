"""``report.md``: what a pipeline run came to, for somebody who was not there; and the page on which its walkers walk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elm_rl.errors import ConfigError, ElmError
from elm_rl.judging.terrain_matrix import SURE_PERCENT
from elm_rl.report.figures import MISSING, figure, matrices_of, part, table, terrains_of
from elm_rl.report.gallery import GENERATOR_NAMES, draw_pictures
from elm_rl.report.viewer import SITE_FILE, Walker, write_site
from elm_rl.report.viewer.tables import read_tables
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import ADMITTED_FILE, SUMMARY_FILE, read_json, write_text
from elm_rl.runs.run_lock import run_lock
from elm_rl.runs.setting_checks import check_threads

REPORT_FILE = "report.md"

_STAGES = ("stage1", "stage2", "stage3")


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Settings of ``elm-rl report``."""

    run: Path
    """Folder of a finished ``elm-rl pipeline`` run, or of an ``elm-rl evolve`` run, which may still be going on and gets the
    page of walks alone."""
    tables: tuple[Path, ...] = ()
    """Further tables for the page of walks, such as those of benchmarks: Markdown, CSV or Parquet files."""
    megabytes: float = 25.0
    """Most that the page of walks takes, in millions of bytes. Where there is no room for all walks, those of the worst elites
    and of ancestors of few elites are left out."""
    n_jobs: int = -1
    """Threads that make the walks; -1 for one a core."""
    progress: bool = True
    """Show progress bars."""

    def __post_init__(self) -> None:
        take_paths(self)
        if not 1.0 <= self.megabytes <= 1000.0:
            raise ConfigError(f"megabytes is {self.megabytes}; expected 1 to 1000.")
        check_threads(self.n_jobs)


def run_report(config: ReportConfig) -> Path:
    """Writes ``report.md``, its pictures (folder ``report/``) and the page of walks (``index.html``) from what the run left.

    Returns:
        The path of the report; of the page where the run is an evolution run.

    Raises:
        ElmError: The folder holds neither the summary of a pipeline run nor an evolution run, another process writes to it, or
            the disk is full.
    """
    if (config.run / ADMITTED_FILE).is_file():
        return _write_site(config)
    if not (config.run / SUMMARY_FILE).is_file():
        raise ElmError(
            f"'{config.run}' holds no {SUMMARY_FILE}, so no finished pipeline run, and no {ADMITTED_FILE}, so no evolution "
            "run; give the --out of one, or run the pipeline again with --resume until it ends."
        )
    summary = read_json(config.run / SUMMARY_FILE)
    if not isinstance(summary, dict) or not set(_STAGES) & set(summary):
        raise ElmError(
            f"'{config.run / SUMMARY_FILE}' is not the summary of a pipeline run: expected one of the keys "
            f"{', '.join(_STAGES)}; give the --out of 'elm-rl pipeline', not the folder of one of its stages."
        )
    for path in config.tables:
        read_tables(path)  # says what is wrong with it before anything is drawn
    with run_lock(config.run):
        pictures = draw_pictures(summary, config.run) | {"site": _link(config)}
        write_text(config.run / REPORT_FILE, write_page(summary, pictures))
    return config.run / REPORT_FILE


def _write_site(config: ReportConfig) -> Path:
    walker = Walker(n_jobs=config.n_jobs, progress=config.progress)
    return write_site(config.run, tables=config.tables, megabytes=config.megabytes, walker=walker)


def _link(config: ReportConfig) -> str:
    """Writes the page of walks; returns a link to it, or why there is none."""
    if not (config.run / "evolution" / ADMITTED_FILE).is_file():
        return "(No page of walks: the run's evolution is not here.)"
    try:
        return f"See the walkers walk: [{SITE_FILE}]({_write_site(config).name})"
    except ElmError as error:
        return f"(No page of walks: {error})"


def write_page(summary: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Writes the page, whatever the summary holds: what it lacks is left out, or said to be missing.

    Args:
        summary: A run's summary; of this version, of an older one, or a part of it.
        pictures: Markdown by name, as ``gallery.draw_pictures`` returns it.

    Returns:
        Markdown.
    """
    stage1, stage2, stage3 = (part(summary, stage) for stage in _STAGES)
    sections = [
        _head(summary),
        pictures.get("site", ""),
        _stage1(stage1, pictures),
        _stage2(stage2),
        _stage3(stage3, pictures),
    ]
    sections += [_films(stage3, pictures), _foot(summary)]
    if any(MISSING in section for section in sections):
        sections.append(f"{MISSING} stands for what this run's summary does not hold.")
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(summary: Mapping[str, Any]) -> str:
    stage3 = part(summary, "stage3")
    return (
        "# From seeds to a terrain-conditioned inventor: "
        f"preset {figure(summary, 'preset')}, seed {figure(summary, 'seed')}\n\n"
        f"{_progress(stage3)} {_conditionality(stage3)}\n\n{_effort(summary)}"
    )


_RATE = "stage 1: evaluations per second"


def _effort(summary: Mapping[str, Any]) -> str:
    """How many evaluations evolution made, how fast, and how long everything took."""
    timing = {key: value for key, value in part(summary, "timing").items() if isinstance(value, int | float)}
    stages = [seconds for key, seconds in timing.items() if key != _RATE]
    minutes = f"{sum(stages) / 60.0:.1f} minutes" if stages else f"{MISSING} minutes"
    rate = f"{timing[_RATE]:.0f}" if _RATE in timing else MISSING
    return (
        f"Evolution made {figure(part(summary, 'stage1'), 'evaluations', ',')} evaluations, {rate} a second; all stages "
        f"together took {minutes}."
    )


def _progress(stage3: Mapping[str, Any]) -> str:
    """Where stage 3 is better than stage 2."""
    terrains = terrains_of(stage3)
    generators = part(stage3, "generators")
    means: list[tuple[Any, Any]] = [
        (part(generators, "stage2", terrain).get("mean"), part(generators, "stage3", terrain).get("mean"))
        for terrain in terrains
    ]
    if not means or any(None in pair for pair in means):
        return "Whether stage 3 is better than stage 2 is not known, because the summary lacks figures."
    better = [terrain for terrain, (before, after) in zip(terrains, means, strict=True) if after > before]
    where = (
        "nowhere"
        if not better
        else f"on {', '.join(better)} only"
        if len(better) < len(terrains)
        else "on every terrain"
    )
    return f"Stage 3's mean distance is above stage 2's {where}."


def _conditionality(stage3: Mapping[str, Any]) -> str:
    """Whether the policy of stage 3 gives each terrain its own walkers."""
    conditional = part(stage3, "conditional").get("stage3")
    support = part(stage3, "conditional_support_percent").get("stage3")
    if conditional is None:
        return "Whether the policy is conditional is not known, because the summary does not say so."
    if not conditional:
        verdict = "is **not** conditional"
    elif support is None:
        verdict = "is conditional, but whether that is luck was not measured"
    elif support < SURE_PERCENT:
        verdict = "leans to the right walkers, but **within the noise** of its samples"
    else:
        verdict = "is conditional"
    return f"By the terrain x terrain matrix the policy {verdict}."


def _stage1(stage: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    def map_row(name: str, figures: Mapping[str, Any]) -> list[str]:
        return [
            name,
            figure(figures, "niches", ","),
            figure(figures, "qd_score", ",.0f"),
            figure(figures, "best", ".1f"),
        ]

    maps = [map_row(name, figures) for name, figures in part(stage, "archives").items()]
    maps.append(map_row("best over all", stage))
    operators = []
    for number, phase in enumerate(stage.get("phases", []), start=1):
        iterations = f"{number} ({figure(phase, 'first_iteration')}-{figure(phase, 'last_iteration')})"
        for name, counts in part(phase, "operators").items():
            percents = [figure(counts, f"{key}_percent", ".1f") for key in ("applied", "valid", "new", "admitted")]
            operators.append([iterations, name, figure(counts, "proposed", ","), *percents])
    return (
        "## Stage 1: evolution\n\n"
        f"{figure(stage, 'evaluations', ',')} evaluations on "
        f"{', '.join(stage.get('terrains', [])) or figure(stage, 'terrain')}; "
        f"one map of {figure(stage, 'all_niches', ',')} niches per seed; {figure(stage, 'admitted', ',')} programs admitted."
        f"{_on_the_terrains(part(stage, 'on_the_terrains'))}\n\n"
        + table(["map", "niches", "QD score", "best distance"], maps)
        + f"\n\n{pictures.get('archives', '')}\n\n{pictures.get('evolution', '')}\n\n"
        "What the mutation operators' children were worth. Applied: a program came out; valid: it built a walker; new: the "
        "run had not seen that walker; admitted: a map took it. All are shares of the proposed children; they fall over time "
        "as maps fill, so compare operators within a phase.\n\n"
        + table(
            ["phase (iterations)", "operator", "proposed", "applied %", "valid %", "new %", "admitted %"], operators
        )
    )


def _on_the_terrains(evolution: Mapping[str, Any]) -> str:
    """What became of the elites on the terrains of stage 3; nothing for runs that did not evolve there."""
    if not evolution:
        return ""
    best = ", ".join(
        f"{name.split('/')[-1]} {figure(figures, 'best', '.1f')}"
        for name, figures in part(evolution, "archives").items()
    )
    return (
        f" From their elites evolution went on on the terrains of stage 3, for {figure(evolution, 'evaluations', ',')} "
        f"evaluations; the best walkers there: {best}."
    )


def _stage2(stage: Mapping[str, Any]) -> str:
    corpus, training, quality = (part(stage, key) for key in ("corpus", "training", "quality"))
    rows = []
    for name, label in (("model", "stage 2 samples"), ("corpus", "corpus programs")):
        forms = {"count": ",", "valid_percent": ".1f", "distinct_percent": ".1f", "niches": ",", "qd_score": ",.0f",
                 "mean_fitness": ".1f", "best_fitness": ".1f"}  # fmt: skip
        if name in quality:
            rows.append([label, *(figure(part(quality, name), key, form) for key, form in forms.items())])
    held_out = figure(training, "held_out_loss", ".3f")
    return (
        "## Stage 2: a language model of walkers\n\n"
        f"Corpus: {figure(corpus, 'train', ',')} programs to train on, {figure(corpus, 'held_out', ',')} held out by "
        f"lineage, of {figure(corpus, 'admitted', ',')} admitted. Model: {figure(training, 'parameters', ',')} parameters, "
        f"{figure(training, 'steps', ',')} steps, {figure(training, 'tokens', ',')} tokens; loss "
        f"{figure(training, 'train_loss', '.3f')} nats a token"
        + (f", {held_out} on the held-out programs" if held_out != MISSING else "")
        + ".\n\nAs many samples of each in a fresh map, on Flat:\n\n"
        + table(["", "programs", "valid %", "distinct %", "niches", "QD score", "mean distance", "best"], rows)
    )


def _stage3(stage: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    terrains = terrains_of(stage)
    samples: Mapping[str, Any] = next(iter(part(stage, "generators", "stage2").values()), {})
    # Runs of older versions measured less.
    shown = [key for key in _SAMPLE_FORMS if key in samples or key not in ("plain", "copies_percent")]
    rows = []
    for name, by_terrain in part(stage, "generators").items():
        row = [GENERATOR_NAMES.get(name, name)]
        for terrain in terrains:
            row.append(" / ".join(figure(part(by_terrain, terrain), key, _SAMPLE_FORMS[key]) for key in shown))
        rows.append(row)
    text = [
        "## Stage 3: the right walker for the terrain",
        f"{figure(samples, 'samples')} fresh programs each on every terrain. What counts is the least distance of a walker and "
        f"its perturbed copies; what is no walker counts 0. {' / '.join(_SAMPLE_TITLES[key] for key in shown)}.",
        table(["generator", *terrains], rows),
        "The matrix says whether a model is conditional: each column's largest entry (bold) should stand on the diagonal, "
        "that is, on every terrain the programs asked for that terrain should be the best. Resampling the programs tells "
        f"whether a diagonal could be luck: below {SURE_PERCENT:g}% it could.",
    ]
    for name, matrix in matrices_of(stage).items():
        text += [f"{GENERATOR_NAMES.get(name, name)}: {_verdict(stage, name)}", _matrix(matrix, terrains)]
    text.append(pictures.get("matrices", ""))
    if "training" in pictures:
        text.append(
            "The policies in training: the mean over the programs of an update (pale) and over those by which the best policy "
            f"was chosen.\n\n{pictures['training']}"
        )
    text += [_kept(GENERATOR_NAMES[name], part(stage, "training", key)) for name, key in _TRAINED.items()]
    return "\n\n".join(paragraph for paragraph in text if paragraph)


_TRAINED = {"rank_gradient": "rank_gradient", "stage3": "finetuned"}
"""The generators that learnt from their own attempts, and what the summary calls their training."""
_ENDS = {
    "collapsed": ("It ended early: too few of its samples were different walkers.",),
    "diverged": ("It ended early: its loss was no longer finite.",),
    "patience": ("It ended early: several looks in a row had found nothing better.",),
}
"""What to say of a training that ended before its last update."""


def _kept(name: str, training: Mapping[str, Any]) -> str:
    """Which policy of a training was kept."""
    start, kept = part(training, "start"), part(training, "kept")
    update, updates = figure(kept, "update"), figure(training, "updates")
    if MISSING in (update, updates):
        return ""
    if update == "0":
        mean = figure(start, "mean", ".1f")
        best = f"{name}: none of {updates} updates was better than its start ({mean} units), which was kept."
    else:
        best = (
            f"{name}: of {updates} updates number {update} was the best ({figure(kept, 'mean', '.1f')} units; its start "
            f"{figure(start, 'mean', '.1f')})."
        )
    return " ".join([best, *_ENDS.get(str(training.get("stopped")), ())])


_SAMPLE_FORMS = {
    "mean": ".1f", "plain": ".1f", "best": ".1f", "valid_percent": ".0f", "distinct": ".0f", "copies_percent": ".0f",
}  # fmt: skip
_SAMPLE_TITLES = {
    "mean": "Mean", "plain": "mean as simulated", "best": "best", "valid_percent": "valid %", "distinct": "different walkers",
    "copies_percent": "copies of known walkers %",
}  # fmt: skip


def _verdict(stage: Mapping[str, Any], name: str) -> str:
    conditional = part(stage, "conditional").get(name)
    verdict = "not judged" if conditional is None else "diagonal" if conditional else "not diagonal"
    support = figure(part(stage, "conditional_support_percent"), name, ".0f")
    return f"{verdict}, and " + (
        "never resampled" if support == MISSING else f"diagonal in {support}% of bootstrap resamplings"
    )


def _matrix(matrix: Sequence[Sequence[float]], terrains: Sequence[str]) -> str:
    best = [max(column) for column in zip(*matrix, strict=True)]
    rows = [
        [
            f"asked for {terrain}",
            *(f"**{v:.1f}**" if v == top else f"{v:.1f}" for v, top in zip(row, best, strict=True)),
        ]
        for terrain, row in zip(terrains, matrix, strict=True)
    ]
    return table(["mean distance", *(f"on {terrain}" for terrain in terrains)], rows)


def _films(stage: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    text = ["## The best walker of stage 3 on each terrain"]
    for terrain, best in part(stage, "best_programs").items():
        if best.get("distance", 1.0) <= 0.0:
            text.append(f"{terrain}: no walker of stage 3 moved.")
            continue
        text.append(f"{terrain}: {figure(best, 'distance', '.1f')} units\n\n{pictures.get(f'film_{terrain}', '')}")
        if "program" in best:
            program = f"```python\n{best['program'].strip()}\n```"
            text.append(f"<details><summary>Its program</summary>\n\n{program}\n\n</details>")
    if len(text) == 1:
        text.append("Not recorded by this run.")
    return "\n\n".join(text)


def _foot(summary: Mapping[str, Any]) -> str:
    versions = part(summary, "versions")
    listed = ", ".join(f"{name} {version}" for name, version in versions.get("packages", versions).items())
    command = f"`elm-rl pipeline --preset {figure(summary, 'preset')} --seed {figure(summary, 'seed')}`"
    return (
        f"## How it was made\n\n{command}\n\n"
        + table(["part", "seconds"], list(part(summary, "timing").items()))
        + f"\n\nVersions: {listed or MISSING}.\n\nEvery figure above is in `summary.json`; the pictures are in `report/`."
    )
