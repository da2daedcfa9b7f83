"""The table of ids, the page about each environment, and the picture of all families."""

from __future__ import annotations

import inspect

import gymnasium as gym
import pytest

from benchmarks.terrain_gallery import (
    BEGIN,
    DOCUMENTED,
    END,
    PAGE,
    PICTURE,
    README,
    draw_families,
    environments_page,
    ids_table,
    readme_with,
)
from sodarace_gym.registration import CONTROL_IDS, ENVIRONMENT_IDS, RANDOM_ID


def test_the_readme_lists_every_id_as_registered():
    text, table = README.read_text(encoding="utf-8"), ids_table()
    assert readme_with(table, text) == text, "run `python -m benchmarks.terrain_gallery --write`"
    for environment_id in (*ENVIRONMENT_IDS, *CONTROL_IDS, RANDOM_ID):
        assert table.count(f"`{environment_id}`") == 1
    assert PICTURE.name in text


def test_the_page_of_environments_is_what_the_docstrings_say():
    assert PAGE.read_text(encoding="utf-8") == environments_page(), "run `python -m benchmarks.terrain_gallery --write`"


@pytest.mark.parametrize("documented", DOCUMENTED.values(), ids=lambda documented: documented.__name__)
def test_environments_are_documented_under_gymnasiums_headings(documented):
    headings = [line.strip("# ") for line in inspect.getdoc(documented).splitlines() if line.startswith("## ")]
    wanted = ["Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End", "Arguments",
              "Determinism", "Version History", "References"]  # fmt: skip
    if issubclass(documented, (gym.Wrapper, gym.ObservationWrapper)):
        assert set(headings) & set(wanted)
    else:
        assert sorted(set(headings) & set(wanted)) == sorted(wanted)


def test_the_table_goes_between_its_marks():
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert readme_with("new", text) == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    for broken in ("", f"{END}\n{BEGIN}\n", text + text):
        with pytest.raises(ValueError, match="once each"):
            readme_with("new", broken)


def test_the_picture_of_all_families_can_be_drawn(tmp_path):
    draw_families(tmp_path / "families.png")
    assert (tmp_path / "families.png").stat().st_size > 20_000
