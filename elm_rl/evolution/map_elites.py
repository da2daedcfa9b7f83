"""Stage 1: MAP-Elites over walker programs, one archive a seed and terrain, with any mix of mutation operators.

An iteration is one batch of children: parents are drawn from the elites of each archive in turn, the fitter more often;
operators are drawn by their share, the children are evaluated together, and what is valid and new is offered to the archive of
its parent, in order. A run can be killed at any moment and resumed, and one that is done can go on with more iterations and
other operators (a new *phase*): that is how a mutation model trained on the first phase joins in.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from elm_rl.errors import BudgetSpent, ConfigError, ElmError
from elm_rl.evolution.breeding import Breeding
from elm_rl.evolution.planting import archive_terrains, plant, planted_programs
from elm_rl.evolution.screening import Birth
from elm_rl.evolution.selection import select
from elm_rl.evolution.settings import MAY_CHANGE, EvolveConfig
from elm_rl.evolution.state import COUNTS, EvolutionState, new_counts, operator_figures
from elm_rl.mutation.operator import MutationOperator
from elm_rl.mutation.specs import make_operators, read_specs
from elm_rl.runs.children_file import read_children
from elm_rl.runs.run_directory import SUMMARY_FILE, read_json, write_config, write_json
from elm_rl.runs.run_lock import opened_run
from elm_rl.runs.tensorboard import ScalarLog
from sodarace_gym.evaluation import Evaluation, Evaluator

ALL_DONE = "all iterations are done"
"""Why a run ended that no budget and no target ended."""

__all__ = ["EvolutionResult", "EvolveConfig", "make_operators", "run_evolution"]


@dataclass(frozen=True)
class EvolutionResult:
    """What a run has come to.

    Attributes:
        archives: The pyribs archives by name; fields solution (program text), objective, measures, id (of the record).
        summary: What ``summary.json`` holds.
        out: The run directory.
    """

    archives: dict[str, Any]
    summary: dict[str, Any]
    out: Path


def run_evolution(
    config: EvolveConfig, operators: Sequence[MutationOperator], evaluator: Evaluator, *, resume: bool = False
) -> EvolutionResult:
    """Evolves until `config.iterations` iterations are done, in a new folder or going on in one.

    Called again with the same folder, more iterations and other operators, it starts a new phase; called for iterations
    that are done already, it changes nothing. So a pipeline that was killed can make all its calls again with resume.

    Args:
        config: the settings; those of a resumed run must be what it began with, except as `MAY_CHANGE` says.
        operators: one for each of `config.operators`, in that order, with distinct names.
        evaluator: scores the children, with the simulated duration of the config; it looks at gaits where
            the archives do.
        resume: continue the run in `config.out`.

    Returns:
        The archives and the summary, which is also written to ``summary.json``.

    Raises:
        ElmError: a folder that cannot be used or that another process writes to, other operators before a phase is done,
            an operator that reads none of the seeds or does not give one child a parent, a full disk.
    """
    specs = read_specs(config.operators)
    names = [operator.name for operator in operators]
    if len(names) != len(specs) or len(set(names)) != len(names):
        raise ConfigError(
            f"operators are named {names}; expected one for each of {list(config.operators)}, with distinct names."
        )
    programs = planted_programs(config)
    terrains = config.made_terrains()
    if config.replay is None:  # a server whose replies are kept need not be there
        for operator in operators:
            operator.check_parents([program for _, program in programs])
            operator.check_terrains(list(terrains))
    with (
        opened_run(config.out, config, resume=resume, may_change=MAY_CHANGE) as resuming,
        EvolutionState(config.out, config.archive, archive_terrains(config, programs, terrains)) as state,
        _settled_memory(),
    ):
        started = resuming and state.load()
        sources = [spec.with_source_below(config.out) or spec.kind for spec in specs]
        if _enter_phase(state, config, names, sources):
            write_config(config.out, config)
        if not started:
            plant(state, programs, config, evaluator, terrains)
        for operator in operators:
            operator.open(config.out, config.replay)
        reason = _iterate(state, config, operators, evaluator)
        for operator in operators:  # what servers still send is written, and counts
            operator.close()
        spent = {operator.name: totals for operator in operators if (totals := operator.totals())}
        summary = {
            "terrains": list(terrains),
            "seed": config.seed,
            "stopped": reason,
            **state.summary(),
            "spent": spent,
        }
        write_json(config.out / SUMMARY_FILE, summary)
        return EvolutionResult(state.maps.archives, summary, config.out)


@contextmanager
def _settled_memory() -> Iterator[None]:
    """Has Python's collector leave alone what there is now: looking through it again and again costs a tenth of the time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _enter_phase(state: EvolutionState, config: EvolveConfig, names: Sequence[str], sources: Sequence[str]) -> bool:
    """Finds or begins the phase that the config asks for.

    Returns:
        False when its iterations are done and were done with these operators, so that there is nothing to do.

    Raises:
        ElmError: they were, or the unfinished part is being, done with other operators.
    """
    asked = {"operators": list(names), "sources": list(sources), "shares": config.fixed_shares()}
    done = state.iteration
    ended = [phase for phase in state.phases if config.iterations <= min(done, phase["last_iteration"])]
    phase = ended[0] if ended else state.phases[-1] if state.phases else None
    # A run that has come to a budget or a target has ended, and may go on with others.
    if phase is not None and (ended or (done < phase["last_iteration"] and not _was_summed_up(config.out, done))):
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
        if phase is not None:
            phase["last_iteration"] = done
        counts = {name: new_counts() for name in names}
        first = done + 1
        state.phases.append({"first_iteration": first, "last_iteration": config.iterations, **asked, "counts": counts})
        state.enter_operators(names)
    return True


