"""Line edits: every change can be written, read and applied, whatever the text; what is not well-formed is refused."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.seeds import load_seed
from elm_rl.models.tokenizer import train_tokenizer
from elm_rl.mutation.edits.line_edits import (
    MARKS,
    SMALLEST_VOCABULARY,
    EditCoder,
    LineEdit,
    LineEditError,
    apply_edits,
    make_edits,
    train_edit_tokenizer,
)
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import parents_of

SEEDS = [load_seed(name) for name in ("square", "radial", "cppn_fixed", "cppn_mutable")]
CODER = EditCoder(train_edit_tokenizer(SEEDS, SMALLEST_VOCABULARY + 120, context=512))

# Numbers in every position, marks and special tokens as text, letters beyond ASCII, blank lines.
PART = st.sampled_from([*"ab_.-+() =10e", "2.50", "x1", "<line 3>", "<eos>", "é", "#", "\t", "1e-05"])
LINE = st.lists(PART, max_size=12).map("".join)
PROGRAM = st.lists(LINE, min_size=1, max_size=12).map("\n".join).filter(str.strip)


def normal(program: str) -> str:
    return program.rstrip("\n") + "\n"


@given(PROGRAM, PROGRAM)
@settings(max_examples=200, deadline=None)
def test_any_change_is_written_read_and_applied(parent: str, child: str) -> None:
    edits = make_edits(parent, child)
    assert apply_edits(parent, edits) == normal(child)
    assert CODER.decode_edits(CODER.encode_edits(normal(parent), edits)) == edits
    assert (edits == []) == (normal(parent) == normal(child))


@given(PROGRAM, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_rubbish_is_refused_and_never_crashes(parent: str, rng: random.Random) -> None:
    kinds = [list(CODER.marks)[:14], list(CODER.text), list(range(CODER.vocabulary))]
    ids = [rng.choice(rng.choice(kinds)) for _ in range(rng.randrange(12))]
    try:
        child = apply_edits(parent, CODER.decode_edits(ids))
    except LineEditError:
        return
    assert child.endswith("\n")
    assert child.strip()


def test_answers_are_short_where_whole_children_are_not() -> None:
    """What makes the format worth having: an answer is short, and the whole child is not."""
    rng = np.random.default_rng(0)
    answers, programs = [], []
    for seed in SEEDS:
        for child in GPMutation().mutate(parents_of([seed] * 25), rng):
            assert child.program is not None
            ids = CODER.encode_edits(seed, make_edits(seed, child.program))
            assert apply_edits(seed, CODER.decode_edits(ids)) == normal(child.program)
            answers.append(len(ids))
            programs.append(len(CODER.encode_program(child.program) or []))
    assert np.median(answers) < 0.3 * np.median(programs)


def test_a_number_never_seen_leaves_its_line_what_it_was() -> None:
    known, new = (CODER.encode_program(f"    wc.add_muscle(corners[0], hub, False, {n}, 0.0)") for n in ("5.0", "7.31"))
    assert known is not None
    assert new is not None
    shared = next(i for i, (a, b) in enumerate(zip(known, new, strict=False)) if a != b)
    assert shared > len(known) // 3  # the line comes first and is the same, its numbers follow


def test_programs_that_cannot_be_read_are_named_by_none() -> None:
    assert CODER.encode_program("\n".join("x" * MARKS)) is None
    assert CODER.encode_program("\n".join("x" * (MARKS - 1))) is not None
    assert CODER.encode_program("a = '\x01'") is None


@pytest.mark.parametrize(
    "edits",
    [
        [LineEdit(0, 3, ("a",))],
        [LineEdit(1, 0, ("a",))],
        [LineEdit(1, 2, ("a",)), LineEdit(0, 1, ("b",))],
        [LineEdit(0, 2, ())],
    ],
)
def test_edits_that_do_not_fit_are_refused(edits: list[LineEdit]) -> None:
    with pytest.raises(LineEditError):
        apply_edits("x = 1\ny = 2\n", edits)


def test_a_tokenizer_of_another_kind_and_a_vocabulary_without_room_are_refused() -> None:
    with pytest.raises(ElmError, match="no marks of lines"):
        EditCoder(train_tokenizer(SEEDS, 300))
    with pytest.raises(ConfigError, match="vocab_size must be at least"):
        train_edit_tokenizer(SEEDS, SMALLEST_VOCABULARY - 1, context=512)
