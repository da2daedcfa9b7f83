"""The mission end to end: seeds become maps of walkers, maps a language model, and that is taught which walker suits a terrain.

``elm-rl pipeline`` runs every stage into one folder and writes its summary and report. Each stage reuses what it finds
finished, so that a run that was killed goes on with ``--resume`` where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from elm_rl.corpus.corpus import TRAIN, CorpusConfig, load_corpus, run_corpus
from elm_rl.corpus.cross_table import CrossTableConfig, run_cross_table
from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.seeds import SEED_NAMES, seed_name
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.stage import round_folder, run_evolve
from elm_rl.inventor.ppo import FinetuneConfig, run_finetune
from elm_rl.inventor.rank_gradient import RankGradientConfig, run_rank_gradient
from elm_rl.inventor.siblings import SiblingsConfig, run_siblings
from elm_rl.inventor.supervised import SupervisedConfig, run_supervised
from elm_rl.judging.comparison import compare, known_of, sample_blind, sample_conditioned
from elm_rl.judging.sample_quality import measure_quality
from elm_rl.models.conditioning.policy import DEFAULT_TERRAINS
from elm_rl.models.language_model import load_language_model, load_policy
from elm_rl.models.pretraining import PretrainConfig, run_pretrain
from elm_rl.models.training_options import TRAINING_FILE
from elm_rl.report import ReportConfig, run_report
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import SUMMARY_FILE, read_json, versions, write_json
from elm_rl.runs.run_lock import opened_run
from elm_rl.runs.setting_checks import check_threads, named_terrain
from sodarace_gym.evaluation import Evaluator

TIMING_FILE = "timing.json"
ROBUSTNESS = 2
"""Perturbed copies of each walker whose least distance counts in stage 3."""
PPO_SAMPLES = 32
"""Programs for each terrain in an update of PPO: its gradient is noisier than that of ranks alone."""
BEST_SIBLINGS = 32
"""Siblings of each walker that are learnt: more were learnt less well (trial in benchmarks/results/README.md)."""
TARGET_TEMPERATURE = 5.0
"""How open the supervised start is between the kinds of walkers of a terrain, walker units."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything a preset does. Counts and not seconds: the same seed then gives the same run anywhere."""

    evolution_batch: int
    """Children an iteration of evolution."""
    iterations: int
    """Iterations of evolution on Flat: half of them with the default operators, half with the one that the first half has
    trained."""
    round_steps: int
    """Training steps of that operator."""
    terrain_iterations: int
    """Iterations of evolution on the terrains of stage 3, from the elites of Flat."""
    pretraining_steps: int
    """Training steps of the stage 2 model."""
    walkers: int
    """Walkers of the cross table."""
    kinds: int
    """Walkers of the table that get siblings, for each terrain."""
    children: int
    """Children of each that are tried for that."""
    per_terrain: int
    """Programs that the supervised start learns for each terrain."""
    supervised_steps: int
    """Training steps of that."""
    gradient_updates: int
    """Updates of the rank policy gradient."""
    ppo_updates: int
    """Updates of PPO, with 32 programs for each terrain."""
    samples: int
    """Programs by which each generator is judged on each terrain."""


PRESETS: dict[str, Scale] = {
    "smoke": Scale(
        evolution_batch=32, iterations=8, round_steps=12, terrain_iterations=3, pretraining_steps=30, walkers=40,
        kinds=1, children=32, per_terrain=8, supervised_steps=20, gradient_updates=1, ppo_updates=1, samples=8,
    ),
    "demo": Scale(
        evolution_batch=256, iterations=60, round_steps=200, terrain_iterations=60, pretraining_steps=1300, walkers=600,
        kinds=4, children=512, per_terrain=200, supervised_steps=300, gradient_updates=5, ppo_updates=10, samples=96,
    ),
    "laptop": Scale(
        evolution_batch=256, iterations=190, round_steps=1000, terrain_iterations=150, pretraining_steps=6000, walkers=1200,
        kinds=4, children=2048, per_terrain=400, supervised_steps=600, gradient_updates=30, ppo_updates=20, samples=192,
    ),
}  # fmt: skip
"""smoke: a minute on two cores, to see that everything works; demo and laptop: more of everything."""


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """Settings of ``elm-rl pipeline``."""

    out: Path
    """Folder of the run; must be new or empty unless resuming."""
    preset: Literal["smoke", "demo", "laptop"] = "demo"
    """How much of everything; smoke takes about a minute on two cores."""
    seed: int = 0
    """Seed of every random choice."""
    seeds: tuple[str, ...] = SEED_NAMES
    """Seed programs of evolution; each has an archive of its own."""
    exclude_archives: tuple[str, ...] = ()
    """Archives left out of the corpus: those of seeds of the evolution on Flat, by their names; those of the evolution on the
    terrains, which mix the descendants of all seeds, as all or all/Tunnel."""
    terrains: tuple[str, ...] = DEFAULT_TERRAINS
    """Terrains that stage 3 learns."""
    n_jobs: int = -1
    """Threads that evaluate; -1 for one a core."""
    resume: bool = False
    """Continue the run in the folder."""
    progress: bool = True
    """Show progress bars."""

    def __post_init__(self) -> None:
        take_paths(self)
        if self.preset not in PRESETS:
            raise ConfigError(f"There is no preset {self.preset!r}; the presets are {', '.join(PRESETS)}.")
        # Here, and not hours later when the stage that needs them is reached.
        check_threads(self.n_jobs)
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; expected 0 or more.")
        grounds = {named_terrain(text).key for text in self.terrains}
        if len(grounds) < max(len(self.terrains), 1):
            raise ConfigError(
                f"terrains are {', '.join(self.terrains) or 'none'}; expected one or more, all different."
            )
        names = [seed_name(text) for text in self.seeds] + ["all", *(f"all/{text}" for text in self.terrains)]
        if unknown := [name for name in self.exclude_archives if name not in names]:
            raise ConfigError(f"There is no archive {unknown[0]!r} to exclude; the archives are {', '.join(names)}.")


