"""The model of line edits: taught and asked in one layout, repeatable, within its grammar whatever it says, and an operator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.seeds import load_seed
from elm_rl.models.language_model import load_language_model, make_model, save_language_model
from elm_rl.models.tokenizer import train_tokenizer
from elm_rl.mutation.edits.grammar import EditAnswer, EditGrammar
from elm_rl.mutation.edits.lessons import Answer, Lesson, LessonConfig, find_lessons
from elm_rl.mutation.edits.line_edits import MARKS, SMALLEST_VOCABULARY, EditCoder, LineEdit, train_edit_tokenizer
from elm_rl.mutation.edits.operator import EditModelMutation, EditModelOptions
from elm_rl.mutation.edits.questions import (
    Verdict,
    first_message,
    read_answer,
)
from elm_rl.mutation.edits.reading import Reader
from elm_rl.mutation.edits.training import EditModelConfig, train_edit_model
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import COMMIT_MESSAGES, SMALL_MESSAGE, TOO_LONG, Parent, parents_of
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.making import make_terrain

SMALL: dict[str, Any] = {"size": "0.1M", "vocab_size": SMALLEST_VOCABULARY + 300, "context": 512, "held_out": 0.3}
MEASURES = {"height": 10.0, "width": 10.0}


@pytest.fixture(scope="module")
def lessons() -> list[Lesson]:
    """What genetic programming makes of two seeds, with outcomes by turns."""
    rng, found = np.random.default_rng(0), []
    for name in ("square", "cppn_fixed"):
        parent = load_seed(name)
        for lineage in range(6):
            children = GPMutation().mutate(parents_of([parent] * 5), rng)
            answers = [Answer(str(c.program), c.message, Verdict(i)) for i, c in enumerate(children)]
            found.append(Lesson(parent, 3.0, MEASURES, tuple(answers), f"0/{name}/{lineage}"))
    return found


@pytest.fixture(scope="module")
def trained(lessons: list[Lesson], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model after some steps: what it writes is chance, within the grammar, and often ends."""
    folder = tmp_path_factory.mktemp("edits")
    config = EditModelConfig(**SMALL, max_steps=30, batch_size=1, learning_rate=5e-3, learn_programs=False)
    result = train_edit_model(lessons, folder, config)
    assert result.held_out_loss is not None
    return folder


def seed_parents(*names: str) -> list[Parent]:
    return [Parent(load_seed(name), fitness=3.0, measures=MEASURES) for name in names]


def test_an_answer_learnt_by_heart_comes_back(tmp_path: Path) -> None:
    """Only if training and use agree on the layout, the packing and the grammar can it."""
    parent = load_seed("square")
    good, bad = (parent.replace("10.0, 2.0", text) for text in ("7.5, 2.0", "10.0, -1.0"))
    answers = (Answer(bad, COMMIT_MESSAGES[0][0], Verdict.INVALID), Answer(good, SMALL_MESSAGE, Verdict.LARGE_GAIN))
    lesson = Lesson(parent, 3.0, MEASURES, answers, "0")
    config = EditModelConfig(
        **{**SMALL, "held_out": 0.0}, max_steps=80, batch_size=1, learning_rate=5e-3, learn_programs=False
    )
    train_edit_model([lesson], tmp_path / "model", config)
    operator = EditModelMutation(tmp_path / "model", EditModelOptions(temperature=0))
    (child,) = operator.mutate(seed_parents("square"), np.random.default_rng(0))
    assert child.program == good  # and not the other answer to the same prompt
    assert child.message == SMALL_MESSAGE
    assert "7.5, 2.0" in str(child.diff)


