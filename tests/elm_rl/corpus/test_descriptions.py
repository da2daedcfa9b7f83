"""Descriptions in programs: written, read back, ordered in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elm_rl.corpus.descriptions import Description, undescribed
from elm_rl.errors import ConfigError

AMOUNTS = st.floats(0.0, 1000.0)


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.floats(-100.0, 1000.0), st.booleans())
def test_what_is_written_is_read_and_taken_out(
    height: float, width: float, mass: float, distance: float, ahead: bool
) -> None:
    found = Description.of(height, width, mass, distance)
    assert abs(found.height - height) <= 0.5
    assert abs(found.mass - mass) <= 5
    assert found.distance >= 0
    program = "def make_walker():\n    # height is fine\n    return 3\n"
    text = found.line + program if ahead else program + found.line
    assert Description.read(text) == found
    assert undescribed(text) == program
    words = f"width={width}, mass={mass},height={height},distance={distance}"
    assert Description.ordered(words) == found


def test_a_program_without_one_says_nothing() -> None:
    assert Description.read("x = 1  # height 3, width 4, mass 10, distance 20\n") is None


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "height=1",
        "height=1,width=2,mass=3,distance=far",
        "height=1,width=2,mass=3,length=4",
        "height=1,width=2,mass=3,distance=inf",
        "height=1,height=1,width=2,mass=3,distance=4",
    ],
)
def test_an_order_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="order is"):
        Description.ordered(wrong)
