"""Stage 1: MAP-Elites over walker programs, one archive a seed, with any mix of mutation operators side by side.

An iteration is one batch of children: parents are drawn uniformly from the elites of each archive in turn, operators
are drawn by their share, the children are evaluated together, and what is valid and new is offered to the archive of
its parent, in order. A run can be killed at any moment and resumed, and one that is done can go on with more iterations
and other operators (a new *phase*): that is how a mutation model trained on the first phase joins in.
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ribs.archives import GridArchive
from tqdm import tqdm

from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.brood import Birth, Brood
from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.evolution.state import COUNTS, EvolutionState, operator_figures
from elm_rl.mutation.background import BackgroundMutation
from elm_rl.mutation.operator import MutationOperator
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import SUMMARY_FILE, write_config, write_json
from elm_rl.runs.run_lock import opened_run
from elm_rl.runs.tensorboard import ScalarLog
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.terrains.families import ALL_TERRAIN_NAMES
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain

# A resumed run may set these anew. Operators, shares and iterations have their own rule: see _enter_phase.
_MAY_CHANGE = ("iterations", "operators", "shares", "checkpoint_every", "n_jobs", "out", "resume", "progress")


@dataclass(frozen=True)
class EvolveConfig:
    """Evolves walkers on one terrain from the hand-written seeds.

    Attributes:
        out: Folder of the run; must be new or empty unless resuming.
        seeds: Seed programs; each has an archive of its own.
        terrain: Terrain that the walkers are scored on.
        iterations: Iterations in all, those of a resumed run included.
        batch_size: Children an iteration, over all archives together.
        operators: What mutates: "gp", or the folder or hub name of a mutation model.
        shares: Share of the children that each operator makes; equal shares when left out.
        duration: Simulated seconds a walker is scored for.
        seed: Seed of every random choice; the same seed gives the same run, whatever n_jobs.
        checkpoint_every: Iterations between checkpoints; a killed run loses at most so many.
        n_jobs: Threads that evaluate; -1 for one a core.
        resume: Continue the run in the folder.
        progress: Show a progress bar.

    Raises:
        ConfigError: a setting is out of range.
    """

    out: Path
    seeds: tuple[str, ...] = SEED_NAMES
    terrain: str = "Flat"
    iterations: int = 200
    batch_size: int = 256
    operators: tuple[str, ...] = ("gp",)
    shares: tuple[float, ...] = ()
    duration: float = 10.0
    seed: int = 0
    checkpoint_every: int = 1
    n_jobs: int = -1
    resume: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        take_paths(self)
        _one_of("seeds", self.seeds, SEED_NAMES)
        _one_of("terrain", (self.terrain,), ALL_TERRAIN_NAMES)
        for name in ("seeds", "operators"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ConfigError(f"{name} is {list(values)}; expected one or more names, each once.")
        for name, low in (("iterations", 0), ("batch_size", 1), ("checkpoint_every", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} or more.")
        if not 0 < self.duration < float("inf"):
            raise ConfigError(f"duration is {self.duration}; expected more than 0 simulated seconds.")
        if self.n_jobs == 0 or self.n_jobs < -1:
            raise ConfigError(f"n_jobs is {self.n_jobs}; expected -1 (one a core) or 1 or more.")
        if self.shares and (len(self.shares) != len(self.operators) or not all(0 < s < 1e9 for s in self.shares)):
            raise ConfigError(
                f"shares is {list(self.shares)}; expected one number above 0 for each of the {len(self.operators)} "
                "operators, or none for equal shares."
            )

    def normalised_shares(self) -> list[float]:
        """One share an operator, summing to 1."""
        shares = np.array(self.shares or [1.0] * len(self.operators), dtype=np.float64)
        return [float(share) for share in shares / shares.sum()]


def _one_of(name: str, values: Sequence[str], allowed: Sequence[str]) -> None:
    for value in values:
        if value not in allowed:
            raise ConfigError(f"{name} has {value!r}; expected one of {', '.join(allowed)}.")


@dataclass(frozen=True)
class EvolutionResult:
    """What a run has come to.

    Attributes:
        archives: One pyribs archive a seed; fields solution (program text), objective, measures, id (of the record).
        summary: What ``summary.json`` holds.
        out: The run directory.
    """

    archives: dict[str, GridArchive]
    summary: dict[str, Any]
    out: Path


def run_evolve(config: EvolveConfig) -> dict[str, Any]:
    """Runs or resumes the stage as the command line does: operators by name, an evaluator of its own.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        ElmError: wrong settings, a model that cannot be loaded, a folder that cannot be used, a full disk.
    """
    # Before the folder is touched: a wrong name should leave nothing behind.
    operators = make_operators(config.operators, background=config.n_jobs != 1)
    with Evaluator(n_jobs=config.n_jobs, duration=config.duration) as evaluator:
        return run_evolution(config, operators, evaluator, resume=config.resume).summary


def make_operators(names: Sequence[str], background: bool = True) -> list[MutationOperator]:
    """Builds "gp", or loads a mutation model by folder or hub name.

    Args:
        names: What to build.
        background: Whether GP works in a process of its own where there are cores for it; the children are the same.
    """
    operators: list[MutationOperator] = []
    for name in names:
        if name == "gp":
            from elm_rl.mutation.gp.operator import GPMutation

            operators.append(BackgroundMutation(GPMutation()) if background else GPMutation())
        else:
            # Imported when asked for: evolution by GP alone should not wait for torch.
            from elm_rl.mutation.language_model import LanguageModelMutation

            operators.append(LanguageModelMutation(name))
    return operators


def run_evolution(
    config: EvolveConfig, operators: Sequence[MutationOperator], evaluator: Evaluator, *, resume: bool = False
) -> EvolutionResult:
    """Evolves until `config.iterations` iterations are done, in a new folder or going on in one.

    Called again with the same folder, more iterations and other operators, it starts a new phase; called for iterations
    that are done already, it changes nothing. So a pipeline that was killed can make all its calls again with resume.

    Args:
        config: the settings; those of a resumed run must be what it began with, except as `_MAY_CHANGE` says.
        operators: one for each of `config.operators`, in that order, with distinct names.
        evaluator: scores the children, with the simulated duration of the config.
        resume: continue the run in `config.out`.

    Returns:
        The archives and the summary, which is also written to ``summary.json``.

    Raises:
        ElmError: a folder that cannot be used or that another process writes to, other operators before a phase is done,
            an operator that reads none of the seeds or does not give one child a parent, a full disk.
    """
    names = [operator.name for operator in operators]
    if len(names) != len(config.operators) or len(set(names)) != len(names):
        raise ConfigError(
            f"operators are named {names}; expected one for each of {list(config.operators)}, with distinct names."
        )
    terrain = make_terrain(config.terrain)
    seeds = {name: load_seed(name) for name in config.seeds}
    for operator in operators:
        operator.check_parents(list(seeds.values()))
    with (
        opened_run(config.out, config, resume=resume, may_change=_MAY_CHANGE) as resuming,
        EvolutionState(config.out, config.seeds, config.seed) as state,
        _settled_memory(),
    ):
        started = resuming and state.load()
        if _enter_phase(state, config, names):
            write_config(config.out, config)
        if not started:
            _plant(state, seeds, evaluator, terrain)
        _iterate(state, config, operators, evaluator, terrain)
        summary = {"terrain": config.terrain, "seed": config.seed, **state.summary()}
        write_json(config.out / SUMMARY_FILE, summary)
        return EvolutionResult(state.archives, summary, config.out)


@contextmanager
def _settled_memory() -> Iterator[None]:
    """Has Python's collector leave alone what there is now: looking through it again and again costs a tenth of the time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _enter_phase(state: EvolutionState, config: EvolveConfig, names: Sequence[str]) -> bool:
    """Finds or begins the phase that the config asks for.

    Returns:
        False when its iterations are done and were done with these operators, so that there is nothing to do.

    Raises:
        ElmError: they were, or the unfinished part is being, done with other operators.
    """
    # A model folder is noted as seen from the run, so that the two may be moved together.
    sources = [
        os.path.relpath(Path(source).resolve(), config.out.resolve()) if Path(source).exists() else source
        for source in config.operators
    ]
    asked = {"operators": list(names), "sources": sources, "shares": config.normalised_shares()}
    done = state.iteration
    ended = [phase for phase in state.phases if config.iterations <= min(done, phase["last_iteration"])]
    phase = ended[0] if ended else state.phases[-1] if state.phases else None
    if phase is not None and (ended or done < phase["last_iteration"]):
        for setting, value in asked.items():
            if phase[setting] != value:
                raise ElmError(
                    f"The run in '{config.out}', {done} iterations old, does iterations {phase['first_iteration']} to "
                    f"{phase['last_iteration']} with {setting} = {phase[setting]}, not {value}; resume it with the "
                    "same setting, others can take over after that."
                )
    if ended:
        return False
    if phase is not None and all(phase[setting] == value for setting, value in asked.items()):
        phase["last_iteration"] = config.iterations
    else:
        counts = {name: dict.fromkeys(COUNTS, 0) for name in names}
        first = done + 1
        state.phases.append({"first_iteration": first, "last_iteration": config.iterations, **asked, "counts": counts})
    return True


