"""docs/models.md says what the options of local models are, and what models are asked."""

from __future__ import annotations

import re
from pathlib import Path

from elm_rl.mutation.catalogue import settings
from elm_rl.mutation.operator import PARAMETERS_MESSAGE
from elm_rl.mutation.questions import write_question

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_table_has_every_option_with_its_default_and_its_meaning() -> None:
    assert re.findall(r"^\| `(\w+)` \| (\S+) \| (.+) \|$", PAGE, flags=re.MULTILINE) == settings("model")


def test_the_questions_on_the_page_are_those_that_are_asked() -> None:
    program = "def make_walker():\n    ...\n"
    assert write_question(program, PARAMETERS_MESSAGE, "whole", "commit") in PAGE
    assert write_question(program, PARAMETERS_MESSAGE, "unified_diff", "diff") in PAGE
