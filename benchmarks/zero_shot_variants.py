"""What a policy for unseen terrains is made of: encoder, size, number of train terrains, of walkers, of labels.

Usage: ``python -m benchmarks.zero_shot_variants --study runs/zero_shot --out runs/zero_shot_variants [--variants NAME ...]
[--seeds 3] [--seconds 300] [--start FOLDER] [--write]``. Stopped at any moment, the same command goes on.

It starts from what `benchmarks.zero_shot` has prepared. Every variant changes one thing of the supervised start, trains for as
many seconds, and is judged on the same terrains of the test split; nothing is learnt from own attempts.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.policy_judging import LONGEST, ROBUSTNESS, SAMPLES, row_of
from benchmarks.tables import format_interval, markdown_table, publish
from benchmarks.zero_shot import FULL, TARGET_TEMPERATURE, test_terrains
from elm_rl.corpus.cross_table import TABLE_FILE, CrossTableConfig, load_cross_table, run_cross_table
from elm_rl.evolution import EvolveConfig, run_evolve
from elm_rl.inventor.siblings import SIBLINGS_FILE, SiblingsConfig, run_siblings
from elm_rl.inventor.supervised import SupervisedConfig, run_supervised
from elm_rl.judging.comparison import known_of, sample_conditioned
from elm_rl.judging.terrain_scores import Known, Rest, paired_difference
from elm_rl.models.language_model import load_policy
from elm_rl.models.pretraining import PretrainConfig, run_pretrain
from elm_rl.runs.run_directory import CONFIG_FILE, read_json, write_json
from sodarace_gym.evaluation import Evaluator


@dataclass(frozen=True)
class Variant:
    """What differs from the first one.

    Attributes:
        encoder: How the terrain is told.
        size: Size of the language model; None for the study's own.
        start: A pretrained model that learns the corpus in its place.
        terrains: Train terrains of the table; None for all.
        walkers: Walkers of the table; None for all.
        labelled: Further terrains that the regression labels.
        smoothed: Whether targets are what the regression expects, or what was rolled out.
        per_terrain: Programs learnt for each terrain.
        temperature: How openly they are drawn; 0 for the best.
        siblings: Whether few walkers are learnt in the words of their siblings; otherwise `portfolio` decides.
        siblings_each: Of the siblings of a walker only so many are learnt; 0 for all.
        portfolio: Without siblings, so many walkers are learnt; 0 for all.
        lesson: Whether the network learns first by itself.
        bands: Bands of ranks that are learnt under an embedding each; 0 for none.
        further: Operators with which the run on the train terrains goes on before the table is made; POLICY stands for the
            study's own, with which that is expert iteration.
    """

    encoder: str = "profile"
    size: str | None = None
    start: str | None = None
    terrains: int | None = None
    walkers: int | None = None
    labelled: int = 8000
    smoothed: bool = True
    per_terrain: int = 8
    temperature: float = TARGET_TEMPERATURE
    siblings: bool = True
    siblings_each: int = 0
    portfolio: int = 0
    lesson: bool = True
    bands: int = 0
    further: tuple[str, ...] = ()


POLICY = "policy,share=0.25"
FURTHER_ITERATIONS = 100
"""Of 256 children, by which the run goes on."""
BASE = Variant()
VARIANTS: dict[str, Variant] = {
    "base": BASE,
    "image": replace(BASE, encoder="image"),
    "text": replace(BASE, encoder="text"),
    "0.1M": replace(BASE, size="0.1M"),
    "5M": replace(BASE, size="5M"),
    "10 terrains": replace(BASE, terrains=10),
    "40 terrains": replace(BASE, terrains=40),
    "100 walkers": replace(BASE, walkers=100),
    "as rolled out": replace(BASE, smoothed=False, labelled=0, per_terrain=25),
    "no labels": replace(BASE, labelled=0, per_terrain=25),
    "1,000 labels": replace(BASE, labelled=1000),
    "the best alone": replace(BASE, temperature=0.0),
    "no lesson": replace(BASE, lesson=False),
    "8 siblings each": replace(BASE, siblings_each=8),
    "no siblings": replace(BASE, siblings=False, portfolio=FULL.portfolio),
    "all walkers": replace(BASE, siblings=False),
    "4 bands": replace(BASE, siblings=False, temperature=0.0, per_terrain=8, labelled=1000, bands=4),
    "more evolution": replace(BASE, further=("gp,tries=4",)),
    "expert iteration": replace(BASE, further=("gp,tries=4", POLICY)),
}


class Study(NamedTuple):
    """What the variants share.

    Attributes:
        folder: What `benchmarks.zero_shot` has prepared.
        out: Folder of this study.
        seconds: Training of each supervised start, and of each further language model.
        n_jobs: Threads that evaluate.
    """

    folder: Path
    out: Path
    seconds: float
    n_jobs: int


def language_model(study: Study, variant: Variant) -> Path:
    """The model that a variant starts from."""
    if variant.size is None and variant.start is None:
        return study.folder / "language_model"
    name = variant.size or Path(str(variant.start)).name
    settings: dict[str, Any] = (
        {"size": variant.size} if variant.size else {"start": variant.start, "learning_rate": 3e-4}
    )
    run_pretrain(
        PretrainConfig(
            corpus=study.folder / "corpus", out=study.out / "models" / name, batch_size=8, max_seconds=2 * study.seconds,
            **{"learning_rate": 4e-3, **settings},
        )
    )  # fmt: skip
    return study.out / "models" / name


def cross_table(study: Study, variant: Variant) -> Path:
    """The table that a variant learns from: the study's, or a smaller one made in the same way."""
    if variant.terrains is None and variant.walkers is None and not variant.further:
        return study.folder / "cross_table"
    made = CrossTableConfig(**read_json(study.folder / "cross_table" / TABLE_FILE)["config"])
    parts = [str(variant.terrains or "all"), str(variant.walkers or "all")]
    runs = made.evolution
    if variant.further:
        parts.append("policy" if POLICY in variant.further else "further")
        runs = (*runs[:-1], further_run(study, variant, study.out / "runs" / parts[-1]))
    folder = study.out / "tables" / "_".join(parts)
    run_cross_table(
        replace(
            made, evolution=runs, out=folder, n_jobs=study.n_jobs, draws=variant.terrains or made.draws,
            walkers=variant.walkers or made.walkers, robustness=ROBUSTNESS,
        )
    )  # fmt: skip
    return folder