def _plant(state: EvolutionState, seeds: dict[str, str], evaluator: Evaluator, terrain: Terrain) -> None:
    """Puts each seed into its archive, as iteration 0."""
    for (name, program), evaluation in zip(
        seeds.items(), evaluator.evaluate(list(seeds.values()), terrain), strict=True
    ):
        if evaluation.error is not None or evaluation.design is None:
            raise ElmError(
                f"The seed program '{name}' cannot be scored: {evaluation.error}; correct it or leave it out."
            )
        state.is_new(evaluation.design)
        state.admit(name, program, evaluation, parent=None, operator="seed", message="", diff=None)
    state.evaluations += len(seeds)
    state.write_iteration({"iteration": 0, "phase": 1, "evaluations": state.evaluations, **state.figures()})
    state.save()


def _iterate(
    state: EvolutionState,
    config: EvolveConfig,
    operators: Sequence[MutationOperator],
    evaluator: Evaluator,
    terrain: Terrain,
) -> None:
    shares = config.normalised_shares()
    total = max(config.iterations, state.iteration)
    if state.iteration >= config.iterations:
        return
    bar = tqdm(total=total, initial=state.iteration, desc="evolve", unit="it", disable=not config.progress)
    with bar, closing(ScalarLog(config.out, resume_at=state.iteration + 1)) as scalars:
        while state.iteration < config.iterations:
            start = time.perf_counter()
            state.iteration += 1
            # Programs are run and walkers walk while the rest of the batch is being bred.
            brood = Brood(state, config.batch_size, operators, shares)
            evaluations = evaluator.evaluate(brood.programs(), terrain)
            evaluated = time.perf_counter()
            metrics = _select(state, brood.evaluated(evaluations), operators)
            seconds = time.perf_counter() - start
            state.seconds += seconds
            # Apart from this last key, two runs with the same seed write the same lines.
            mutate = brood.seconds
            timing = {"seconds": seconds, "mutate": mutate, "evaluate": evaluated - start - mutate}
            state.write_iteration({**metrics, "timing": timing})
            scalars.write(state.iteration, _scalars(metrics))
            if state.iteration % config.checkpoint_every == 0 or state.iteration == config.iterations:
                state.save()
            valid = sum(counts["valid"] for counts in metrics["operators"].values())
            bar.set_postfix(
                {
                    "niches": metrics["niches"],
                    "QD": f"{metrics['qd_score']:.0f}",
                    "best": f"{metrics['best']:.1f}",
                    "valid": f"{valid / config.batch_size:.0%}",
                    "evals/s": f"{len(evaluations) / seconds:.0f}",
                },
                refresh=False,
            )
            bar.update()