def run_pipeline(config: PipelineConfig) -> dict[str, Any]:
    """Runs all stages and writes ``summary.json`` and ``report.md``; docs/pipeline.md explains their keys.

    Returns:
        The summary.

    Raises:
        ElmError: A setting is out of range, a folder cannot be used, or the disk is full.
    """
    may_change = ("n_jobs", "resume", "progress", "out")
    with opened_run(config.out, config, resume=config.resume, may_change=may_change):
        return _run_stages(config, PRESETS[config.preset])


def _run_stages(config: PipelineConfig, scale: Scale) -> dict[str, Any]:
    clock = _Clock(config.out / TIMING_FILE, config.progress)
    stage1 = _stage1(config, scale, clock)
    stage1["on_the_terrains"] = _terrain_evolution(config, scale, clock)
    stage2 = _stage2(config, scale, clock)
    stage3 = _stage3(config, scale, clock)
    summary = {
        "preset": config.preset,
        "seed": config.seed,
        "scale": asdict(scale),
        "stage1": stage1,
        "stage2": stage2,
        "stage3": stage3,
        "timing": clock.seconds,
        "versions": versions(),
    }
    write_json(config.out / SUMMARY_FILE, summary)
    with clock.measure("report"):
        run_report(ReportConfig(run=config.out, n_jobs=config.n_jobs, progress=config.progress))
    return summary


class _Clock:
    """Announces the parts of a run and takes their times, to which those of a resumed run are added."""

    def __init__(self, file: Path, talk: bool) -> None:
        self.file, self.talk = file, talk
        self.seconds: dict[str, float] = read_json(file) if file.exists() else {}

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        if self.talk:
            print(f"==> {part}", flush=True)
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = round(self.seconds.get(part, 0.0) + time.monotonic() - begun, 1)
            with suppress(ElmError):  # a full disk, of which the stage has its own to say
                write_json(self.file, self.seconds)


def _stage1(config: PipelineConfig, scale: Scale, clock: _Clock) -> dict[str, Any]:
    """Evolution by the default operators, and then by these and one that was trained on what they had found."""
    folder = config.out / "evolution"
    with clock.measure("stage 1: evolution, with a round of training"):
        summary = run_evolve(
            EvolveConfig(
                out=folder,
                seeds=config.seeds,
                iterations=scale.iterations,
                batch_size=scale.evolution_batch,
                rounds=1,
                round_steps=scale.round_steps,
                seed=config.seed,
                n_jobs=config.n_jobs,
                progress=config.progress,
                resume=folder.exists(),
            )
        )
    figures = {key: value for key, value in summary.items() if key != "timing"}
    clock.seconds["stage 1: evaluations per second"] = round(summary["timing"]["evaluations_per_second"], 1)
    training = read_json(round_folder(folder, 1) / TRAINING_FILE)["figures"]
    return {**figures, "mutation_model": _repeatable(training)}


def _terrain_evolution(config: PipelineConfig, scale: Scale, clock: _Clock) -> dict[str, Any]:
    """Evolution on the terrains of stage 3, from the elites of Flat. By genetic programming alone, which is fast."""
    folder = config.out / "terrain_evolution"
    with clock.measure("stage 1: evolution on the terrains"):
        summary = run_evolve(
            EvolveConfig(
                out=folder,
                seeds=(),
                start_from=config.out / "evolution",
                terrains=config.terrains,
                maps="terrain",
                operators=("gp",),
                iterations=scale.terrain_iterations,
                batch_size=scale.evolution_batch,
                seed=config.seed,
                n_jobs=config.n_jobs,
                progress=config.progress,
                resume=folder.exists(),
            )
        )
    return {name: summary[name] for name in ("evaluations", "admitted", "archives")}


