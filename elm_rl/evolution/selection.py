"""What becomes of the children of an iteration: counted, offered to the archives, logged, and told to their operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from elm_rl.evolution.bandit import divide
from elm_rl.evolution.children_log import child_line
from elm_rl.evolution.planting import archive_name
from elm_rl.evolution.screening import Birth
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.state import EvolutionState, new_counts
from elm_rl.mutation.operator import FailedAttempt, MutationOperator, Outcome
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.terrains.terrain import Terrain

MOST_FAILED = 256
"""Failed children of one operator that wait to be mended; older ones are given up."""


def select(
    state: EvolutionState,
    config: EvolveConfig,
    births: Sequence[Birth],
    evaluations: Sequence[Evaluation | None],
    operators: Sequence[MutationOperator],
    evaluator: Evaluator,
    terrains: Mapping[str, Terrain],
) -> dict[str, Any]:
    """Offers the valid, new children to their archives, in order, and counts.

    Args:
        state: The run's state.
        config: Its settings.
        births: The children of the iteration.
        evaluations: Their scores; None where there is no program.
        operators: The operators, which are told.
        evaluator: Scores children on further terrains, if the config says so.
        terrains: The run's terrains.

    Returns:
        The iteration's line of metrics.
    """
    counts = {operator.name: new_counts() for operator in operators}
    errors: Counter[str] = Counter()
    outcomes: dict[str, list[Outcome]] = {operator.name: [] for operator in operators}
    wanderers: list[tuple[Birth, Evaluation]] = []
    met = [_met(state, birth, evaluation) for birth, evaluation in zip(births, evaluations, strict=True)]
    robust = _robust(state, config, met, evaluator, terrains)
    for slot, (outcome, new, evaluation) in enumerate(met):
        birth = births[slot]
        record = None
        if new and evaluation is not None:
            outcome, record = _offered(state, outcome, robust.get(slot, evaluation))
        count = counts[birth.child.operator]
        count["proposed"] += 1
        count["applied"] += evaluation is not None
        count["valid"] += outcome.error is None
        count["new"] += new
        count["admitted"] += outcome.admitted
        count["gain"] += outcome.gain
        count["cost"] += birth.child.cost
        state.evaluations += evaluation is not None
        if outcome.error is not None:
            errors[outcome.error] += 1
        elif config.try_everywhere and evaluation is not None:
            wanderers.append((birth, evaluation))
        outcomes[birth.child.operator].append(outcome)
        state.log_child(
            child_line(
                outcome,
                iteration=state.iteration,
                slot=slot,
                archive=birth.parent.archive,
                new=new,
                record=record,
                ticket=birth.ticket,
                time=state.seconds,
            )
        )
    _try_everywhere(state, config, wanderers, counts, evaluator, terrains)
    for operator in operators:
        if operator.repairs:
            _keep_failed(state, operator.name, outcomes[operator.name])
        operator.learn(outcomes[operator.name])
        if learnt := operator.state():
            state.learnt[operator.name] = learnt
    state.pending.forget_snapshots()
    state.errors.update(errors)
    state.count(counts)
    return {
        "iteration": state.iteration,
        "phase": len(state.phases),
        "evaluations": state.evaluations,
        "admitted": state.admitted,
        **state.figures(),
        "operators": {
            name: {key: value for key, value in count.items() if key != "seconds"} for name, count in counts.items()
        },
        "shares": dict(zip(counts, divide(config.fixed_shares(), state.bandit.shares()), strict=True)),
        "errors": dict(sorted(errors.items())),
    }


def _met(state: EvolutionState, birth: Birth, evaluation: Evaluation | None) -> tuple[Outcome, bool, Evaluation | None]:
    """A child before it is offered to its archive, whether its walker is new, and its evaluation."""
    parent, child = birth.parent, birth.child
    if evaluation is None or child.program is None:
        return Outcome(parent, child, error=child.failure), False, None
    if evaluation.error is not None or evaluation.design is None:
        error = evaluation.error
        kind, sentence = (error.kind, error.message) if error else ("no_design", "")
        return Outcome(parent, child, error=kind, explanation=sentence), False, evaluation
    outcome = Outcome(parent, child, fitness=evaluation.fitness, measures=state.maps.spec.measure(evaluation))
    return outcome, state.is_new(evaluation.design, parent.terrain), evaluation


def _robust(
    state: EvolutionState,
    config: EvolveConfig,
    met: Sequence[tuple[Outcome, bool, Evaluation | None]],
    evaluator: Evaluator,
    terrains: Mapping[str, Terrain],
) -> dict[int, Evaluation]:
    """Evaluations with perturbed copies, of the new children that might be admitted.

    The least distance never exceeds the plain one: what is not admitted for the plain one needs no copies. About half of the
    new children do not.
    """
    if config.robustness == 0:
        return {}
    slots = [
        slot
        for slot, (outcome, new, _) in enumerate(met)
        if new and state.maps.may_take(outcome.parent.archive, outcome.fitness or 0.0, outcome.measures)
    ]
    programs = [met[slot][0].child.program or "" for slot in slots]
    grounds = [terrains[met[slot][0].parent.terrain] for slot in slots]
    return dict(zip(slots, evaluator.evaluate(programs, grounds, robustness=config.robustness), strict=True))


def _offered(state: EvolutionState, outcome: Outcome, evaluation: Evaluation) -> tuple[Outcome, int | None]:
    """What became of a valid, new child, and the id of its record."""
    parent, child = outcome.parent, outcome.child
    fitness = evaluation.score
    admission = state.admit(
        parent.archive,
        child.program or "",
        evaluation,
        fitness=fitness,
        parents=[parent.id, *(other.id for other in parent.others)],
        operator=child.operator,
        message=child.message,
        diff=child.diff,
    )
    admitted = admission.record is not None
    return replace(outcome, fitness=fitness, admitted=admitted, gain=admission.gain), admission.record


def _try_everywhere(
    state: EvolutionState,
    config: EvolveConfig,
    children: Sequence[tuple[Birth, Evaluation]],
    counts: Mapping[str, dict[str, float]],
    evaluator: Evaluator,
    terrains: Mapping[str, Terrain],
) -> None:
    """Scores valid children on the other terrains too, and offers them to those archives."""
    for terrain, ground in terrains.items():
        others = [birth for birth, _ in children if birth.parent.terrain != terrain]
        scored = evaluator.evaluate(
            [birth.child.program or "" for birth in others], ground, robustness=config.robustness
        )
        state.evaluations += len(others)
        for birth, evaluation in zip(others, scored, strict=True):
            if evaluation.error is not None or evaluation.design is None:
                continue
            if not state.is_new(evaluation.design, terrain):
                continue
            seed = birth.parent.archive.partition("/")[0]
            admission = state.admit(
                archive_name(config, seed, terrain),
                birth.child.program or "",
                evaluation,
                fitness=evaluation.score,
                parents=[birth.parent.id, *(other.id for other in birth.parent.others)],
                operator=birth.child.operator,
                message=birth.child.message,
                diff=birth.child.diff,
            )
            counts[birth.child.operator]["gain"] += admission.gain


def _keep_failed(state: EvolutionState, operator: str, outcomes: Sequence[Outcome]) -> None:
    """Keeps the children that failed for the first time, to be mended."""
    waiting = state.pending.failed.setdefault(operator, [])
    for outcome in outcomes:
        program = outcome.child.program
        if outcome.error is not None and program is not None and outcome.parent.failed is None:
            waiting.append(replace(outcome.parent, failed=FailedAttempt(program, outcome.explanation or outcome.error)))
    del waiting[:-MOST_FAILED]
