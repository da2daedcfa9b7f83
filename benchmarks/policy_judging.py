"""How the policies of a study for unseen terrains are judged: by more copies than they learnt from, and only once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from benchmarks.edited import Editor
from elm_rl.corpus.drawn_terrains import DrawnTerrains
from elm_rl.inventor.policy_watch import draw_texts
from elm_rl.judging.comparison import sample_conditioned
from elm_rl.judging.terrain_scores import Known, TerrainScore, score_terrains, swap_test
from elm_rl.models.conditioning import TerrainPolicy
from elm_rl.models.language_model import load_policy
from elm_rl.runs.run_directory import read_json, write_json
from sodarace_gym.evaluation import Evaluator

ROBUSTNESS = 2
JUDGES = 4
"""Perturbed copies by which everything is judged: twice as many as were learnt from."""
SAMPLES = 8
LONGEST = 256
TEMPERATURES = (0.3, 0.5, 0.7, 1.0)
VALIDATION_TERRAINS = 40
VALIDATION_SEED = 7


def best_temperature(policy: TerrainPolicy, tokenizer: PreTrainedTokenizerBase, evaluator: Evaluator) -> float:
    """The temperature at which samples do best on terrains of the validation split."""
    drawn = DrawnTerrains().distribution("validation")
    texts = draw_texts(drawn, VALIDATION_TERRAINS, np.random.default_rng(VALIDATION_SEED))
    nothing = Known(frozenset(), frozenset())
    means = {}
    for temperature in TEMPERATURES:
        written = sample_conditioned(
            policy, tokenizer, texts, 4, LONGEST, seed=VALIDATION_SEED, temperature=temperature
        )
        scores = score_terrains(written, evaluator, nothing, ROBUSTNESS)
        means[temperature] = float(np.mean([score.mean for score in scores.values()]))
    return max(means, key=lambda temperature: means[temperature])


class Row(NamedTuple):
    """A generator on all test terrains.

    Attributes:
        one: Least distance of the mean sample by terrain, or of the first choice.
        best: Of the best of 8.
        scores: The figures by terrain.
        swapped: What it is worth to ask for the own terrain, by terrain: of the mean sample, or of the first choice.
    """

    one: NDArray[np.float64]
    best: NDArray[np.float64]
    scores: list[TerrainScore]
    swapped: NDArray[np.float64]


def row_of(programs: Mapping[str, Sequence[str]], evaluator: Evaluator, known: Known, *, sampled: bool) -> Row:
    """Judges a generator, by more copies than were learnt from: its mean sample, or the first of its choices."""
    every = score_terrains(programs, evaluator, known, JUDGES)
    counted = programs if sampled else {text: written[:1] for text, written in programs.items()}
    scores = every if sampled else score_terrains(counted, evaluator, known, JUDGES)
    swapped = swap_test(counted, evaluator, robustness=JUDGES)
    return Row(
        np.array([scores[text].mean for text in programs]),
        np.array([every[text].best for text in programs]),
        list(every.values()),
        np.array([swapped[text] for text in programs]),
    )


def judged(path: Path, judge: Callable[[], Row]) -> Row:
    """What was judged before, or is now, by the name of its file."""
    if not path.exists():
        row = judge()
        write_json(
            path,
            {
                "one": row.one.tolist(),
                "best": row.best.tolist(),
                "scores": [asdict(score) for score in row.scores],
                "swapped": row.swapped.tolist(),
            },
        )
    found = read_json(path)
    scores = [TerrainScore(**score) for score in found["scores"]]
    return Row(np.array(found["one"]), np.array(found["best"]), scores, np.array(found["swapped"]))


def judged_policy(
    name: str,
    folder: Path,
    texts: Sequence[str],
    evaluator: Evaluator,
    known: Known,
    seed: int,
    editor: Editor | None = None,
) -> dict[str, Row]:
    """What a policy's samples come to, at temperature 1 and at the one that fits it, and edited, if there is an editor.

    What was judged is not judged again.
    """
    policy, tokenizer = load_policy(folder)
    place = folder.parent / "judged"
    place.mkdir(exist_ok=True)

    def written(temperature: float) -> dict[str, list[str]]:
        return sample_conditioned(policy, tokenizer, texts, SAMPLES, LONGEST, seed=1000 + seed, temperature=temperature)

    chosen = place / f"{name}.temperature.json"
    if not chosen.exists():
        write_json(chosen, best_temperature(policy, tokenizer, evaluator))
    fitting = float(read_json(chosen))
    print(f"{name}, seed {seed}: temperature {fitting}", flush=True)
    ways: dict[str, Callable[[], dict[str, list[str]]]] = {
        name: lambda: written(1.0),
        f"{name}, temperature chosen": lambda: written(fitting),
    }
    if editor is not None:
        ways[f"{name}, edited"] = lambda: editor.edited(written(fitting), seed)
    found = {}
    for label, write in ways.items():

        def judge_it(write: Callable[[], dict[str, list[str]]] = write) -> Row:
            return row_of(write(), evaluator, known, sampled=True)

        found[label] = judged(place / f"{label}.json", judge_it)
    return found