def siblings(study: Study, variant: Variant) -> Path | None:
    """The siblings that a variant learns: the study's, or those of its own table's walkers, made in the same way."""
    if not variant.siblings:
        return None
    table = cross_table(study, variant)
    if table == study.folder / "cross_table":
        return study.folder / "siblings"
    out = study.out / "siblings" / table.name
    settings = read_json(study.folder / "siblings" / SIBLINGS_FILE)["settings"]
    run_siblings(SiblingsConfig(**settings, cross_table=table, out=out, n_jobs=study.n_jobs))
    return out


def further_run(study: Study, variant: Variant, out: Path) -> Path:
    """A copy of the study's run on the train terrains that has gone on with other operators; returns its folder."""
    policy = f"policy:{study.folder / 'seed_0' / 'rank_gradient'}"
    begun = read_json(study.folder / "evolution" / CONFIG_FILE)
    iterations = begun["iterations"] + FURTHER_ITERATIONS
    if not out.exists():
        copying = out.with_name(f"{out.name}.copying")
        shutil.rmtree(copying, ignore_errors=True)
        shutil.copytree(study.folder / "evolution", copying)
        copying.rename(out)
    run_evolve(
        EvolveConfig(
            out=out, seeds=(), start_from=Path(begun["start_from"]), terrains=(), random_terrains=begun["random_terrains"],
            maps="terrain", iterations=iterations, n_jobs=study.n_jobs, checkpoint_every=10, resume=True,
            operators=tuple(each.replace("policy", policy, 1) for each in variant.further),
        )
    )  # fmt: skip
    return out


def known_to(study: Study, variant: Variant) -> Known:
    """The walkers of the study and, where a variant has others, of its own table."""
    first, second = (
        known_of(study.folder / "corpus", load_cross_table(cross_table(study, each)), siblings(study, each))
        for each in (BASE, variant)
    )
    return Known(first.designs | second.designs, first.masked | second.masked)