def _scalars(metrics: dict[str, Any]) -> list[tuple[str, float]]:
    """The figures of an iteration under TensorBoard's names."""
    scalars = [(f"maps/{name}", float(metrics[name])) for name in ("niches", "qd_score", "best", "admitted")]
    for name, counts in metrics["operators"].items():
        figures = operator_figures(counts)
        scalars += [(f"{name}/{key}_percent", figures[f"{key}_percent"]) for key in COUNTS[1:]]
    return scalars


def _select(
    state: EvolutionState,
    brood: Sequence[tuple[Birth, Evaluation | None]],
    operators: Sequence[MutationOperator],
) -> dict[str, Any]:
    """Offers the valid, new children to their archives, in order, and counts; returns the iteration's metrics."""
    counts = {operator.name: dict.fromkeys(COUNTS, 0) for operator in operators}
    errors: Counter[str] = Counter()
    for birth, evaluation in brood:
        of_operator = counts[birth.operator]
        of_operator["proposed"] += 1
        if evaluation is None or birth.child.program is None:
            errors[birth.child.failure] += 1
            continue
        of_operator["applied"] += 1
        state.evaluations += 1
        if evaluation.error is not None or evaluation.design is None:
            errors[evaluation.error.kind if evaluation.error else "no_design"] += 1
            continue
        of_operator["valid"] += 1
        if not state.is_new(evaluation.design):
            continue
        of_operator["new"] += 1
        of_operator["admitted"] += state.admit(
            birth.archive,
            birth.child.program,
            evaluation,
            parent=birth.parent,
            operator=birth.operator,
            message=birth.child.message,
            diff=birth.child.diff,
        )
    state.errors.update(errors)
    for name, of_operator in counts.items():
        for count, value in of_operator.items():
            state.phases[-1]["counts"][name][count] += value
    return {
        "iteration": state.iteration,
        "phase": len(state.phases),
        "evaluations": state.evaluations,
        "admitted": state.admitted,
        **state.figures(),
        "operators": counts,
        "errors": dict(sorted(errors.items())),
    }