def test_whatever_follows_the_grammar_can_be_read_and_applied(lessons: list[Lesson]) -> None:
    coder = EditCoder(train_edit_tokenizer([lesson.parent for lesson in lessons], SMALL["vocab_size"], context=512))
    grammar = EditGrammar(coder, first_message(coder))
    rng = np.random.default_rng(0)
    edits = 0
    children = []
    for parent in [load_seed("square"), load_seed("cppn_fixed")] * 60:
        answer = EditAnswer(grammar, parent)
        while not answer.ended and len(answer.ids) < 200:
            allowed = np.flatnonzero(grammar.allowed([answer])[0])
            # Whole lines and short edits, or hardly any answer would come to its end.
            lines = [token for token in allowed if grammar.ends_line[token] or grammar.ends_number[token]]
            marks = [token for token in allowed if token in coder.marks][: 30 if not answer.low else 2]
            if coder.end in allowed and rng.random() < 0.5:
                answer.put(coder.end)
            else:
                answer.put(int(rng.choice([*lines, *marks] or allowed)))
        if answer.broken or not answer.ended:
            continue
        message, found, child = read_answer(coder, parent, answer.ids)
        assert message in dict(COMMIT_MESSAGES)
        assert child.endswith("\n")
        edits += len(found)
        children.append(child)
    assert edits > 60
    assert len(children) > 40
    assert not any("\x01" in child or "\x02" in child for child in children)
    with Evaluator(n_jobs=1, duration=0.1) as evaluator:
        errors = [score.error for score in evaluator.evaluate(children, make_terrain("Flat"))]
    assert not {error.kind for error in errors if error} & {"unknown_name", "no_make_walker"}
    assert not any("ndent" in error.message for error in errors if error)