def measured(study: Study, name: str, variant: Variant, seed: int, evaluator: Evaluator) -> dict[str, Any]:
    """What a variant and a seed came to, kept in a file once it is there."""
    folder = study.out / name.replace(" ", "_").replace(",", "") / str(seed)
    file = folder / "judged.json"
    if file.exists():
        found: dict[str, Any] = read_json(file)
        return found
    encoder: Any = variant.encoder
    lesson: dict[str, Any] = {} if variant.lesson else {"lesson_steps": 0}
    run_supervised(
        SupervisedConfig(
            cross_table=cross_table(study, variant), language_model=language_model(study, variant),
            siblings=siblings(study, variant), out=folder / "policy", terrain_encoder=encoder, smoothed=variant.smoothed,
            labelled=variant.labelled, per_terrain=variant.per_terrain, temperature=variant.temperature,
            siblings_each=variant.siblings_each, portfolio=variant.portfolio, bands=variant.bands, optimizer="muon",
            max_seconds=study.seconds, max_epochs=1e9, seed=seed, **lesson,
        )
    )  # fmt: skip
    policy, tokenizer = load_policy(folder / "policy")
    texts = [text for group in test_terrains().values() for text in group]
    written = sample_conditioned(policy, tokenizer, texts, SAMPLES, LONGEST, seed=1000 + seed)
    row = row_of(written, evaluator, known_to(study, variant), sampled=True)
    found = {
        "parameters": sum(parameter.numel() for parameter in policy.parameters()),
        "one": row.one.tolist(),
        "best": row.best.tolist(),
        "swapped": row.swapped.tolist(),
        **{name: float(np.mean([getattr(s, name) for s in row.scores])) for name in ("valid", "copies")},
        "novel": Rest.of(row.scores).mean,
    }
    write_json(file, found)
    return found


def page(found: Mapping[str, Sequence[Mapping[str, Any]]], study: Study) -> str:
    """The table and remarks."""
    groups = test_terrains()
    base = np.mean([each["one"] for each in found["base"]], axis=0) if "base" in found else None
    places: dict[str, slice] = {}
    begin = 0
    for name, texts in groups.items():
        places[name] = slice(begin, begin + len(texts))
        begin += len(texts)
    places["all"] = slice(0, begin)
    rows = []
    for name, outcomes in found.items():
        one = np.array([each["one"] for each in outcomes])
        row: list[object] = [name, f"{outcomes[0]['parameters']:,}"]
        row += [f"{one[:, place].mean():.1f}" for place in places.values()]
        row.append(" / ".join(f"{each.mean():.1f}" for each in one))
        row.append(f"{np.mean([each['best'] for each in outcomes]):.1f}")
        if base is None or name == "base":
            row.append("")
        else:
            difference, low, high = paired_difference(one.mean(axis=0).tolist(), base.tolist())
            row.append(f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]")
        row.append(format_interval([100 * np.mean(np.array(each["swapped"]) > 0) for each in outcomes], 0))
        row += [f"{100 * np.mean([each[figure] for each in outcomes]):.0f}" for figure in ("valid", "copies")]
        row.append(f"{np.nanmean([each['novel'] for each in outcomes]):.1f}")
        rows.append(row)
    return (
        f"{study.seconds:g} seconds of training each (a language model of another size twice as many, beforehand); "
        f"{len(next(iter(found.values())))} seeds, with the same table. Mean least distance of {SAMPLES} samples a terrain at "
        "temperature 1, as in [zero_shot](zero_shot.md); the difference from base is paired by terrain, with a 95% interval; "
        "own beats other: on how many terrains the samples asked for it do better there than those asked for another one.\n\n"
        + markdown_table(
            ["variant", "parameters", *places, "all, by seed", f"best of {SAMPLES}", "less base", "own beats other, %",
             "valid %", "copies %", "mean of the rest"],
            rows,
        )
    )  # fmt: skip


def main() -> None:
    """Trains, judges, prints and, if asked, writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="what benchmarks.zero_shot has written")
    parser.add_argument("--out", type=Path, required=True, help="folder of everything, which is gone on with")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), help="which of them")
    parser.add_argument("--start", help="folder or GGUF file of a pretrained model, for one more variant")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=300.0, help="training of each supervised start")
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads that evaluate")
    parser.add_argument("--write", action="store_true", help="write the result to benchmarks/results")
    given = parser.parse_args()
    study = Study(given.study, given.out, given.seconds, given.n_jobs)
    variants = {name: VARIANTS[name] for name in given.variants}
    if given.start is not None:
        variants[Path(given.start).name] = replace(BASE, start=given.start)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    with Evaluator(n_jobs=given.n_jobs) as evaluator:
        for seed in range(given.seeds):
            for name, variant in variants.items():
                found[name].append(measured(study, name, variant, seed, evaluator))
    publish("zero_shot_variants", "What does a policy for unseen terrains need?", page(found, study), given.write)


if __name__ == "__main__":
    main()
