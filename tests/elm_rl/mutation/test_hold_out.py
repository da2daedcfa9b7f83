"""What is held out of the examples of mutation has no kin in training."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from elm_rl.corpus.lineages import mask_numbers
from elm_rl.mutation.edits.lessons import Answer, Lesson
from elm_rl.mutation.edits.questions import Verdict
from elm_rl.mutation.examples import MutationExample, mutation_examples
from elm_rl.mutation.hold_out import hold_out

names = st.sampled_from(string.ascii_lowercase)
examples = st.lists(st.builds(MutationExample, names, st.just(""), names, st.sampled_from("123456789")), max_size=40)


@given(examples, st.floats(0, 1), st.integers(0, 9))
def test_lineages_that_meet_stay_together_and_twins_are_dropped(
    items: list[MutationExample], share: float, seed: int
) -> None:
    train, held_out = hold_out(items, share, seed)
    assert len(held_out) <= share * len(items)
    assert {item.child for item in train}.isdisjoint(item.child for item in held_out)
    born = {item.child for item in items}
    assert {item.parent for item in held_out if item.parent in born}.isdisjoint(item.child for item in train)
    assert {item.lineage for item in train}.isdisjoint(item.lineage for item in held_out)


def record(identity: int, program: str, parent: int | None, root: int, archive: str = "a") -> dict[str, object]:
    return {"id": identity, "program": program, "parent": parent, "root": root, "message": "m", "archive": archive}


def test_a_run_that_goes_on_from_another_and_other_archives_are_of_the_same_lineages() -> None:
    first = mutation_examples([record(0, "seed", None, 0), record(1, "x", 0, 1), record(2, "xx", 1, 1, "b")], run=0)
    second = mutation_examples([record(0, "xx", None, 0), record(1, "xxx", 0, 1)], run=1)
    train, held_out = hold_out([*first, *second, MutationExample("seed", "m", "y", "0/9")], 0.3, 0)
    assert [item.child for item in held_out] == ["y"]
    assert [item.child for item in train] == ["x", "xx", "xxx"]


def test_near_twins_are_dropped_from_what_is_held_out() -> None:
    def lesson(lineage: str, *children: str) -> Lesson:
        return Lesson("seed", 1.0, {}, tuple(Answer(child, "m", Verdict.KNOWN) for child in children), lineage)

    for seed in range(9):
        lessons = [lesson("1", "f(1)", "g(1)"), lesson("2", "f(2)", "h(2)"), lesson("3", "f(3)")]
        train, held_out = hold_out(lessons, 0.4, seed)
        known = {mask_numbers(child) for item in train for child in item.children}
        assert known.isdisjoint(mask_numbers(child) for item in held_out for child in item.children)
        assert len(train) == 2
    assert hold_out(lessons, 0.0, 0) == (lessons, [])
