"""The Evaluator: the same floats whatever runs beside them, and an answer to every bad program."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from sodarace_gym.errors import ERROR_KINDS
from sodarace_gym.evaluation import Evaluation, EvaluationError, Evaluator
from sodarace_gym.physics import rollout
from sodarace_gym.physics.constants import CONSTANTS
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import build_design
from tests.sodarace_gym.sample_walkers import random_designs, square, wheel

DESIGNS = [*random_designs(seed=12, count=10), wheel()]
PROGRAMS = [design.to_program() for design in DESIGNS]
SQUARE = square().to_program()

BAD_PROGRAMS = {
    "this is no program": "syntax_error",
    "": "no_make_walker",
    "def make_walker():\n    return 3\n": "wrong_result",
    "def make_walker():\n    return undefined_thing\n": "unknown_name",
    "def make_walker():\n    return 1 / 0\n": "runtime_error",
    "def make_walker():\n    while True:\n        pass\n": "time_limit",
    "def make_walker():\n    return make_walker()\n": "recursion_limit",
    "def make_walker():\n    return walker_creator().get_walker()\n": "no_joints",
    "def make_walker():\n    wc = walker_creator()\n    wc.add_joint(0, 0)\n    return wc.get_walker()\n": "no_muscles",
    SQUARE.replace("10.0", "1000.0"): "coordinate_out_of_range",
    SQUARE.replace("j4 = wc.add_joint(5.0, 5.0)", "j4 = 77"): "unknown_joint",
    SQUARE.replace("10.0", "90.0"): "walker_too_large",
    "# " + "x" * 1_000_000: "source_too_long",
}


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(n_jobs=2) as evaluator:
        yield evaluator


def same(one: list[Evaluation], other: list[Evaluation]) -> bool:
    """Equal to the last bit of every number."""
    return [repr(e) for e in one] == [repr(e) for e in other] and one == other


# ----------------------------------------------------------------------------------------------------- what it says


def test_an_evaluation_tells_what_the_walker_is_and_does(evaluator):
    (evaluation,) = evaluator.evaluate([wheel().to_program()], "Flat")
    assert evaluation.valid
    assert evaluation.error is None
    assert evaluation.design == wheel()
    assert (evaluation.height, evaluation.width, evaluation.mass) == (wheel().height, wheel().width, wheel().mass)
    assert evaluation.displacement == roll_out(wheel(), make_terrain("Flat")).displacement
    assert evaluation.fitness == abs(evaluation.displacement) > 10.0
    assert evaluation.repairs == {}


def test_fitness_is_the_distance_to_either_side(evaluator):
    there, back = evaluator.evaluate([wheel().to_program(), wheel().mirrored().to_program()], "Flat")
    assert there.displacement * back.displacement < 0.0
    assert back.fitness == pytest.approx(there.fitness, abs=0.1)
    assert there.fitness > 0.0


def test_repairs_are_handed_on_and_cannot_be_changed(evaluator):
    program = SQUARE.replace("2.1213203435596424", "50.0")
    assert program != SQUARE
    repaired, clean = evaluator.evaluate([program, SQUARE], "Flat")
    assert repaired.repairs == {"clamped_amplitudes": 3}
    assert clean.repairs == {}
    assert repaired.design == clean.design
    assert repaired.fitness == clean.fitness
    with pytest.raises(TypeError):
        repaired.repairs["clamped_amplitudes"] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        repaired.fitness = 1e9


def test_duration_is_how_long_walkers_walk():
    for duration in (1.0, 4.0):
        with Evaluator(n_jobs=1, duration=duration) as evaluator:
            (evaluation,) = evaluator.evaluate([PROGRAMS[-1]], "Flat")
            assert evaluation.displacement == roll_out(wheel(), make_terrain("Flat"), duration).displacement


# ------------------------------------------------------------------------------------------------- bad programs


def test_every_bad_program_gets_its_named_error(evaluator):
    evaluations = evaluator.evaluate(list(BAD_PROGRAMS), "Flat")
    assert [e.error.kind for e in evaluations if e.error] == list(BAD_PROGRAMS.values())
    for evaluation in evaluations:
        assert not evaluation.valid
        assert evaluation.error is not None
        assert evaluation.error.kind in ERROR_KINDS
        assert evaluation.error.message
        assert (evaluation.fitness, evaluation.displacement) == (0.0, 0.0)
        assert (evaluation.height, evaluation.width, evaluation.mass) == (0.0, 0.0, 0.0)
        assert evaluation.design is None


@pytest.mark.parametrize("value", [None, 3, b"def make_walker(): pass", "\x00", "\ud800", float("nan")])
def test_whatever_is_no_text_is_a_bad_program_too(evaluator, value):
    bad, good = evaluator.evaluate([value, SQUARE], "Flat")
    assert bad.error.kind == "not_text"
    assert good.valid


def test_bad_programs_do_not_disturb_their_neighbours(evaluator):
    mixed = [program for pair in zip(PROGRAMS, BAD_PROGRAMS, strict=False) for program in pair]
    evaluations = evaluator.evaluate(mixed, "Flat")
    assert same(evaluations[::2], evaluator.evaluate(PROGRAMS[: len(evaluations[::2])], "Flat"))
    assert not any(e.valid for e in evaluations[1::2])


SMALL = build_design([(0.0, 0.0), (0.5, 0.0)], [(0, 1, False, 0.1, 0.0)])[0].to_program()
FAULTS = {
    "escaped": Terrain("narrow", np.array([[-0.1, 50.0], [-0.1, 0.0], [0.1, 0.0], [0.1, 50.0]])),
    "unstable": make_terrain("Flat"),
    "unsettled": Terrain("too steep to rest on", np.array([[-500.0, 525.0], [500.0, -525.0]])),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_walker_that_fails_keeps_its_measures_and_earns_nothing(monkeypatch, kind):
    if kind == "unstable":  # nothing within the limits is: lower the bound instead
        monkeypatch.setattr(rollout, "CONSTANTS", CONSTANTS._replace(max_speed=1e-6))
    with Evaluator() as evaluator:
        (evaluation,) = evaluator.evaluate([SMALL], FAULTS[kind])
    assert evaluation.error is not None
    assert evaluation.error.kind == kind
    assert kind in ERROR_KINDS
    assert evaluation.error.message.endswith(".")
    assert (evaluation.fitness, evaluation.displacement) == (0.0, 0.0)
    assert evaluation.design is not None
    assert (evaluation.width, evaluation.mass) == (0.5, 2.25)


# ---------------------------------------------------------------------------------------------- always the same floats


@pytest.mark.parametrize("name", ["Flat", "Bumpy"])
def test_results_do_not_depend_on_the_number_of_threads(evaluator, name):
    with Evaluator(n_jobs=1) as alone, Evaluator(n_jobs=4) as crowd:
        expected = alone.evaluate(PROGRAMS, name)
        assert same(crowd.evaluate(PROGRAMS, name), expected)
        assert same(evaluator.evaluate(PROGRAMS, name), expected)
    assert sum(e.valid for e in expected) == len(PROGRAMS)


def test_results_do_not_depend_on_order_or_batch(evaluator):
    expected = evaluator.evaluate(PROGRAMS, "Tunnel")
    with Evaluator(n_jobs=2) as fresh:
        assert same(fresh.evaluate(PROGRAMS[::-1], "Tunnel")[::-1], expected)
    with Evaluator(n_jobs=2) as fresh:
        assert same([fresh.evaluate([program], "Tunnel")[0] for program in PROGRAMS], expected)


def test_results_do_not_depend_on_what_is_remembered(evaluator):
    expected = evaluator.evaluate(PROGRAMS, "Flat")
    for cache_size in (0, 1, 5):
        with Evaluator(n_jobs=2, cache_size=cache_size) as forgetful:
            for _ in range(2):
                assert same(forgetful.evaluate(PROGRAMS, "Flat"), expected)
            assert len(forgetful._rollouts) == cache_size
    assert same(evaluator.evaluate(PROGRAMS, "Flat"), expected)


def test_an_evaluator_works_without_its_context_and_after_it():
    evaluator = Evaluator(n_jobs=2)
    expected = evaluator.evaluate(PROGRAMS[:4], "Flat")
    with evaluator:
        assert same(evaluator.evaluate(PROGRAMS[:4], "Flat"), expected)
    assert same(evaluator.evaluate(PROGRAMS[:4], "Flat"), expected)
    evaluator.close()
    evaluator.close()


def test_results_do_not_depend_on_the_process(evaluator):
    code = (
        "import sys\n"
        "from sodarace_gym.evaluation.evaluator import Evaluator\n"
        "programs = sys.stdin.read().split('\\0')\n"
        "if __name__ == '__main__':\n"
        "    for name in ('Flat', 'Bumpy'):\n"
        "        for e in Evaluator(n_jobs=1).evaluate(programs, name):\n"
        "            print(e.displacement.hex(), e.mass.hex(), e.error)\n"
    )
    root = Path(__file__).resolve().parents[3]
    run = subprocess.run(
        [sys.executable, "-c", code], input="\0".join(PROGRAMS), capture_output=True, text=True, check=True, cwd=root
    )
    expected = [
        f"{e.displacement.hex()} {e.mass.hex()} {e.error}"
        for name in ("Flat", "Bumpy")
        for e in evaluator.evaluate(PROGRAMS, name)
    ]
    assert run.stdout.split("\n")[:-1] == expected


def test_threads_may_share_an_evaluator():
    expected = {name: Evaluator(n_jobs=1).evaluate(PROGRAMS, name) for name in TERRAIN_NAMES}
    results: dict[str, list[Evaluation]] = {}
    with Evaluator(n_jobs=2) as shared:
        threads = [
            threading.Thread(target=lambda name=name: results.update({name: shared.evaluate(PROGRAMS, name)}))
            for name in TERRAIN_NAMES
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results.keys() == expected.keys()
    assert all(same(results[name], expected[name]) for name in expected)


# ------------------------------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_evaluations_and_evaluators_can_be_copied(evaluator, copier):
    expected = evaluator.evaluate([SQUARE.replace("2.1213203435596424", "50.0"), *PROGRAMS[:3], "no program"], "Flat")
    copies = copier(expected)
    assert same(copies, expected)
    assert copies[0].repairs == {"clamped_amplitudes": 3}
    with pytest.raises(TypeError):
        copies[0].repairs["clamped_amplitudes"] = 0
    with Evaluator(n_jobs=2, duration=2.0, cache_size=7, robustness=1) as original:
        original.evaluate(PROGRAMS, "Flat")
        with copier(original) as twin:  # while the original's threads are at hand
            assert (twin.n_jobs, twin.duration, twin.cache_size, twin.backend) == (2, 2.0, 7, "threading")
            assert same(twin.evaluate(PROGRAMS, "Flat"), original.evaluate(PROGRAMS, "Flat"))


# --------------------------------------------------------------------------------------------------------- terrains


def test_each_program_may_have_a_terrain_of_its_own(evaluator):
    terrains = [make_terrain("Bumpy", 4), "Flat", make_terrain("RightWall"), "LeftWall", "Tunnel"]
    programs = [PROGRAMS[-1]] * 5
    together = evaluator.evaluate(programs, terrains)
    assert same(together, [evaluator.evaluate([p], t)[0] for p, t in zip(programs, terrains, strict=True)])
    assert len({e.displacement for e in together}) >= 3
    assert same(
        evaluator.evaluate(PROGRAMS, "Flat"), evaluator.evaluate(PROGRAMS, [make_terrain("Flat")] * len(PROGRAMS))
    )
    assert same(evaluator.evaluate(PROGRAMS[:2], ("Flat", "Flat")), evaluator.evaluate(PROGRAMS[:2], "Flat"))


def test_a_name_stands_for_seed_zero(evaluator):
    assert same(evaluator.evaluate(PROGRAMS[-1:], "Bumpy"), evaluator.evaluate(PROGRAMS[-1:], make_terrain("Bumpy", 0)))


def test_no_programs_no_evaluations(evaluator):
    assert evaluator.evaluate([], "Flat") == []
    assert evaluator.evaluate([], []) == []


# -------------------------------------------------------------------------------------------------- what is refused


def test_wrong_terrains_are_refused(evaluator):
    with pytest.raises(ValueError, match=r"Moon.*Flat"):
        evaluator.evaluate([SQUARE], "Moon")
    with pytest.raises(ValueError, match="Moon"):
        evaluator.evaluate([SQUARE, SQUARE], ["Flat", "Moon"])
    with pytest.raises(ValueError, match="3 programs, got 2"):
        evaluator.evaluate([SQUARE] * 3, ["Flat", "Flat"])


def test_one_text_is_not_a_list_of_programs(evaluator):
    # Else each of its characters would be evaluated as a program.
    with pytest.raises((TypeError, ValueError), match="programs"):
        evaluator.evaluate(SQUARE, "Flat")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"n_jobs": 0}, "n_jobs"),
        ({"n_jobs": -2}, "n_jobs"),
        ({"duration": 0.0}, "duration"),
        ({"duration": -5.0}, "duration"),
        ({"duration": math.nan}, "duration"),
        ({"duration": math.inf}, "duration"),
        ({"cache_size": -1}, "cache_size"),
        ({"robustness": -1}, "robustness"),
        ({"backend": "abacus"}, "backend"),
    ],
)
def test_unusable_settings_are_refused_by_name(settings, name):
    with pytest.raises(ValueError, match=f"{name}: expected .* got"):
        Evaluator(**settings)


def test_an_evaluation_without_anything_is_a_failed_one():
    empty = Evaluation(error=EvaluationError("no_joints", "none."))
    assert not empty.valid
    assert empty.fitness == 0.0
    assert empty == Evaluation(error=EvaluationError("no_joints", "none."))
