"""The model that comes with the package mutates walkers, as its card says."""

from __future__ import annotations

import numpy as np
import pytest

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.mutation.edits.builtin import BUILTIN_MODEL
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import Parent
from elm_rl.mutation.specs import make_operators
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.terrains.making import make_terrain


def score(programs: list[str]) -> list[Evaluation]:
    with Evaluator(n_jobs=1, duration=0.5) as evaluator:
        return evaluator.evaluate(programs, make_terrain("Flat"))


@pytest.fixture(scope="module")
def parents() -> list[Parent]:
    """Walkers some steps away from the seeds."""
    rng = np.random.default_rng(5)
    programs = [load_seed(name) for name in SEED_NAMES] * 25
    for _ in range(6):
        children = [child.program or "" for child in GPMutation().mutate([Parent(text) for text in programs], rng)]
        programs = [
            child if found.error is None else program
            for program, child, found in zip(programs, children, score(children), strict=True)
        ]
    return [
        Parent(program, fitness=20.0, measures={"height": found.height, "width": found.width})
        for program, found in zip(programs, score(programs), strict=True)
    ]


def test_most_of_its_children_are_new_walkers(parents: list[Parent]) -> None:
    (operator,) = make_operators(["builtin"], background=False)
    children = [child.program or "" for child in operator.mutate(parents, np.random.default_rng(0))]
    found = score(children)
    designs = [walker.design for walker in score([parent.program for parent in parents])]
    valid = [each.error is None for each in found]
    changed = [each.error is None and each.design != design for each, design in zip(found, designs, strict=True)]
    assert np.mean(valid) >= 0.8
    assert np.mean(changed) >= 0.6


def test_it_is_small_and_says_what_it_was_trained_on() -> None:
    files = {path.name: path.stat().st_size for path in BUILTIN_MODEL.iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "mutation.json", "tokenizer.json"} <= files.keys()
    assert sum(files.values()) <= 16e6
    card = (BUILTIN_MODEL / "README.md").read_text()
    assert "elm-rl edit-model --evolution" in card


def test_by_its_path_it_gives_the_same_children(parents: list[Parent]) -> None:
    builtin, edits = make_operators(["builtin", f"edits:{BUILTIN_MODEL}"], background=False)
    few = parents[:4]
    first, second = (each.mutate(few, np.random.default_rng(3)) for each in (builtin, edits))
    assert [child.program for child in first] == [child.program for child in second]
