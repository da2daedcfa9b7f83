from __future__ import annotations

import pytest

from elm_rl.evolution.seeds import load_seed
from elm_rl.judging.comparison import compare
from elm_rl.judging.terrain_scores import Known
from sodarace_gym.evaluation import Evaluator

TERRAINS = ("LeftWall", "RightWall")
BAD = "this is no program"
NOTHING = Known(frozenset(), frozenset())

# A wheel with its hub far up and to the side rolls away from the hub; mirrored, it rolls the other way.
ROLLER = """
def make_walker():
    wc = walker_creator()
    hub = wc.add_joint({side} * 8.0, 9.0)
    rim = [wc.add_joint({side} * 1.5 * math.cos(math.tau * i / 8), 1.5 * math.sin(math.tau * i / 8)) for i in range(8)]
    for i in range(8):
        wc.add_muscle(rim[i], rim[(i + 1) % 8])
        wc.add_muscle(rim[i], rim[(i + 2) % 8])
        wc.add_muscle(rim[i], hub, False, 3.0, math.tau * i / 8)
    return wc.get_walker()
"""
LEFTWARDS, RIGHTWARDS = ROLLER.format(side="1"), ROLLER.format(side="-1")


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator() as evaluator:
        yield evaluator


def test_a_policy_with_the_right_walker_for_each_terrain_is_conditional(evaluator):
    found = compare(
        {"stage3": {"LeftWall": [RIGHTWARDS, RIGHTWARDS], "RightWall": [LEFTWARDS, LEFTWARDS]}},
        TERRAINS,
        evaluator,
        NOTHING,
    )
    (ll, lr), (rl, rr) = found["matrices"]["stage3"]
    assert ll > rl + 10
    assert rr > lr + 10
    assert found["conditional"]["stage3"] is True
    assert found["conditional_support_percent"]["stage3"] == 100.0
    assert found["best_programs"]["LeftWall"]["program"] == RIGHTWARDS


def test_a_policy_with_the_walkers_the_wrong_way_round_is_not(evaluator):
    found = compare({"stage3": {"LeftWall": [LEFTWARDS], "RightWall": [RIGHTWARDS]}}, TERRAINS, evaluator, NOTHING)
    assert found["conditional"]["stage3"] is False
    assert found["conditional_support_percent"]["stage3"] == 0.0


def test_invalid_programs_count_zero_in_the_mean(evaluator):
    seed = load_seed("square")
    both = compare({"corpus": {name: [seed, BAD] for name in TERRAINS}}, TERRAINS, evaluator, NOTHING)
    alone = compare({"corpus": {name: [seed] for name in TERRAINS}}, TERRAINS, evaluator, NOTHING)
    figures = both["generators"]["corpus"]["LeftWall"]
    assert figures["mean"] == pytest.approx(alone["generators"]["corpus"]["LeftWall"]["mean"] / 2)
    assert figures["valid_percent"] == 50.0
    assert figures["samples"] == 2
    assert figures["distinct"] == 1, "what is no walker is no other walker"
    assert figures["plain"] >= figures["mean"]
    assert figures["copies_percent"] == 0.0


def test_blind_generators_have_figures_for_each_terrain_and_no_matrix(evaluator):
    found = compare({"stage2": {name: [LEFTWARDS] for name in TERRAINS}}, TERRAINS, evaluator, NOTHING)
    assert found["matrices"] == {}
    assert found["generators"]["stage2"]["RightWall"]["best"] > found["generators"]["stage2"]["LeftWall"]["best"] + 10
