"""Scores of programs on their own terrains: real walkers, copies told apart, and what asking for a terrain is worth."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from elm_rl.judging.terrain_scores import Known, Rest, mean_scores, paired_difference, score_terrains, swap_test
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.physics.robustness import design_digest


def walker(top: float, mirrored: bool = False, name: str = "wc") -> str:
    """A crawler; it goes one way, or mirrored the other."""
    side = "-" if mirrored else ""
    return (
        "def make_walker():\n"
        f"    {name} = walker_creator()\n"
        f"    a = {name}.add_joint({side}0.0, 0.0)\n"
        f"    b = {name}.add_joint({side}4.0, 0.0)\n"
        f"    c = {name}.add_joint({side}1.0, {top})\n"
        f"    {name}.add_muscle(a, b)\n"
        f"    {name}.add_muscle(b, c, False, 0.6, 0.0)\n"
        f"    {name}.add_muscle(c, a, False, 0.6, 2.0)\n"
        f"    return {name}.get_walker()\n"
    )


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    with Evaluator(n_jobs=1, duration=3.0) as made:
        yield made


def known_of(evaluator: Evaluator, programs: list[str]) -> Known:
    designs = [each.design for each in evaluator.evaluate(programs, "Flat")]
    return Known.of(programs, [design_digest(design) for design in designs if design is not None])


def test_copies_and_near_copies_are_told_from_what_is_new(evaluator: Evaluator) -> None:
    known = known_of(evaluator, [walker(3.0)])
    written = [walker(3.0), walker(3.0, name="creator"), walker(2.5), walker(3.0, mirrored=True), "no program"]
    (score,) = score_terrains({"Flat": written}, evaluator, known).values()
    found = evaluator.evaluate(written, "Flat", robustness=2)
    least = [each.robust_fitness or 0.0 for each in found]
    assert score.samples == 5
    assert score.copies == pytest.approx(2 / 5)  # another name for a variable is no other walker
    assert score.near_copies == pytest.approx(1 / 5)
    assert score.novel == pytest.approx(least[3] / 2)
    assert score.novel_valid == 0.5
    assert score.valid == pytest.approx(4 / 5)
    assert score.designs == 3
    assert score.mean == pytest.approx(np.mean(least))
    assert score.plain == pytest.approx(np.mean([each.fitness for each in found]))
    assert score.best == max(least) <= max(each.fitness for each in found)


def test_means_leave_out_what_is_not_there(evaluator: Evaluator) -> None:
    known = known_of(evaluator, [walker(3.0)])
    scores = score_terrains({"Flat": [walker(3.0)], "Tunnel": ["no program"]}, evaluator, known)
    means = mean_scores(scores)
    assert means["copies"] == 0.5
    assert means["novel"] == 0.0
    assert math.isnan(scores["Flat"].novel)
    assert math.isnan(mean_scores({"Flat": scores["Flat"]})["novel"])


def test_the_rest_of_the_programs_is_taken_together(evaluator: Evaluator) -> None:
    known = known_of(evaluator, [walker(3.0)])
    texts = {"Flat": [walker(3.0), "no program", "none either"], "Tunnel": [walker(3.0, mirrored=True)]}
    scores = score_terrains(texts, evaluator, known)
    rest = Rest.of(scores.values())
    walked = evaluator.evaluate(texts["Tunnel"], "Tunnel", robustness=2)[0].robust_fitness
    assert walked is not None
    assert walked > 0
    assert rest == (3, pytest.approx(walked / 3), pytest.approx(1 / 3))
    assert mean_scores(scores)["novel"] == rest.mean
    nothing = Rest.of(score_terrains({"Flat": [walker(3.0)]}, evaluator, known).values())
    assert nothing.samples == 0
    assert math.isnan(nothing.mean)


def test_asking_for_the_own_terrain_is_worth_something_if_walkers_differ(evaluator: Evaluator) -> None:
    ways = {name: [walker(3.0, mirrored=mirrored)] * 2 for name, mirrored in (("Flat", False), ("Tunnel", True))}
    worth = swap_test(ways, evaluator, robustness=1)
    on = {
        name: {m: evaluator.evaluate([walker(3.0, mirrored=m)], name, robustness=1)[0] for m in (False, True)}
        for name in ways
    }
    for name, mirrored in (("Flat", False), ("Tunnel", True)):
        own, other = (on[name][m].robust_fitness or 0.0 for m in (mirrored, not mirrored))
        assert worth[name] == pytest.approx(own - other)
    same = {name: [walker(3.0)] for name in ("Flat", "Tunnel", "Bumpy")}
    assert list(swap_test(same, evaluator).values()) == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="two terrains or more"):
        swap_test({"Flat": [walker(3.0)]}, evaluator)


def test_differences_are_paired_by_terrain() -> None:
    rng = np.random.default_rng(0)
    terrains = rng.gamma(1.0, 50.0, size=100)  # they differ far more than the generators do
    mean, low, high = paired_difference(terrains + 3.0 + rng.normal(0, 1, 100), terrains)
    assert mean == pytest.approx(3.0, abs=0.4)
    assert 2.5 < low < mean < high < 3.5
    assert paired_difference([1.0, 2.0], [1.0, 2.0]) == (0.0, 0.0, 0.0)
