"""What chat models are told is true of the simulator, and what they answer is read in whatever form it comes."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.mutation import answers, prompts
from elm_rl.mutation.examples import FORMATS, SEARCH_REPLACE, UNIFIED_DIFF, WHOLE, write_completion
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import CUT, NOT_APPLIED, FailedAttempt, Parent, parents_of
from elm_rl.mutation.prompts import chat_messages, patched_text, read_answer, without_system
from sodarace_gym.programs.program import compile_program
from sodarace_gym.walkers import walker

SQUARE, RADIAL = load_seed("square"), load_seed("radial")
CHILD = SQUARE.replace("5.0, 0.0", "6.5, 0.0").replace("3.0, 4.0", "3.0, 1.5")
PARENT = Parent(SQUARE, 7, 12.25, {"height": 10.0, "width": 11.0, "mass": 42.0}, "square", "Bumpy")


def said(parent: Parent, format: str = WHOLE, memory: str = "") -> str:
    system, user = chat_messages(parent, "Change parameters in make_walker.", format, memory=memory)
    assert (system["role"], user["role"]) == ("system", "user")
    assert without_system([system, user]) == [{"role": "user", "content": system["content"] + "\n\n" + user["content"]}]
    return system["content"] + "\n\n" + user["content"]


def test_the_request_tells_task_interface_limits_figures_and_form() -> None:
    text = said(PARENT)
    limits = (walker.MAX_JOINTS, walker.MAX_MUSCLES, walker.MAX_MUSCLES_PER_JOINT, "30 units of width", "24 of height")
    for word in (
        "walker_creator()",
        "add_joint(x, y)",
        "get_walker()",
        "make_walker()",
        "query_cppn",
        *map(str, limits),
    ):
        assert word in text
    assert SQUARE.rstrip() in text
    assert "(distance 12.25, height 10, width 11, mass 42)" in text
    assert "Bumpy. Bumps of 2 to 6 units" in text
    assert "Change parameters in make_walker." in text
    assert "```python" in text.rsplit("Commit message", 1)[1]
    assert "<<<<<<< SEARCH" in said(PARENT, SEARCH_REPLACE)
    assert "unified diff" in said(PARENT, UNIFIED_DIFF)
    assert "distance 0" not in said(Parent(SQUARE))  # nothing is known of it
    remembering = said(PARENT, memory=" Longer legs helped.\n")
    assert remembering.index("Longer legs helped.\n") < remembering.index("The terrain is")
    with pytest.raises(ValueError, match="prose"):
        chat_messages(PARENT, "m", "prose")


@pytest.mark.parametrize("terrain", ["Hills", "Hills(difficulty=0.5, seed=3)"])
def test_terrains_are_explained_and_unknown_ones_named(terrain: str) -> None:
    assert "rolling hills" in said(Parent(SQUARE, terrain=terrain))
    assert "The terrain is my own.json." in said(Parent(SQUARE, terrain="my own.json"))


def test_the_interface_that_is_described_is_the_one_that_programs_find() -> None:
    """The calls in the system message, put into a program, build the walker they describe."""
    calls = re.findall(r"^- (?:wc = )?(wc\.\w+|query_cppn|walker_creator)\((.*?)\)", prompts.SYSTEM, re.MULTILINE)
    assert [name for name, _ in calls] == [
        "walker_creator", "wc.add_joint", "wc.add_muscle", "wc.add_muscle", "query_cppn",
    ]  # fmt: skip
    values = {"x": "0.0", "y": "0.0", "a": "a", "b": "b", "False": "False", "amplitude": "9.0", "phase": "1.0"}
    grid = {"wc": "wc", "columns": "2", "rows": "1", "spacing": "3.0", "connect": "c", "amplitude": "f", "phase": "f"}
    plain, swinging = (", ".join(values[word] for word in words.split(", ")) for _, words in calls[2:4])
    program = (
        "def c(x1, y1, x2, y2):\n    return True\n\n\ndef f(x1, y1, x2, y2):\n    return 0.5\n\n\n"
        "def make_walker():\n    wc = walker_creator()\n"
        f"    query_cppn({', '.join(grid[word] for word in calls[4][1].split(', '))})\n"
        "    a = 0\n    b = wc.add_joint(0.0, 5.0)\n"
        f"    wc.add_muscle({plain})\n    wc.add_muscle(1, {swinging.split(', ', 1)[1]})\n    return wc.get_walker()\n"
    )
    design, repairs = compile_program(program)
    assert [muscle.distance_only for muscle in design.muscles] == [False, True, False]
    assert repairs == {"clamped_amplitudes": 1}
    assert f"above {walker.MAX_AMPLITUDE_RATIO:g} of" in prompts.SYSTEM


def test_a_failed_child_is_shown_with_its_error_and_patches_change_it() -> None:
    broken = CHILD.replace("return wc.get_walker()", "return wc")
    error = "wrong_result: make_walker() returned\na value of type X." + "!" * 2000
    parent = Parent(SQUARE, 7, 12.0, PARENT.measures, failed=FailedAttempt(broken, error))
    text = said(parent, SEARCH_REPLACE)
    assert SQUARE.rstrip() in text
    assert broken.rstrip() in text
    assert "wrong_result: make_walker() returned a value of type X." in text
    assert "!" * 600 not in text
    assert patched_text(parent) == broken
    patch = write_completion(broken, CHILD, SEARCH_REPLACE)
    assert read_answer(parent, patch, WHOLE, ended=True).program == CHILD
    for unusable in ("", "x = 1\n" * 9000):
        parent = Parent(SQUARE, failed=FailedAttempt(unusable, "cut: the answer was cut"))
        assert len(said(parent)) < 8000
        assert "cut: the answer was cut" in said(parent)
        assert patched_text(parent) == SQUARE


def test_several_parents_are_shown_and_asked_for_whole() -> None:
    others = (Parent(RADIAL, fitness=3.0, measures={"height": 9.0}), Parent(load_seed("cppn_fixed")))
    text = said(Parent(SQUARE, measures={"height": 1.0}, others=others), SEARCH_REPLACE)
    assert text.index(SQUARE.rstrip()) < text.index(RADIAL.rstrip()) < text.index(others[1].program.rstrip())
    assert "(distance 3, height 9)" in text
    assert "SEARCH" not in text


def test_a_fence_within_a_program_does_not_end_its_block() -> None:
    text = said(Parent('def make_walker():\n    """\n```\n"""\n'))
    assert '````python\ndef make_walker():\n    """\n```\n"""\n````' in text


# {} stands for what is answered; none of these is cut, or shows it.
AROUND = {
    "alone": "{}",
    "a fence": "```python\n{}\n```",
    "a bare fence": "```\n{}\n```\n",
    "a language nobody asked for": "```diff\n{}\n```",
    "a file name": "```python walker.py\n{}\n```",
    "a file name joined": "```python:walker.py\n{}\n```",
    "tildes": "~~~\n{}\n~~~",
    "a long fence": "````python\n{}\n````",
    "prose": "Sure! I made the body larger:\n\n```python\n{}\n```\n\nI hope that this helps - it should walk further.",
    "prose that looks like code": "I set\nsize = 7.5 there.\n```\n{}\n```\nand so\nsize = 7.5 it is.",
    "thoughts": "<think>\nMaybe\n```python\nx = 1\n```\n</think>\n\n```python\n{}\n```",
    "other thoughts": "<thinking>x = 1</thinking>{}",
    "thoughts begun by the template": "x = 1 maybe.\n</think>\n```\n{}\n```",
    "an end mark": "```python\n{}\n```<|im_end|>\n<|im_start|>user\nThanks.",
    "an end mark without a fence": "{}<end_of_turn>",
    "closed behind the last line": "```python\n{}```",
    "opened twice": "```\n```python\n{}\n```",
    "closed only": "{}\n```\n",
    "windows": "```python\r\n{}\r\n```\r\n",
    "never closed": "Here:\n```python\n{}",
    "a usage": "```python\n{}\n```\nRun it:\n```bash\npython walker.py\n```\n",
    "a call": "```python\n{}\n```\nUse it so:\n```python\nwalker = make_walker()\n```\n",
}


@pytest.mark.parametrize("shape", AROUND)
@pytest.mark.parametrize("asked", FORMATS)
@pytest.mark.parametrize("given", FORMATS)
def test_every_format_is_read_in_every_shape_whatever_was_asked(given: str, asked: str, shape: str) -> None:
    written = write_completion(SQUARE, CHILD, given).rstrip("\n")
    if given == UNIFIED_DIFF and "call" in shape:
        pytest.skip("a second block is a second part of the patch")
    answer = AROUND[shape].format(written.replace("\n", "\r\n") if shape == "windows" else written)
    reading = read_answer(PARENT, answer, asked, ended=True)
    assert reading.program == CHILD
    assert (reading.diff is None) == (given == WHOLE)


@pytest.mark.parametrize("asked", FORMATS)
def test_prose_around_an_answer_without_fences_is_left_out(asked: str) -> None:
    text = f"Here is the new file:\n\n{CHILD}\nThis version is larger (by 1.5) than before.\n\n- It walks.\n"
    assert read_answer(PARENT, text, asked, ended=True).program == CHILD
    listed = "1. The change:\n   ```python\n" + "".join(f"   {line}\n" for line in CHILD.splitlines()) + "   ```\n"
    assert read_answer(PARENT, listed, asked, ended=True).program == CHILD


def test_the_last_draft_counts_and_a_patch_that_does_not_fit_gives_way_to_the_file() -> None:
    drafts = f"First:\n```python\n{RADIAL}```\nBetter:\n```python\n{CHILD}```\n"
    assert read_answer(PARENT, drafts, WHOLE, ended=True).program == CHILD
    unclosed = f"It was:\n```python\n{SQUARE}```\nNow:\n```python\n{CHILD}"
    assert read_answer(PARENT, unclosed, WHOLE, ended=True).program == CHILD
    elsewhere = write_completion(RADIAL, RADIAL.replace("8", "9"), SEARCH_REPLACE)
    both = f"```\n{elsewhere}\n```\nThe whole file:\n```python\n{CHILD}```\n"
    assert read_answer(PARENT, both, SEARCH_REPLACE, ended=True).program == CHILD
    assert read_answer(PARENT, elsewhere, WHOLE, ended=True)[:2] == (None, NOT_APPLIED)


@pytest.mark.parametrize("asked", FORMATS)
@pytest.mark.parametrize(
    "text", ["", "Sorry, I cannot do that.", "```python\n```", "<think>\nx = 1", "- I would\n- not", "```\nHello.\n```"]
)
def test_what_holds_no_program_is_not_applied(text: str, asked: str) -> None:
    assert read_answer(PARENT, text, asked, ended=True)[:2] == (None, NOT_APPLIED)


@pytest.mark.parametrize("asked", FORMATS)
@pytest.mark.parametrize("seed", range(4))
def test_cut_anywhere_it_is_either_whole_or_cut(asked: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = f"Sure:\n\n```python\n{write_completion(SQUARE, CHILD, asked)}\n```\nDone, I think.\n"
    closed = text.rindex("```") + 3
    for end in rng.integers(1, len(text), 60):
        reading = read_answer(PARENT, text[:end], asked, ended=False)
        assert reading[:2] == ((CHILD, NOT_APPLIED) if end >= closed else (None, CUT)), text[:end]


@pytest.mark.parametrize("seed", range(3))
def test_children_of_other_operators_are_read_as_they_were_written(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parents = parents_of([load_seed(SEED_NAMES[i % len(SEED_NAMES)]) for i in range(12)])
    shapes = [shape for shape in AROUND.values() if "usage" not in shape and "make_walker" not in shape]
    for parent, child in zip(parents, GPMutation().mutate(parents, rng), strict=True):
        if child.program is None:
            continue
        for given in FORMATS:
            written = write_completion(parent.program, child.program, given).rstrip("\n")
            shape = shapes[int(rng.integers(len(shapes)))]
            if not written or (given == WHOLE and parent.program == child.program):
                continue
            reading = read_answer(parent, shape.format(written), FORMATS[int(rng.integers(3))], ended=True)
            assert reading.program == child.program, shape


def test_answers_are_capped_and_never_parsed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ast, "parse", None)
    monkeypatch.setattr("builtins.compile", None)
    deep = "def make_walker():\n    return " + "(" * 50_000 + ")" * 50_000 + "\n"
    assert read_answer(PARENT, f"```python\n{deep}```", WHOLE, ended=True).program == deep
    assert read_answer(PARENT, deep, WHOLE, ended=True).program == deep
    long = "x = 1\n" * prompts.MAX_ANSWER_CHARACTERS
    assert read_answer(PARENT, long, WHOLE, ended=True)[:2] == (None, NOT_APPLIED)
    assert read_answer(PARENT, long, WHOLE, ended=False)[:2] == (None, CUT)
    assert "ast" not in vars(answers)


@pytest.mark.parametrize(
    "text",
    [
        "<<<<<<< SEARCH\n" + "ab" * 9000 + "\n=======\nx\n>>>>>>> REPLACE\n",
        "<<<<<<< SEARCH\n" + "x + = 1\n" * 3000 + "=======\nx\n>>>>>>> REPLACE\n",
        "@@ -1 +1 @@\n-    b = wc.add_bone(x, y)\n+x\n" * 900,
        "```" + " " * 100_000 + "`",
        "def make_walker():\nfor a" + " in" * 40_000 + "\n",
        "<think>" * 18_000,
        "a[" + "] " * 60_000,
    ],
)
def test_answers_meant_to_be_slow_to_read_are_read_soon(text: str) -> None:
    """Each takes milliseconds; without bounds on what lines are compared they take minutes."""
    parent = Parent(SQUARE + "x = '" + "a" * 9000 + "'\n")
    assert read_answer(parent, text, WHOLE, ended=True).failure == NOT_APPLIED
