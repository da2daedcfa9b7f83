"""Edits of samples: a body is what is left without numbers, and an edit has a new one and is likely to walk on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import edited
from benchmarks.edited import Editor, body, change
from elm_rl.corpus.cross_table import load_cross_table
from elm_rl.evolution.seeds import load_seed
from elm_rl.inventor.siblings import Sibling
from elm_rl.judging.terrain_scores import Known
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.programs.program import compile_program
from sodarace_gym.walkers.walker import WalkerDesign
from tests.elm_rl.inventor.crawlers import PROGRAMS, make_crawlers
from tests.sodarace_gym.sample_walkers import random_designs

DESIGNS = list(random_designs(seed=5, count=40))


@given(number=st.integers(0, len(DESIGNS) - 1), seed=st.integers(0, 2**32 - 1))
def test_a_body_knows_no_numbers_and_no_order(number: int, seed: int) -> None:
    design = DESIGNS[number]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(design.joints))
    place = np.argsort(order)
    joints = tuple((float(x), float(y)) for x, y in rng.uniform(0, 20, size=(len(order), 2)))
    muscles = [
        muscle._replace(a=int(place[muscle.a]), b=int(place[muscle.b]), amplitude=0.5 * muscle.amplitude)
        for muscle in design.muscles
    ]
    rng.shuffle(muscles)  # type: ignore[arg-type]
    assert body(replace(design, joints=joints, muscles=tuple(muscles))) == body(design)
    assert body(replace(design, muscles=design.muscles[1:])) != body(design)
    other = design.muscles[0]._replace(distance_only=not design.muscles[0].distance_only)
    assert body(replace(design, muscles=(other, *design.muscles[1:]))) != body(design)


def test_a_change_is_measured_in_what_came_and_went() -> None:
    design = compile_program(PROGRAMS[0])[0]
    assert not any(change(design, design)[2:])
    without = replace(design, muscles=design.muscles[1:])
    gone = change(design, without)
    assert gone[3] == 1
    assert gone[7] == pytest.approx(4.0), "the length of the muscle between (0, 0) and (4, 0)"
    assert gone[11] == pytest.approx(without.mass - design.mass)
    back = change(without, design)
    assert back[4] == 1
    assert back[8] == pytest.approx(4.0)


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Editor:
    folder = tmp_path_factory.mktemp("crawlers")
    make_crawlers(folder)
    table = load_cross_table(folder / "table")
    siblings = {n: [Sibling(n, walker.program, walker.design, 1.0)] for n, walker in enumerate(table.walkers)}
    known = Known.of(PROGRAMS, [walker.design for walker in table.walkers])
    return Editor(table, siblings, PROGRAMS, known, Evaluator(n_jobs=1, duration=3.0))


def test_samples_that_are_known_get_a_new_body_and_others_stay(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edited, "LESSONS", 12)
    monkeypatch.setattr(edited, "TRIES", 32)
    monkeypatch.setattr(edited, "SLOWEST", 0.5)
    new = load_seed("radial")
    written = {"LeftWall": [PROGRAMS[0], new, PROGRAMS[5]], "Flat": ["no program"]}
    found = editor.edited(written, seed=1)
    assert found["LeftWall"][1] == new
    assert found["Flat"] == ["no program"]
    bodies = {body(compile_program(program)[0]) for program in PROGRAMS}
    assert editor.bodies == bodies
    for program in (found["LeftWall"][0], found["LeftWall"][2]):
        design = compile_program(program)[0]
        assert isinstance(design, WalkerDesign)
        assert body(design) not in bodies
    assert editor.edited(written, seed=1) == found
    before = compile_program(PROGRAMS[0])[0]
    expected = editor.regression.predict([change(before, before)])
    assert 0 <= expected[0] <= 1