def test_tries_of_one_parent_are_answers_of_their_own(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is read once; the answers are those that the places would get if it were read for each."""
    read: list[int] = []
    reading = Reader.read

    def counted(self: Reader, pieces: Sequence[Sequence[int]], begin: Sequence[int]) -> torch.Tensor:
        read.append(len(pieces))
        return reading(self, pieces, begin)

    monkeypatch.setattr(Reader, "read", counted)
    square, radial = seed_parents("square", "radial")
    operator = EditModelMutation(trained, EditModelOptions(attempts=20))
    together = operator.mutate([square] * 4 + [radial] * 4, np.random.default_rng(3))
    assert read[0] == 2
    apart = operator.mutate([square, radial] * 4, np.random.default_rng(3))
    assert len({child.program for child in together if child.applied}) > 2
    assert together[0] == apart[0]
    assert together[2] == apart[2]
    assert together[5] == apart[5]
    assert together[7] == apart[7]


def test_children_repeat_and_do_not_depend_on_the_batch(trained: Path) -> None:
    # More than a batch: a question whose attempts come to nothing goes on in the next one, or is asked again where it is.
    parents = seed_parents("square", "cppn_fixed", "radial", "square") * 3
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, many = (EditModelMutation(trained, EditModelOptions(batch_size=size, attempts=6)) for size in (1, 8))
    first = many.mutate(parents, np.random.default_rng(1))
    assert any(child.applied for child in first)
    assert torch.equal(before, torch.get_rng_state())
    assert many.mutate(parents, np.random.default_rng(1)) == first
    assert one.mutate(parents, np.random.default_rng(1)) == first
    assert many.mutate(parents, np.random.default_rng(2)) != first


def test_an_answer_that_changes_nothing_is_asked_for_again(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    put = EditAnswer.put_with_forced

    def copy_at_first(answer: EditAnswer, token: int) -> list[int]:
        """Writes nothing but a copy of the first line to the first two answers, and lets the model write the others."""
        if answer.ids:
            return put(answer, token)
        asked.append(token)
        if len(asked) > 2:
            return put(answer, token)
        coder = answer._grammar.coder
        for copied in [
            token,
            *coder.encode_edits("\n".join(answer.lines), [LineEdit(0, 1, (answer.lines[0],))]),
            coder.end,
        ]:
            answer.put(copied)
        return [coder.end]

    monkeypatch.setattr(EditAnswer, "put_with_forced", copy_at_first)
    parents = seed_parents("square", "radial")
    once = EditModelMutation(trained, EditModelOptions(attempts=1)).mutate(parents, np.random.default_rng(0))
    assert [child.applied for child in once] == [False, False]
    asked.clear()
    often = EditModelOptions(attempts=200)
    children = EditModelMutation(trained, often).mutate(parents, np.random.default_rng(0))
    assert [child.applied for child in children] == [True, True]
    assert len(asked) > 3


def test_a_parent_that_is_too_long_fails_alone(trained: Path) -> None:
    operator = EditModelMutation(trained)
    long = Parent("x = 1\n" * MARKS)
    children = operator.mutate([long, *seed_parents("square")], np.random.default_rng(0))
    assert children[0].failure == TOO_LONG
    assert children[0].program is None
    assert children[1].failure != TOO_LONG or children[1].applied
    operator.check_parents([long.program, load_seed("square")])
    with pytest.raises(ElmError, match="use another operator"):
        operator.check_parents([long.program])


def test_a_model_of_another_kind_and_wrong_options_are_refused(tmp_path: Path) -> None:
    tokenizer = train_tokenizer([load_seed("square")], 300)
    save_language_model(make_model("0.1M", tokenizer), tokenizer, tmp_path)
    assert load_language_model(tmp_path)
    with pytest.raises(ElmError, match="trained to write line edits"):
        EditModelMutation(tmp_path)
    for wrong in ({"temperature": -1.0}, {"min_p": 2.0}, {"verdict": "invalid"}, {"batch_size": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            EditModelOptions(**wrong)  # type: ignore[arg-type]


def record(identity: int, parent: int | None, iteration: int, niche: int, fitness: float) -> dict[str, Any]:
    return {
        "id": identity,
        "archive": "a",
        "parent": parent,
        "iteration": iteration,
        "niche": niche,
        "fitness": fitness,
        "root": 0,
        "program": f"p{identity}\n",
        "height": 1.0,
        "width": 2.0,
    }


def line(parent: int, iteration: int, admitted: int | None = None, gain: float = 0.0, **other: Any) -> dict[str, Any]:
    program = f"p{admitted}\n" if admitted is not None else f"c{parent}-{iteration}\n"
    plain = {"parents": [parent], "message": SMALL_MESSAGE, "error": None, "new": True, "program": program}
    return {**plain, "iteration": iteration, "admitted": admitted, "gain": gain, **other}


def test_lessons_hold_children_by_outcome_and_descendants_by_what_they_would_have_gained() -> None:
    admitted = [
        record(0, None, 0, niche=1, fitness=1.0),
        record(1, 0, 70, niche=2, fitness=4.0),
        record(2, 1, 80, niche=1, fitness=12.0),
        record(3, 2, 90, niche=2, fitness=4.5),
    ]
    children = [
        line(0, 10),
        line(0, 70, admitted=1, gain=4.0),
        line(0, 71, error="runtime_error"),
        line(0, 72, new=False),
        line(0, 73),
        line(1, 80, admitted=2, gain=11.0),
        line(2, 90, admitted=3, gain=0.5),
        {**line(0, 74), "program": None},
    ]
    first, *others = find_lessons(admitted, children, LessonConfig(generations=3))
    assert first.parent == "p0\n"
    assert {a.child: a.verdict for a in first.answers} == {
        "p1\n": Verdict.FAIR_GAIN,
        "c0-71\n": Verdict.INVALID,
        "c0-72\n": Verdict.KNOWN,
        "c0-73\n": Verdict.REFUSED,
        "p2\n": Verdict.LARGE_GAIN,  # 12 where the map of iteration 70 held 1
        "p3\n": Verdict.SMALL_GAIN,  # 4.5 where it held 4
    }
    assert [lesson.parent for lesson in others] == ["p1\n", "p2\n"]
    (plain,) = [x for x in find_lessons(admitted, children, LessonConfig(leaps=0)) if x.parent == "p0\n"]
    assert len(plain.answers) == 4
    few = find_lessons(admitted, children, LessonConfig(answers=1, leaps=0))[0]
    assert [a.verdict for a in few.answers] == [Verdict.FAIR_GAIN]  # what entered the map comes first
