"""An operator's memory: the best changes and the commonest mistakes, in few words, the same after every resumption."""

from __future__ import annotations

import json

import numpy as np
import pytest

from elm_rl.errors import ConfigError
from elm_rl.evolution.seeds import load_seed
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.memory import MAX_CHANGES, MAX_ERRORS, Memory
from elm_rl.mutation.operator import Child, Outcome, Parent

SQUARE = load_seed("square")


def better(old: str, new: str, gain: float = 1.0) -> Outcome:
    parent = Parent(SQUARE, 1, 4.0, {"height": 10.0})
    child = Child(SQUARE.replace(old, new), "chat", "m")
    return Outcome(parent, child, fitness=4.0 + gain, measures={"height": 11.5}, admitted=True, gain=gain)


def failed(kind: str, explanation: str) -> Outcome:
    return Outcome(Parent(SQUARE), Child("x = 1\n", "chat", "m"), error=kind, explanation=explanation)


def gp_outcomes(rng: np.random.Generator, count: int) -> list[Outcome]:
    """Children of the real operator, with fates drawn for them."""
    parent = Parent(SQUARE, 3, 2.0, {"height": 10.0})
    children = GPMutation().mutate([parent] * count, rng)
    return [
        Outcome(parent, child, "runtime_error", f"runtime_error: line {k} does not work.")
        if rng.random() < 0.4 or child.program is None
        else Outcome(
            parent, child, None, "", 2.0 + k, {"height": 9.0 + k}, rng.random() < 0.7, float(rng.exponential())
        )
        for k, child in enumerate(children)
    ]


def test_the_best_changes_and_the_commonest_mistakes_are_told() -> None:
    memory = Memory(every=1)
    assert memory.text == ""
    memory.note(
        [
            better("5.0, 0.0", "6.5, 0.0", gain=2.0),
            better("3.0, 4.0", "3.0, 1.5", gain=5.0),
            failed("unknown_joint", "unknown_joint: muscle 3 names joint 9."),
            failed("cut", ""),
            failed("unknown_joint", "unknown_joint: muscle 1 names\njoint 5."),
            Outcome(Parent(SQUARE), Child(SQUARE, "chat", "m"), fitness=1.0),
        ]
    )
    assert memory.text == (
        "Changes that worked in this run, the best first:\n"
        "- distance 4 before and 9 after, height 11.5:\n"
        "-    wc.add_muscle(corners[3], hub, False, 3.0, 4.0)\n"
        "+    wc.add_muscle(corners[3], hub, False, 3.0, 1.5)\n"
        "- distance 4 before and 6 after, height 11.5:\n"
        "-    wc.add_muscle(corners[1], hub, False, 5.0, 0.0)\n"
        "+    wc.add_muscle(corners[1], hub, False, 6.5, 0.0)\n"
        "50% of the latest changes failed and 17% left the program as it was. Mistakes to avoid, the commonest first:\n"
        "- unknown_joint: muscle 1 names joint 5.\n"
        "- cut"
    )


def test_it_is_distilled_every_few_iterations_and_old_successes_fade() -> None:
    memory = Memory(every=3)
    memory.note([better("5.0, 0.0", "6.5, 0.0", gain=8.0)])
    memory.note([])
    assert memory.text == ""
    memory.note([])
    first = memory.text
    assert "6.5, 0.0" in first
    for _ in range(9):
        memory.note([better("3.0, 4.0", "3.0, 1.5", gain=2.5)])
    assert memory.text.index("3.0, 1.5") < memory.text.index("6.5, 0.0")


def test_one_lesson_is_told_once_and_what_is_too_long_by_its_figures() -> None:
    memory = Memory(every=1)
    memory.note([better("5.0, 0.0", "6.5, 0.0", gain=float(gain)) for gain in range(1, 30)])
    assert memory.text.count("6.5, 0.0") == 1
    assert "33 after" in memory.text
    memory = Memory(every=1)
    memory.note([better("wc", "w")])
    assert memory.text.endswith("(many lines changed)")


@pytest.mark.parametrize("characters", [1, 40, 200, 500, 1500, 20_000])
def test_the_text_keeps_to_its_room(characters: int) -> None:
    rng = np.random.default_rng(0)
    memory = Memory(every=1, characters=characters)
    for _ in range(3):
        memory.note([*gp_outcomes(rng, 60), *(failed(f"kind_{k}", "x" * 900) for k in range(90))])
        assert len(memory.text) <= characters
    assert bool(memory.text) == (characters >= 200)
    state = memory.state()
    assert (len(state["changes"]), len(state["mistakes"])) == (MAX_CHANGES, MAX_ERRORS)
    assert all(len(change["diff"]) <= 1100 for change in state["changes"])


@pytest.mark.parametrize("seed", range(5))
def test_resumed_anywhere_it_ends_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    iterations = [gp_outcomes(rng, int(rng.integers(0, 20))) for _ in range(12)]
    whole = Memory(every=2)
    texts = [whole.note(outcomes) or whole.text for outcomes in iterations]
    stop = int(rng.integers(12))
    first = Memory(every=2)
    for outcomes in iterations[:stop]:
        first.note(outcomes)
    second = Memory(every=2)
    second.note(iterations[-1])
    second.restore(json.loads(json.dumps(first.state())))
    assert [second.note(outcomes) or second.text for outcomes in iterations[stop:]] == texts[stop:]
    assert second.state() == whole.state()
    second.restore({})
    assert second.state() == Memory().state()


def test_a_memory_without_room_or_rhythm_is_refused() -> None:
    with pytest.raises(ConfigError, match="positive every"):
        Memory(every=0)
    with pytest.raises(ConfigError, match="positive every"):
        Memory(characters=0)
