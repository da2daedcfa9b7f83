"""docs/physics.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sodarace_gym.physics import constants
from sodarace_gym.terrains import terrain
from sodarace_gym.walkers import walker

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "physics.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([A-Z_]+)` \| ([-0-9.e]+) \|", PAGE, flags=re.MULTILINE))
ELSEWHERE = {"CONSTANTS", "MAX_PHASE", "WORLD_HALF_WIDTH", "SKY"}
"""Collections of the others, and numbers that are no physics."""


def value(name: str) -> float:
    (module,) = [module for module in (constants, walker) if hasattr(module, name)][:1]
    return float(getattr(module, name))


@pytest.mark.parametrize("name", ROWS)
def test_the_page_has_the_value_of_the_code(name):
    assert float(ROWS[name]) == pytest.approx(value(name), rel=1e-7)


@pytest.mark.parametrize("module", [constants, walker], ids=["constants", "walker"])
def test_the_page_names_every_constant(module):
    public = {name for name in vars(module) if re.fullmatch(r"[A-Z][A-Z_]+", name)}
    foreign = {name for name in public if hasattr(terrain, name)}
    assert public - foreign - ELSEWHERE <= set(ROWS)
