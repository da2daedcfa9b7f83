"""The window: it plays walks, may be resized, shared and closed, and no episode depends on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sodarace_gym.envs.env import SodaraceEnv
from sodarace_gym.physics.constants import FRAME_RATE
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.rendering.canvas import pygame, to_image
from sodarace_gym.rendering.film import terrain_image
from sodarace_gym.rendering.window import Window
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.walker import build_design

DRIVE = (False, 2.0, 0.0)
TRIANGLE = build_design([(0.0, 0.0), (8.0, 0.0), (4.0, 7.0)], [(0, 1, *DRIVE), (1, 2, *DRIVE), (2, 0, *DRIVE)])[0]
PROGRAM = TRIANGLE.to_program()


def test_human_mode_plays_each_walk_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    env = SodaraceEnv("Flat", render_mode="human", duration=0.2)
    env.reset(seed=0)
    assert pygame.display.get_init()
    assert env.render() is None
    shown: list[None] = []
    flip = pygame.display.flip
    monkeypatch.setattr(pygame.display, "flip", lambda: shown.append(flip()))
    env.step(PROGRAM)
    assert len(shown) == 0.2 * FRAME_RATE + 1
    assert env.render() is None
    env.reset()
    *_, info = env.step("no program")
    assert info["error"] is not None
    env.close()
    env.close()
    assert not pygame.display.get_init()


def test_closing_the_window_ends_the_walk() -> None:
    terrain = make_terrain("Flat")
    window = Window()
    window.show_terrain(terrain)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    trajectory = roll_out(TRIANGLE, terrain, 10.0, record=True).trajectory
    window.play(TRIANGLE, terrain, trajectory)  # would take ten seconds
    assert not window.is_open
    assert not pygame.display.get_init()
    window.show_terrain(terrain)
    window.close()


def test_a_resized_window_goes_on_showing() -> None:
    window = Window((320, 200))
    assert pygame.display.get_surface().get_flags() & pygame.RESIZABLE
    window.show_terrain(make_terrain("Flat"))
    expected = terrain_image(make_terrain("Flat"), (320, 200))
    assert np.array_equal(to_image(pygame.display.get_surface()), expected)
    pygame.display.set_mode((960, 800), pygame.RESIZABLE)  # what SDL does when the user drags a corner
    window.show_terrain(make_terrain("Flat"))
    assert window.is_open
    image = to_image(pygame.display.get_surface())
    # Three times as large, and nothing is distorted: black bars above and below.
    assert not image[:100].any()
    assert not image[-100:].any()
    assert np.abs(image[101:-100:3, 1::3].astype(int) - expected).mean() < 3.0
    window.close()


@pytest.mark.parametrize("driver", ["dummy", "offscreen"])
def test_several_environments_share_the_window(driver: str, tmp_path: Path) -> None:
    # In a process of its own: what can go wrong here kills Python.
    code = """
import gymnasium as gym, pygame
def played(env):
    env.reset(seed=0)
    env.step(env.action_space.sample())
    return env
def control():
    return played(gym.make("sodarace_gym:SodaraceControl-Flat-v0", render_mode="human"))
first = control()
control().close()
first.step(first.action_space.sample())
assert pygame.display.get_init(), "another environment's end is not this one's"
first.close()
assert not pygame.display.get_init()
for name in ("Sodarace", "SodaraceControl"):
    played(gym.make_vec(f"sodarace_gym:{name}-Flat-v0", num_envs=2, render_mode="human", duration=0.2)).close()
left = control()
pygame.display.quit()  # by another library
left.step(left.action_space.sample())
left.close()
control().close()
"""
    environment = os.environ | {"SDL_VIDEODRIVER": driver}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_episodes_go_on_after_the_user_has_closed_the_window() -> None:
    env = SodaraceEnv("Flat", render_mode="human", duration=10.0)
    env.reset(seed=0)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    env.step(PROGRAM)
    assert not pygame.display.get_init()
    env.reset()
    *_, info = env.step(PROGRAM)
    assert info["error"] is None
    assert not pygame.display.get_init(), "a closed window stays closed"
    env.close()
