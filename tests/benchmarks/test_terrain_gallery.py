"""The table of ids, the page about each environment, and the picture of all families."""

from __future__ import annotations

import inspect

import gymnasium as gym
import pytest

from benchmarks.terrain_gallery import (
    DOCUMENTED,
    MARK,
    PAGE,
    PICTURE,
    draw_families,
    environments_page,
    ids_table,
    page_with,
    version_histories,
)
from sodarace_gym.registration import CONTROL_IDS, ENVIRONMENT_IDS, RANDOM_ID


def test_the_page_is_what_the_docstrings_say():
    text = PAGE.read_text(encoding="utf-8")
    assert page_with(environments_page(), text) == text, "run `python -m benchmarks.terrain_gallery --write`"
    assert PICTURE.name in (PAGE.parent / "terrains.md").read_text(encoding="utf-8")


def test_the_table_lists_every_id_as_registered():
    table = ids_table()
    for environment_id in (*ENVIRONMENT_IDS, *CONTROL_IDS, RANDOM_ID):
        assert table.count(f"`{environment_id}`") == 1


@pytest.mark.parametrize("environment_id", [*ENVIRONMENT_IDS, *CONTROL_IDS, RANDOM_ID])
def test_the_version_of_every_id_has_a_history(environment_id):
    spec = gym.spec(environment_id)
    family = spec.name if environment_id == RANDOM_ID else f"{spec.name.split('-')[0]}-<Terrain>"
    newest = next(iter(version_histories()[f"{family}-v{spec.version}"]))
    assert newest == f"v{spec.version}", "a new version is the first line of the environment's Version History"
    assert DOCUMENTED[f"{family}-v{spec.version}"] is gym.envs.registration.load_env_creator(spec.entry_point)


def test_histories_are_on_the_page():
    text, histories = PAGE.read_text(encoding="utf-8"), version_histories()
    assert list(histories) == [name for name in DOCUMENTED if "v0" in name or name == "gym.make_vec"]
    for history in histories.values():
        for version, what in history.items():
            assert f"| {version} | {what} |" in text


@pytest.mark.parametrize("documented", DOCUMENTED.values(), ids=lambda documented: documented.__name__)
def test_environments_are_documented_under_gymnasiums_headings(documented):
    headings = [line.strip("# ") for line in inspect.getdoc(documented).splitlines() if line.startswith("## ")]
    wanted = ["Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End", "Arguments",
              "Determinism", "Version History", "References"]  # fmt: skip
    if issubclass(documented, (gym.Wrapper, gym.ObservationWrapper)):
        assert set(headings) & set(wanted)
    else:
        assert sorted(set(headings) & set(wanted)) == sorted(wanted)


def test_what_is_written_by_hand_stays():
    assert page_with(f"{MARK}\nnew\n", f"by hand\n{MARK}\nold\n") == f"by hand\n{MARK}\nnew\n"
    for broken in ("", f"{MARK}\n{MARK}\n"):
        with pytest.raises(ValueError, match="once"):
            page_with(f"{MARK}\nnew\n", broken)


def test_the_picture_of_all_families_can_be_drawn(tmp_path):
    draw_families(tmp_path / "families.png")
    assert (tmp_path / "families.png").stat().st_size > 20_000
