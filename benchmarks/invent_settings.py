"""With which settings does ``elm-rl invent`` find the best walkers? Samples or children, how freely sampled, checked or not.

Usage: ``python -m benchmarks.invent_settings [--terrains 40] [--evaluations 32 232] [--model FOLDER] [--n-jobs -1] [--write]``.
Some 20 minutes on one core. The terrains are of the validation split, half of them of families that the policy never saw:
settings are chosen here, and reported on the test split (``benchmarks.suite``).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.tables import format_interval, markdown_table, publish
from elm_rl.corpus.drawn_terrains import HELD_OUT_FAMILIES, DrawnTerrains
from elm_rl.errors import ElmError
from elm_rl.inventor.builtin import BUILTIN_POLICY
from elm_rl.inventor.invent import InventConfig, invent_walkers
from elm_rl.inventor.policy_watch import draw_texts
from elm_rl.models.language_model import load_policy
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.distribution import TerrainDistribution
from sodarace_gym.terrains.texts import terrain_from_text

JUDGING_COPIES = 4
"""Perturbed copies that judge a walker: others than those that the search and the check at its end see."""
SEED = 31


class Setting(NamedTuple):
    """What is compared: which part of the evaluations are samples of the policy, and how these are drawn."""

    samples: float
    temperature: float
    min_p: float


SETTINGS = tuple(
    Setting(samples, temperature, min_p)
    for samples in (0.15, 0.5, 1.0)
    for temperature, min_p in ((0.7, 0.05), (1.0, 0.05), (1.0, 0.0))
)


def terrains_of(count: int) -> list[str]:
    """Terrains of the validation split: half of the families that policies learn from, half of those they never see."""
    most = DrawnTerrains().most_difficult
    parts = (DrawnTerrains().families, count - count // 2), (HELD_OUT_FAMILIES, count // 2)
    return [
        text
        for number, (families, part) in enumerate(parts)
        for text in draw_texts(
            TerrainDistribution(families, (0.0, most), "validation"), part, np.random.default_rng([SEED, number])
        )
    ]


class Found(NamedTuple):
    """Least distances of the best walker on each terrain, walker units; 0 where nothing was found.

    Attributes:
        seen: With the copies that chose it.
        unchecked: With others.
        checked: Of the walker that further copies choose, with others still.
    """

    seen: NDArray[np.float64]
    unchecked: NDArray[np.float64]
    checked: NDArray[np.float64]


def judge(
    setting: Setting,
    terrains: Sequence[str],
    evaluations: int,
    model: Path | None,
    search: Evaluator,
    judging: Evaluator,
) -> Found:
    """Invents for each terrain, and judges what comes first, without and with the check of the best few."""
    samples = max(1, round(setting.samples * evaluations))
    rows = []
    for number, text in enumerate(terrains):
        config = InventConfig(
            terrain=text, model=model, samples=samples, improve=evaluations - samples, temperature=setting.temperature,
            min_p=setting.min_p, seed=number,
        )  # fmt: skip
        try:
            finalists = invent_walkers(config, search)
        except ElmError:  # nothing that the policy wrote is a walker
            rows.append([0.0, 0.0, 0.0])
            continue
        scored = judging.evaluate([each.program for each in finalists], terrain_from_text(text))
        distances = np.array([[each.fitness, *(each.copy_distances or ())] for each in scored])
        others = distances[:, -JUDGING_COPIES:].min(axis=1)
        rows.append([finalists[0].least, others[0], others[distances[:, :-JUDGING_COPIES].min(axis=1).argmax()]])
    return Found(*np.array(rows).T)


def main() -> None:
    """Measures, prints and, if asked, writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--terrains", type=int, default=40, help="terrains of the validation split")
    parser.add_argument("--evaluations", type=int, nargs="+", default=[32, 232], help="samples and children together")
    parser.add_argument("--model", type=Path, help="folder of a policy; the one that comes with the package without")
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads that evaluate")
    parser.add_argument("--write", action="store_true", help="write the result to benchmarks/results")
    given = parser.parse_args()
    load_policy(given.model or BUILTIN_POLICY)  # says what is wrong with it; later an error counts as no walker
    terrains = terrains_of(given.terrains)
    copies = InventConfig.robustness + InventConfig.check_copies
    rows: list[list[object]] = []
    with (
        Evaluator(n_jobs=given.n_jobs, robustness=InventConfig.robustness) as search,
        Evaluator(n_jobs=given.n_jobs, robustness=copies + JUDGING_COPIES) as judging,
    ):
        for evaluations in given.evaluations:
            found = {
                setting: judge(setting, terrains, evaluations, given.model, search, judging)
                for setting in tqdm(SETTINGS, desc=f"{evaluations} evaluations", unit="setting")
            }
            base = found[SETTINGS[0]].checked
            for setting, each in found.items():
                cells = (each.seen, each.unchecked, each.checked, each.checked - each.unchecked, each.checked - base)
                rows.append(
                    [
                        evaluations,
                        f"{setting.samples:.0%}",
                        setting.temperature,
                        setting.min_p,
                        *map(format_interval, cells),
                    ]
                )
    header = [
        "evaluations", "samples of them", "temperature", "min-p", "seen by the search", "unchecked", "checked",
        "gain of the check", "checked, less the first row",
    ]  # fmt: skip
    body = (
        f"The best walker on {given.terrains} terrains of the validation split, half of them of families that the policy never "
        "saw; least distances, walker units, means with intervals over the terrains. What is no sample is a child by genetic "
        f"programming. Seen: of the walker and the {InventConfig.robustness} perturbed copies that chose it. Unchecked: of "
        f"{JUDGING_COPIES} other copies of the same walker. Checked: the best few are rolled out with "
        f"{InventConfig.check_copies} further copies, and the best of them by these too is judged by the same "
        f"{JUDGING_COPIES}, which had no part in the choice.\n\n" + markdown_table(header, rows)
    )
    publish("invent_settings", "Which settings find the best walkers for a terrain?", body, given.write)


if __name__ == "__main__":
    main()
