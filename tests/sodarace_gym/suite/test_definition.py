"""What is measured is frozen: a change of the file, or of a terrain, is a change of version."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from sodarace_gym.suite import SuiteError, load_definition
from sodarace_gym.suite.definition import DEFINITION_FILE, ground_digest, parse_definition
from sodarace_gym.terrains.distribution import SPLITS
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES

DIGESTS = {"0": "6d8cf29246bcffe0", "1": "5866085da3d6a163"}
"""The file of every version there has been. A new file is a new version, and never another line for an old one."""

HELD_OUT = ("Pits", "Burrow", "Mixed")


def test_a_version_is_one_file_for_ever():
    definition = load_definition()
    assert definition.digest == DIGESTS[definition.version]


def test_every_terrain_is_the_ground_that_it_was():
    for terrain in load_definition().terrains:
        assert ground_digest(terrain.terrain()) == terrain.ground
        assert terrain.reference > 0.0


def test_another_ground_is_refused(small):
    terrain = small.terrains[0]
    other = type(terrain)(terrain.text, terrain.group, ground_digest(make_terrain("Tunnel")), 1.0)
    with pytest.raises(SuiteError, match="another ground"):
        other.terrain()


def test_grounds_are_told_apart_and_names_do_not_matter():
    hills = [make_terrain("Hills", seed, difficulty) for seed in (0, 1) for difficulty in (0.2, 0.3)]
    assert len({ground_digest(each) for each in hills}) == 4
    assert ground_digest(make_terrain("Tunnel")) != ground_digest(make_terrain("Flat")), "the ceiling counts"


def settings(text):
    name, *rest = text.split(",")
    return name, {key: float(value) for key, value in (part.split("=") for part in rest)}


def test_the_groups_are_what_they_are_called():
    groups = {
        name: [settings(each.text) for each in load_definition().chosen(groups=[name])]
        for name in load_definition().groups
    }
    assert [name for name, _ in groups["paper"]] == list(TERRAIN_NAMES)
    for name, given in groups["seen"]:
        assert name not in HELD_OUT
        assert given["seed"] in SPLITS["train"]
        assert given["difficulty"] <= 0.8
    assert [(name, given["difficulty"]) for name, given in groups["new seeds"]] == [
        (name, given["difficulty"]) for name, given in groups["seen"]
    ]
    assert {name for name, _ in groups["harder"]} == {name for name, _ in groups["seen"]}
    assert all(given["difficulty"] > 0.8 for _, given in groups["harder"])
    assert {name for name, _ in groups["unseen families"]} | {name for name, _ in groups["compositions"]} == set(
        HELD_OUT
    )
    for group in ("new seeds", "harder", "unseen families", "compositions"):
        assert all(given["seed"] in SPLITS["test"] for _, given in groups[group])
    texts = [each.text for each in load_definition().terrains]
    assert len(set(texts)) == len(texts) == sum(map(len, groups.values()))


def test_budgets_and_seeds_are_those_that_were_announced():
    definition = load_definition()
    assert definition.budgets == (1, 8, 64, 1000, 10000)
    assert len(definition.seeds) >= 5
    assert definition.judged_copies > definition.seen_copies > 0


def test_terrains_are_chosen_by_name_and_by_group():
    definition = load_definition()
    assert definition.chosen() == list(definition.terrains)
    assert [each.text for each in definition.chosen(["Tunnel", "Flat"])] == ["Flat", "Tunnel"]
    assert len(definition.chosen(["Tunnel"], ["seen"])) == 11
    with pytest.raises(SuiteError, match="no terrain 'Moon'"):
        definition.chosen(["Moon"])
    with pytest.raises(SuiteError, match="no group 'moon'"):
        definition.chosen([], ["moon"])


def test_a_damaged_definition_is_refused():
    text = (files("sodarace_gym.suite") / DEFINITION_FILE).read_text(encoding="utf-8")
    content = json.loads(text)
    del content["budgets"]
    for broken in (json.dumps(content), "nothing", "[]"):
        with pytest.raises(SuiteError, match="no definition"):
            parse_definition(broken)