def _stage2(config: PipelineConfig, scale: Scale, clock: _Clock) -> dict[str, Any]:
    """The corpus, the language model, and how its samples compare with the corpus."""
    corpus_folder, model_folder = config.out / "corpus", config.out / "language_model"
    with clock.measure("stage 2: corpus"):
        corpus = run_corpus(
            CorpusConfig(
                evolution=_runs(config),
                out=corpus_folder,
                exclude_archives=config.exclude_archives,
                seed=config.seed,
            )
        )
    with clock.measure("stage 2: pretraining"):
        training = run_pretrain(
            PretrainConfig(
                corpus=corpus_folder,
                out=model_folder,
                # At equal tokens small batches learn faster here, and a step costs little more than its tokens.
                batch_size=8,
                learning_rate=4e-3,
                max_steps=scale.pretraining_steps,
                seed=config.seed,
            )
        )
    with clock.measure("stage 2: samples against the corpus"), Evaluator(n_jobs=config.n_jobs) as evaluator:
        quality = measure_quality(model_folder, corpus_folder, scale.samples, evaluator, seed=config.seed)
    return {"corpus": corpus["figures"], "training": asdict(training), "quality": quality}


def _runs(config: PipelineConfig) -> tuple[Path, ...]:
    return config.out / "evolution", config.out / "terrain_evolution"


RUNGS = ("supervised", "rank_gradient", "finetuned")
"""The policies of stage 3, each started from the one before: their folders, and what the summary calls them."""


def _stage3(config: PipelineConfig, scale: Scale, clock: _Clock) -> dict[str, Any]:
    """The cross table, the policies that climb from it, and the comparison of all generators."""
    out = config.out
    with clock.measure("stage 3: cross table"):
        table = run_cross_table(
            CrossTableConfig(
                evolution=_runs(config),
                out=out / "cross_table",
                walkers=scale.walkers,
                probes=len(config.terrains),
                terrains=config.terrains,
                draws=0,
                robustness=ROBUSTNESS,
                seed=config.seed,
                n_jobs=config.n_jobs,
                progress=config.progress,
            )
        )
    with clock.measure("stage 3: siblings of the best"):
        siblings = run_siblings(
            SiblingsConfig(
                cross_table=out / "cross_table",
                out=out / "siblings",
                portfolio=scale.kinds * len(config.terrains),
                count=scale.per_terrain,
                children=scale.children,
                terrains=1,
                seed=config.seed,
                n_jobs=config.n_jobs,
                progress=config.progress,
            )
        )
    with clock.measure("stage 3: supervised start"):
        supervised = run_supervised(
            SupervisedConfig(
                cross_table=out / "cross_table",
                language_model=out / "language_model",
                out=out / "supervised",
                siblings=out / "siblings",
                siblings_each=BEST_SIBLINGS,
                terrain_encoder="codes",
                per_terrain=scale.per_terrain,
                temperature=TARGET_TEMPERATURE,
                optimizer="muon",
                max_steps=scale.supervised_steps,
                seed=config.seed,
            )
        )
    shared: dict[str, Any] = {
        "robustness": ROBUSTNESS, "seed": config.seed, "n_jobs": config.n_jobs, "progress": config.progress,
    }  # fmt: skip
    with clock.measure("stage 3: rank policy gradient"):
        gradient = run_rank_gradient(
            RankGradientConfig(
                start=out / "supervised", out=out / "rank_gradient", updates=scale.gradient_updates, **shared
            )
        )
    with clock.measure("stage 3: PPO"):
        ppo = run_finetune(
            FinetuneConfig(
                start=out / "rank_gradient",
                out=out / "finetuned",
                updates=scale.ppo_updates,
                samples=PPO_SAMPLES,
                **shared,
            )
        )
    with clock.measure("stage 3: comparison on every terrain"), Evaluator(n_jobs=config.n_jobs) as evaluator:
        comparison = compare(
            _generators(config, scale),
            config.terrains,
            evaluator,
            known_of(out / "corpus", table, out / "siblings"),
            robustness=ROBUSTNESS,
        )
    return {
        **comparison,
        "cross_table": {"walkers": len(table.walkers), "terrains": len(table.terrains)},
        "siblings": {"kinds": len(siblings), "siblings": sum(map(len, siblings.values()))},
        "training": {"supervised": asdict(supervised), "rank_gradient": asdict(gradient), "finetuned": asdict(ppo)},
    }


def _generators(config: PipelineConfig, scale: Scale) -> dict[str, dict[str, list[str]]]:
    """As many programs of each generator for each terrain; seeds differ from those that training drew from."""
    language_model, tokenizer = load_language_model(config.out / "language_model")
    corpus = list(load_corpus(config.out / "corpus")[TRAIN]["program"])
    rng = np.random.default_rng([config.seed, 3])
    picks = rng.choice(len(corpus), size=scale.samples, replace=len(corpus) < scale.samples)
    seed = int(rng.integers(1 << 31))
    longest = 256
    generators = {
        "corpus": {name: [corpus[i] for i in picks] for name in config.terrains},
        "stage2": sample_blind(language_model, tokenizer, config.terrains, scale.samples, longest, seed),
    }
    for folder in RUNGS:
        policy, tokenizer = load_policy(config.out / folder, config.terrains)
        name = "stage3" if folder == RUNGS[-1] else folder
        generators[name] = sample_conditioned(policy, tokenizer, config.terrains, scale.samples, longest, seed)
    return generators


def _repeatable(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures without the wall-clock time, which differs from run to run."""
    return {key: value for key, value in figures.items() if key != "seconds"}