def _was_summed_up(run: Path, iterations: int) -> bool:
    """Whether a run came to its end after so many iterations, and was not killed."""
    summary = run / SUMMARY_FILE
    return summary.exists() and read_json(summary)["iterations"] == iterations


def _stop_reason(state: EvolutionState, config: EvolveConfig) -> str | None:
    """Why a run ends before the next iteration; None if it does not."""
    if config.max_evaluations is not None and state.evaluations >= config.max_evaluations:
        return f"{state.evaluations} programs are evaluated (max_evaluations)"
    if config.max_seconds is not None and state.seconds >= config.max_seconds:
        return f"{state.seconds:.0f} seconds have passed (max_seconds)"
    if config.target_qd is not None or config.target_best is not None:
        figures = state.figures()
        if config.target_qd is not None and figures["qd_score"] >= config.target_qd:
            return f"the QD score is {figures['qd_score']:.1f} (target_qd)"
        if config.target_best is not None and figures["best"] >= config.target_best:
            return f"the best walker has come {figures['best']:.1f} far (target_best)"
    return ALL_DONE if state.iteration >= config.iterations else None


def _iterate(
    state: EvolutionState, config: EvolveConfig, operators: Sequence[MutationOperator], evaluator: Evaluator
) -> str:
    """Does one iteration after another; returns why it ended."""
    if (reason := _stop_reason(state, config)) is not None:
        return reason
    terrains = config.made_terrains()
    grounds = list(terrains)
    # Where a server's budget may end the run within an iteration, the one before must not be lost.
    every = 1 if any(operator.totals() for operator in operators) else config.checkpoint_every
    with ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(
                total=config.iterations, initial=state.iteration, desc="evolve", unit="it", disable=not config.progress
            )
        )
        scalars = stack.enter_context(closing(ScalarLog(config.out, resume_at=state.iteration + 1)))
        arrivals = None if config.replay is None else recorded_arrivals(config.replay)
        breeding = stack.enter_context(Breeding(state, operators, config, arrivals))
        while (reason := _stop_reason(state, config)) is None:
            start = time.perf_counter()
            state.iteration += 1
            if state.pending.plan is None:
                breeding.prepare(state.iteration, grounds[(state.iteration - 1) % len(grounds)])
            plan = state.pending.plan
            assert plan is not None
            after = state.iteration + 1
            breeding.prepare(after, grounds[(after - 1) % len(grounds)], begin=after <= config.iterations)
            births: list[Birth] = []
            try:
                # Programs are run and walkers walk while the rest of the batch is being bred.
                evaluations = _evaluated(breeding.births(plan), births, plan.terrain, evaluator, terrains)
            except BudgetSpent as spent:
                state.iteration -= 1  # nothing of it was taken: it is as if the run had been killed before
                return str(spent)
            evaluated = time.perf_counter()
            metrics = select(state, config, births, evaluations, operators, evaluator, terrains)
            end = time.perf_counter()
            state.seconds += end - start
            mutate = dict(breeding.seconds)
            state.pay(config.bandit, mutate, evaluated - start)
            breeding.seconds = dict.fromkeys(breeding.seconds, 0.0)
            # Apart from this last key, two runs with the same seed write the same lines.
            timing = {
                "seconds": end - start,
                "mutate": mutate,
                "evaluate": evaluated - start,
                "select": end - evaluated,
            }
            passed_over = breeding.screening.passed_over
            state.write_iteration({**metrics, "passed_over": passed_over, "timing": timing})
            scalars.write(state.iteration, _scalars(metrics))
            last = _stop_reason(state, config) is not None
            if state.iteration % every == 0 or last:
                state.save()
            valid = sum(counts["valid"] for counts in metrics["operators"].values())
            bar.set_postfix(
                {
                    "niches": metrics["niches"],
                    "QD": f"{metrics['qd_score']:.0f}",
                    "best": f"{metrics['best']:.1f}",
                    "valid": f"{valid / max(1, len(births)):.0%}",
                    "evals/s": f"{len(births) / (end - start):.0f}",
                },
                refresh=False,
            )
            bar.update()
    return reason


