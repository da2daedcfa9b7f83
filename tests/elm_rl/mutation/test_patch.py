"""Patches: what is written applies exactly; what models write applies where it plainly belongs, and fails clearly elsewhere."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elm_rl.mutation.examples import read_completion, write_completion
from elm_rl.mutation.patch import (
    MIDDLE_MARK,
    REPLACE_MARK,
    SEARCH_MARK,
    PatchError,
    apply_search_replace,
    apply_unified_diff,
    make_search_replace,
    make_unified_diff,
)

PARENT = """\
def make_rim(wc, count):
    rim = []
    for k in range(count):
        rim.append(wc.add_joint(k, 2 * k))
    return rim
def make_walker():
    wc = walker_creator()
    rim = make_rim(wc, 6)
    hub = wc.add_joint(3, 8)
    for k in range(6):
        wc.add_muscle(rim[k], hub, False, 1.5, k * 0.7)
    wc.add_muscle(rim[0], rim[1])
    wc.add_muscle(rim[1], rim[2])
    return wc.get_walker()
"""
CHILD = PARENT.replace("wc.add_joint(3, 8)", "wc.add_joint(4.5, 9)").replace("False, 1.5", "False, 2.5")

# Few distinct lines, so that blocks recur, and lines that look like the syntax of patches.
LINES = [
    "a",
    "b",
    "  a",
    "",
    " ",
    "    x = 1",
    "-- a",
    "++ b",
    "@@ -1 +1 @@",
    "\\ No",
    "+",
    "-",
    "\r",
    "a\r",
    "<<<",
    "é\u2028",
]
texts = st.builds(
    lambda lines, end: "\n".join(lines) + end,
    st.lists(st.sampled_from(LINES), max_size=12),
    st.sampled_from(["", "\n", "\n\n"]),
)
# Lines that are markers cannot be written as blocks, see the test of that below.
unmarked = st.text(max_size=60).filter(lambda text: not re.search(r"[<=>]{5}", text))
Patcher = Callable[[str, str], str]
BOTH = pytest.mark.parametrize(
    ("make", "apply"),
    [(make_search_replace, apply_search_replace), (make_unified_diff, apply_unified_diff)],
    ids=["search_replace", "unified_diff"],
)


def blocks(search: str, replace: str) -> str:
    return f"{SEARCH_MARK}\n{search}\n{MIDDLE_MARK}\n{replace}\n{REPLACE_MARK}"


@BOTH
@given(parent=texts, child=texts)
def test_a_written_patch_turns_parent_into_child(make: Patcher, apply: Patcher, parent: str, child: str) -> None:
    patch = make(parent, child)
    if parent == child:
        assert patch == ""
    else:
        assert apply(parent, patch) == child


@BOTH
@given(parent=unmarked, child=unmarked)
def test_any_text_survives(make: Patcher, apply: Patcher, parent: str, child: str) -> None:
    if parent != child:
        assert apply(parent, make(parent, child)) == child


@BOTH
@given(text=texts, patch=st.one_of(texts, st.builds(make_unified_diff, texts, texts)))
def test_whatever_a_model_writes_gives_a_text_or_a_patch_error(
    make: Patcher, apply: Patcher, text: str, patch: str
) -> None:
    with contextlib.suppress(PatchError):
        assert isinstance(apply(text, patch), str)


@BOTH
def test_patches_are_shorter_than_the_program(make: Patcher, apply: Patcher) -> None:
    assert len(make(PARENT, PARENT.replace("1.5", "1.6"))) < 0.7 * len(PARENT)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda diff: re.sub(r"@@.*@@", "@@ -1,1 +1,1 @@", diff),
        lambda diff: re.sub(r"@@.*@@", "@@ -900,7 +900,9 @@", diff),
        lambda diff: re.sub(r"@@.*@@", "@@ @@", diff),
        lambda diff: "--- a/walker.py\n+++ b/walker.py\n" + diff,
        lambda diff: diff + "\n\n",
        lambda diff: "\n".join(line.rstrip() for line in diff.split("\n")),
        lambda diff: "\n".join(line + "  " for line in diff.split("\n")),
        lambda diff: diff.replace("\n     wc = ", "\n    wc = "),
        lambda diff: diff.replace(" range(6)", " range(7)"),
    ],
    ids=[
        "numbers", "far", "bare", "files", "blank_end", "stripped", "trailing", "no_space", "context_off",
    ],
)  # fmt: skip
def test_a_spoilt_diff_still_applies(spoil: Callable[[str], str]) -> None:
    changed = apply_unified_diff(PARENT, spoil(make_unified_diff(PARENT, CHILD)))
    assert [line.rstrip() for line in changed.split("\n")] == CHILD.split("\n")


def test_a_hunk_found_at_another_indentation_is_shifted_to_it() -> None:
    diff = "@@ -9,2 +9,3 @@\n-hub = wc.add_joint(3, 8)\n+hub = wc.add_joint(4, 8)\n+top = wc.add_joint(4, 9)\n"
    expected = "    hub = wc.add_joint(4, 8)\n    top = wc.add_joint(4, 9)\n"
    assert apply_unified_diff(PARENT, diff) == PARENT.replace("    hub = wc.add_joint(3, 8)\n", expected)


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("    hub = wc.add_joint(3, 8)", "    hub = wc.add_joint(4, 8)"),
        ("hub = wc.add_joint(3, 8)", "hub = wc.add_joint(4, 8)"),
        ("        hub = wc.add_joint(3, 8)   ", "        hub = wc.add_joint(4, 8)"),
        ("\n    hub = wc.add_joint(3, 8)\n\n", "    hub = wc.add_joint(4, 8)"),
        ("    hub = wc.add_joint(3,8)", "    hub = wc.add_joint(4, 8)"),
        (
            "    rim = make_rim(wc, 5)\n    hub = wc.add_joint(3, 8)",
            "    rim = make_rim(wc, 6)\n    hub = wc.add_joint(4, 8)",
        ),
    ],
    ids=["exact", "unindented", "overindented", "blank_lines", "spacing", "line_off"],
)
def test_a_search_that_is_slightly_off_still_finds_its_place(search: str, replace: str) -> None:
    assert apply_search_replace(PARENT, blocks(search, replace)) == PARENT.replace("joint(3, 8)", "joint(4, 8)")


def test_text_around_blocks_and_other_marker_lengths_are_ignored() -> None:
    patch = "Sure:\n```\n<<<<< SEARCH\n    rim = []\n=====\n    rim = [0]\n>>>>> REPLACE\n```\nDone."
    assert apply_search_replace(PARENT, patch) == PARENT.replace("rim = []", "rim = [0]")


def test_equal_blocks_apply_one_after_the_other() -> None:
    parent = "a\nx\na\nx\n"
    assert apply_search_replace(parent, blocks("x", "y") + "\n" + blocks("x", "z")) == "a\ny\na\nz\n"


def test_an_empty_search_fills_an_empty_program_only() -> None:
    assert apply_search_replace("", blocks("", "x = 1")) == "x = 1"
    with pytest.raises(PatchError, match="empty"):
        apply_search_replace(PARENT, f"{SEARCH_MARK}\n{MIDDLE_MARK}\nx = 1\n{REPLACE_MARK}")


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ("", "found none"),
        ("    hub = wc.add_joint(4, 8)", "found none"),
        (f"{SEARCH_MARK}\n    rim = []\n{MIDDLE_MARK}\n    rim = [0]", "found none"),
        (blocks("    def unrelated(self):\n        pass", "    x"), "not in the program"),
        (blocks("wc.add_muscle(rim[3], rim[4])", "x"), "not in the program"),
    ],
    ids=["empty", "no_block", "unfinished", "absent", "two_alike"],
)
def test_blocks_that_do_not_fit_say_why(patch: str, reason: str) -> None:
    with pytest.raises(PatchError, match=reason):
        apply_search_replace(PARENT, patch)


def test_a_loosely_matching_block_must_fit_in_one_place() -> None:
    parent = "if a:\n    x = 1\nif b:\n        x = 1\n"
    with pytest.raises(PatchError, match="fits in 2 places"):
        apply_search_replace(parent, blocks("x = 1", "x = 2"))


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ("", "found no change"),
        ("@@ -1,1 +1,1 @@\n rim = []\n", "found no change"),
        ("just words", "found no change"),
        ("@@ @@\n-    foo = bar(1)\n+    foo = bar(2)\n", "not in the program"),
        ("@@ @@\n+    foo = 1\n", "no lines to be found by"),
        ("@@ @@\n for k in\n-    wc.add_muscle(rim[0], rim[1])\n     nothing like it\n+x\n", "not in the program"),
    ],
    ids=["empty", "no_change", "words", "absent", "no_context", "scrambled"],
)
def test_diffs_that_do_not_fit_say_why(patch: str, reason: str) -> None:
    with pytest.raises(PatchError, match=reason):
        apply_unified_diff(PARENT, patch)


def test_a_diff_with_a_wrong_number_goes_to_the_nearest_of_equal_places() -> None:
    parent = "a\nx\nb\n" + "c\n" * 10 + "a\nx\nb\n"
    assert apply_unified_diff(parent, "@@ -12,3 +12,3 @@\n a\n-x\n+y\n b") == "a\nx\nb\n" + "c\n" * 10 + "a\ny\nb\n"


def test_markers_in_a_program_are_refused_where_they_cannot_be_written() -> None:
    with pytest.raises(PatchError, match="marker"):
        make_search_replace("a\n=======\n", "b\n")
    assert apply_unified_diff("a\n=======\n", make_unified_diff("a\n=======\n", "b\n")) == "b\n"


def test_a_missing_final_newline_is_kept_and_marked_as_the_format_has_it() -> None:
    diff = make_unified_diff("a\nb", "a\nc\n")
    assert diff.split("\n") == ["@@ -1,2 +1,2 @@", " a", "-b", "\\ No newline at end of file", "+c"]
    assert apply_unified_diff("a\nb", diff) == "a\nc\n"


def test_looking_for_similar_lines_ends_where_it_costs_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = "def f():\n    first = 1\n    return first\n"
    patch = "<<<<<<< SEARCH\n    firts = 1\n=======\n    first = 2\n>>>>>>> REPLACE\n"
    assert apply_search_replace(parent, patch) == parent.replace("1", "2")
    monkeypatch.setattr("elm_rl.mutation.line_matching.MAX_COMPARED", 100)
    with pytest.raises(PatchError, match="not in the program"):
        apply_search_replace(parent, patch)


@pytest.mark.parametrize("format", ["search_replace", "unified_diff"])
def test_endless_patches_are_not_read(format: str) -> None:
    with pytest.raises(PatchError, match="at most 32000"):
        read_completion("x = 1\n", write_completion("x = 1\n", "x = 2\n" * 9000, format), format)
