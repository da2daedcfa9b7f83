"""Stage 1 as the command line runs it: operators by name, and rounds in which the run's own history trains another.

With rounds, the iterations fall into equal parts. After each part but the last, a mutation model is trained anew from the same
start on the children of the run, those of its first iterations apart, and joins the other operators, in the place of the last
round's.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from elm_rl.errors import ConfigError
from elm_rl.evolution.map_elites import ALL_DONE, recorded_arrivals, run_evolution
from elm_rl.evolution.planting import check_seeds, planted_programs
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.mutation.operator import MutationOperator
from elm_rl.mutation.specs import make_operators, read_specs
from elm_rl.runs.checkpoint import newest_checkpoint
from elm_rl.runs.run_directory import check_place
from sodarace_gym.evaluation import Evaluator

ROUNDS_FOLDER = "rounds"
"""Where a run keeps the models that it trained, in folders 1, 2 and so on."""


def run_evolve(config: EvolveConfig) -> dict[str, Any]:
    """Runs or resumes the stage.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        ElmError: wrong settings, a model that cannot be loaded, a folder that cannot be used, a full disk.
    """
    # Before the folder is touched: a wrong name should leave nothing behind.
    check_place(config.out, resume=config.resume)
    planted_programs(config)
    check_seeds(config)
    ends = last_iterations(config)
    _check_rounds(config, ends)
    if config.replay is not None:
        recorded_arrivals(config.replay)
    with Evaluator(n_jobs=config.n_jobs, duration=config.duration, gait=config.archive.gait) as evaluator:
        summary: dict[str, Any] = {}
        for number in range(config.rounds + 1):
            part = _part(config, number, ends)
            if number > 0:
                _train(config, number, ends)
            operators = make_operators(part.operators, background=config.n_jobs != 1)
            with closing(_All(operators)):
                summary = run_evolution(part, operators, evaluator, resume=config.resume or number > 0).summary
            if summary["stopped"] != ALL_DONE:  # at a budget or a target
                break
        return summary


def _check_rounds(config: EvolveConfig, ends: Sequence[int]) -> None:
    """Makes the settings of all parts, and reads what the training of a round begins from, if one is still to be trained.

    Raises:
        ElmError: Something is wrong that would else be found after the first part.
    """
    if not config.rounds:
        return
    if any(end <= begin for begin, end in itertools.pairwise([0, *ends])):
        kept = _kept_ends(config)
        reason = f"; rounds were trained after {' and '.join(map(str, kept))}" if kept else ""
        raise ConfigError(
            f"iterations is {config.iterations} with rounds {config.rounds}; expected one or more for each of "
            f"{config.rounds + 1} parts{reason}."
        )
    if "," in str(config.out):
        raise ConfigError(f"out is '{config.out}'; expected no comma in it with rounds, whose models are named by it.")
    trained = {f"round-{number}" for number in range(1, config.rounds + 1)}
    if taken := [spec.name for spec in read_specs(config.operators) if spec.name in trained]:
        raise ConfigError(f"An operator is named {taken[0]}, as that of a round will be; give it another name.")
    for number in range(config.rounds + 1):
        _part(config, number, ends)
    if config.round_start == "scratch":
        return
    # Imported when it is needed: evolution without rounds should not wait for torch.
    from elm_rl.models.training_options import TRAINING_FILE
    from elm_rl.mutation.edits.operator import EditModelMutation
    from elm_rl.mutation.edits.training import start_folder

    folders = [round_folder(config.out, number) for number in range(1, config.rounds + 1)]
    if not all((folder / TRAINING_FILE).exists() for folder in folders):
        EditModelMutation(start_folder(config.round_start))


class _All:
    """Operators that are closed together."""

    def __init__(self, operators: Sequence[MutationOperator]) -> None:
        self._operators = operators

    def close(self) -> None:
        for operator in self._operators:
            operator.close()


def last_iterations(config: EvolveConfig) -> list[int]:
    """The last iteration of each part of a run: equal parts, of a run that goes on for longer after those that have ended."""
    parts = config.rounds + 1
    ends = [config.iterations * (number + 1) // parts for number in range(parts)]
    kept = _kept_ends(config)
    if ends[: len(kept)] == kept:
        return ends
    base, left = kept[-1], parts - len(kept)
    return kept + [base + (config.iterations - base) * (number + 1) // left for number in range(left)]


def _kept_ends(config: EvolveConfig) -> list[int]:
    """The last iterations of the parts that a round has learnt from: these stay as they are."""
    state = newest_checkpoint(config.out) if config.resume and config.rounds else None
    ends: dict[int, int] = {}
    for phase in state["phases"] if state is not None else ():
        rounds = [int(name[6:]) for name in phase["operators"] if re.fullmatch(r"round-\d+", name)]
        ends[max(rounds, default=0)] = phase["last_iteration"]
    return [end for part, end in sorted(ends.items()) if round_folder(config.out, part + 1).exists()]


def round_folder(out: Path, number: int) -> Path:
    """Where the model of a round is."""
    return out / ROUNDS_FOLDER / str(number)


def _part(config: EvolveConfig, number: int, ends: Sequence[int]) -> EvolveConfig:
    """The settings of one part of the run: until when, and with which operators."""
    operators = list(config.operators)
    if number > 0:
        share = f",share={config.round_share}" if config.round_share else ""
        trained = f"edits:{round_folder(config.out, number)},name=round-{number}{share}"
        operators.append(trained)
    return replace(config, operators=tuple(operators), iterations=ends[number])


def _train(config: EvolveConfig, number: int, ends: Sequence[int]) -> None:
    """Trains the model of a round on the children of the parts before it, unless that was done before."""
    # Imported when it is needed: evolution without rounds should not wait for torch.
    from elm_rl.mutation.edits.training import EditTrainingConfig, run_edit_training

    until = ends[number - 1]
    run_edit_training(
        EditTrainingConfig(
            evolution=(config.out,),
            until_iteration=until,
            out=round_folder(config.out, number),
            start=None if config.round_start == "scratch" else config.round_start,
            # A young map admits nearly anything, which is no lesson; but a short run has no other.
            after_iteration=min(EditTrainingConfig.after_iteration, until // 3),
            max_steps=config.round_steps,
            seed=config.seed,
        )
    )