def _evaluated(
    born: Iterator[Birth],
    births: list[Birth],
    terrain: str,
    evaluator: Evaluator,
    terrains: Mapping[str, Any],
) -> list[Evaluation | None]:
    """Collects the births of an iteration and scores them, each on its parent's terrain, most of them as they are made."""
    here: list[int] = []

    def programs() -> Iterator[str]:
        for birth in born:
            births.append(birth)
            if birth.child.program is not None and birth.parent.terrain == terrain:
                here.append(len(births) - 1)
                yield birth.compiled or birth.child.program

    found: dict[int, Evaluation] = {}
    scored = evaluator.evaluate(
        programs(), terrains[terrain], robustness=0
    )  # copies are for those that might be admitted
    found.update(zip(here, scored, strict=True))
    elsewhere = [
        number for number, birth in enumerate(births) if birth.child.program is not None and number not in found
    ]
    if elsewhere:  # answers of servers to questions of earlier iterations
        late = evaluator.evaluate(
            [births[number].child.program or "" for number in elsewhere],
            [terrains[births[number].parent.terrain] for number in elsewhere],
            robustness=0,
        )
        found.update(zip(elsewhere, late, strict=True))
    return [found.get(number) for number in range(len(births))]


def recorded_arrivals(run: Path) -> dict[int, list[str]]:
    """Which tickets arrived in which iteration of a run, in order.

    Raises:
        ElmError: The run keeps no children, or its file is damaged.
    """
    arrivals: dict[int, list[str]] = {}
    for line in read_children(run):
        if line["ticket"] is not None:
            arrivals.setdefault(line["iteration"], []).append(line["ticket"])
    return arrivals


def _scalars(metrics: dict[str, Any]) -> list[tuple[str, float]]:
    """The figures of an iteration under TensorBoard's names."""
    scalars = [(f"maps/{name}", float(metrics[name])) for name in ("niches", "qd_score", "best", "admitted")]
    for name, counts in metrics["operators"].items():
        figures = operator_figures(counts)
        scalars += [(f"{name}/{key}_percent", figures[f"{key}_percent"]) for key in COUNTS[1:]]
        scalars.append((f"{name}/share", metrics["shares"][name]))
    return scalars
