"""The renderer: right shapes, right moments, and pictures that show what they claim to show."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from sodarace_gym.envs.env import SodaraceEnv
from sodarace_gym.physics.constants import FRAME_RATE
from sodarace_gym.physics.rollout import Rollout, roll_out
from sodarace_gym.rendering import drawing, film
from sodarace_gym.rendering.canvas import Colour, pygame
from sodarace_gym.rendering.film import (
    FRAME_SIZE,
    film_strip,
    frames,
    last_frame,
    terrain_image,
    terrain_sheet,
    walk_moments,
)
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign, build_design

WIDTH, HEIGHT = FRAME_SIZE


def triangle(distance_only: bool = False, phase: float = 0.0) -> WalkerDesign:
    drive = (distance_only, 2.0, phase)
    return build_design([(0.0, 0.0), (8.0, 0.0), (4.0, 7.0)], [(0, 1, *drive), (1, 2, *drive), (2, 0, *drive)])[0]


def wheel() -> WalkerDesign:
    """Covers dozens of units."""
    angles = np.arange(8) * np.pi / 4
    rim = [(1.5 * float(np.cos(angle)), 1.5 * float(np.sin(angle))) for angle in angles]
    links = [(k, (k + step) % 8, True, 0.0, 0.0) for k in range(8) for step in (1, 2)]
    spokes = [(8, k, False, 3.0, float(angles[k])) for k in range(8)]
    return build_design([*rim, (-6.0, 10.0)], links + spokes)[0]


def count(image: NDArray[np.uint8], colour: Colour, tolerance: int = 40) -> int:
    """Pixels of about a colour."""
    return int((np.abs(image.astype(int) - colour).max(axis=2) < tolerance).sum())


def check_image(image: Any, width: int = WIDTH, height: int = HEIGHT) -> None:
    assert isinstance(image, np.ndarray)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert len(np.unique(image)) > 20


@pytest.mark.parametrize("name", TERRAIN_NAMES)
def test_terrain_images_show_what_is_solid(name: str) -> None:
    image = terrain_image(make_terrain(name))
    check_image(image)
    solid = (np.abs(image.astype(int) - drawing.SOLID) < 4).all(axis=2)
    row, left, right, middle = HEIGHT // 3, WIDTH // 20, WIDTH - WIDTH // 20, WIDTH // 2 - 20
    expected = {"LeftWall": (True, False), "RightWall": (False, True), "Tunnel": (True, True)}.get(name, (False, False))
    assert (bool(solid[row, left]), bool(solid[row, right])) == expected
    assert not solid[row, middle], "the start area is open"
    assert solid[HEIGHT - 3, middle], "the ground is solid"
    if name == "Tunnel":
        open_rows = ~solid[: HEIGHT - 60, WIDTH - 10]
        assert 20 < open_rows.sum() < 100, "there is a way through below the ceiling"


def test_terrain_images_have_the_size_asked_for() -> None:
    check_image(terrain_image(make_terrain("Bumpy"), (900, 200)), 900, 200)


@pytest.mark.parametrize("name", ["Gaps", "Pits", "DownSlope"])
def test_ground_below_the_start_is_in_the_picture(name: str) -> None:
    terrain = make_terrain(name, difficulty=1.0)
    image = terrain_image(terrain, span=112.0)
    check_image(image)
    solid = (np.abs(image.astype(int) - drawing.SOLID) < 4).all(axis=2)
    assert solid[-2].mean() > 0.9, "even the lowest ground is seen from above"
    lowest, start = (int(np.argmax(solid[:, column])) for column in (np.argmin(solid.sum(axis=0)), WIDTH // 2 - 20))
    assert lowest > start + 10


def test_a_sheet_holds_each_terrains_picture() -> None:
    terrains = [make_terrain(name) for name in ("Flat", "Tunnel", "Hills", "Gaps")]
    sheet = terrain_sheet(terrains, columns=3, size=(200, 100))
    check_image(sheet, 3 * 204 - 4, 2 * 104 - 4)
    for index, terrain in enumerate(terrains):
        row, column = divmod(index, 3)
        part = sheet[104 * row : 104 * row + 100, 204 * column : 204 * column + 200]
        assert np.array_equal(part, terrain_image(terrain, (200, 100), span=112.0))
    assert (sheet[104:, 204:] == 255).all(), "where there is no terrain the paper shows"
    for arguments in (([], 3), (terrains, 0)):
        with pytest.raises(ValueError, match="at least one"):
            terrain_sheet(*arguments)


def test_a_walk_is_drawn_frame_by_frame_and_always_alike() -> None:
    terrain = make_terrain("Bumpy")
    rollout = roll_out(triangle(), terrain, 1.0, record=True)
    walk = list(frames(triangle(), terrain, rollout.trajectory))
    assert len(walk) == FRAME_RATE + 1
    for image in walk:
        check_image(image)
    again = list(frames(triangle(), terrain, rollout.trajectory))
    assert all(np.array_equal(first, second) for first, second in zip(walk, again, strict=True))
    assert not np.array_equal(walk[0], walk[-1])
    assert np.array_equal(last_frame(triangle(), terrain, rollout.trajectory), walk[-1])


def test_solid_ground_reaches_the_edges_of_the_picture() -> None:
    # A pit that ends exactly where the picture does, and one that is deeper than the picture.
    floor = [(-1000, 0), (-30, 0), (-30, -90), (-20, -90), (-20, 0), (20, 0), (20, -5), (24, -5), (24, 0), (32, 0)]
    image = terrain_image(Terrain("Pits", np.array([*floor, (32, -9), (1000, -9)], dtype=float)))
    scale = WIDTH / 64
    surface = int(np.flatnonzero((np.abs(image[:, WIDTH // 3].astype(int) - drawing.SURFACE) < 30).all(axis=1))[0])
    below = image[surface + 30 : surface + int(4 * scale)]
    solid = (np.abs(below.astype(int) - drawing.SOLID) < 4).all(axis=2)
    hatched = (np.abs(below.astype(int) - drawing.HATCH) < 30).all(axis=2) | solid

    def columns(left: float, right: float) -> slice:
        return slice(int((32 + left) * scale) + 4, int((32 + right) * scale) - 4)

    assert not solid[:, columns(-30, -20)].any()
    assert not solid[:, columns(20, 24)].any()
    assert hatched[:, columns(24.5, 32)].mean() > 0.95, "solid up to the edge"
    assert (np.abs(image[-1, columns(-19, 19)].astype(int) - drawing.SOLID) < 4).all(), "filled to the lower edge"


def test_the_start_line_ends_at_the_ceiling() -> None:
    flat = make_terrain("Flat").floor
    image = terrain_image(Terrain("Low", flat, flat + np.array([0.0, 12.0])))
    middle = image[:, WIDTH // 2 - 3 : WIDTH // 2 + 3]
    rows = np.flatnonzero((np.abs(middle.astype(int) - drawing.START).max(axis=2) < 40).any(axis=1))
    assert rows.size > 20
    assert (np.abs(image[: rows[0] - 20, WIDTH // 2].astype(int) - drawing.SOLID) < 4).all()


def test_images_belong_to_the_caller() -> None:
    first = terrain_image(make_terrain("Flat"))
    first[:] = 0
    assert terrain_image(make_terrain("Flat")).any()


def test_the_camera_follows_the_walker() -> None:
    design, terrain = wheel(), make_terrain("Flat")
    rollout = roll_out(design, terrain, record=True)
    assert abs(rollout.displacement) > 20.0
    for image in (next(frames(design, terrain, rollout.trajectory)), last_frame(design, terrain, rollout.trajectory)):
        below_caption = image[70:]
        inside = count(below_caption[:, WIDTH // 10 : -WIDTH // 10], drawing.JOINT)
        assert inside == count(below_caption, drawing.JOINT) > 400


def test_muscles_are_coloured_by_what_their_drive_does() -> None:
    terrain = make_terrain("Flat")

    def first(design: WalkerDesign) -> NDArray[np.uint8]:
        return next(frames(design, terrain, None))[70:]  # below the legend, which shows all colours

    lengthening, shortening = first(triangle(phase=np.pi / 2)), first(triangle(phase=-np.pi / 2))
    still = first(triangle(distance_only=True))
    assert count(lengthening, drawing.LENGTHENING) > 200 > 5 > count(lengthening, drawing.SHORTENING)
    assert count(shortening, drawing.SHORTENING) > 400 > 5 > count(shortening, drawing.LENGTHENING)
    assert count(shortening, drawing.SHORTENING) > 1.3 * count(lengthening, drawing.LENGTHENING), "short ones bulge"
    assert count(still, drawing.LENGTHENING) == count(still, drawing.SHORTENING) == 0


@pytest.mark.parametrize("fault", [0.0, np.nan, np.inf, 1e12])
def test_frames_end_where_the_trajectory_stops_making_sense(fault: float) -> None:
    terrain = make_terrain("Flat")
    trajectory = roll_out(triangle(), terrain, 1.0, record=True).trajectory
    assert trajectory is not None
    trajectory[7:] = fault
    assert len(list(frames(triangle(), terrain, trajectory))) == 7
    trajectory[:] = fault
    (only,) = frames(triangle(), terrain, trajectory)
    assert np.array_equal(only, next(frames(triangle(), terrain, None)))
    assert count(only, drawing.JOINT) > 50, "the walker as it was put down"


def test_a_film_strip_grows_with_its_moments() -> None:
    design, terrain = wheel(), make_terrain("Tunnel")
    short, long = film_strip(design, terrain, n=2), film_strip(design, terrain, n=6)
    check_image(short, short.shape[1], short.shape[0])
    assert long.shape[0] == short.shape[0]
    assert long.shape[1] > 2.5 * short.shape[1]
    panel = long.shape[1] // 6
    for column in range(6):
        assert count(long[:200, column * panel : (column + 1) * panel], drawing.JOINT) > 20
    track = long[210:]
    covered = np.flatnonzero((np.abs(track.astype(int) - drawing.JOINT).max(axis=2) < 120).any(axis=0))
    assert np.ptp(covered) > 0.6 * long.shape[1], "the moments are spread along the way"


def test_moments_are_pictures_from_the_start_to_the_end_of_a_walk() -> None:
    terrain = make_terrain("Flat")
    moments = walk_moments(wheel(), terrain, n=4, duration=3.0, size=(160, 120))
    assert len(moments.images) == len(moments.displacements) == 4
    for image in moments.images:
        check_image(image, 160, 120)
        assert count(image, drawing.JOINT) > 20
    walked = roll_out(wheel(), terrain, 3.0).displacement
    assert moments.displacements[0] == 0.0
    assert moments.displacements[-1] == pytest.approx(walked, abs=0.5)
    assert moments.distance == abs(walked)
    assert moments.fault is None
    with pytest.raises(ValueError, match="at least 2"):
        walk_moments(wheel(), terrain, n=1)


def test_a_film_strip_shows_a_walk_up_to_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = film_strip(triangle(), make_terrain("Flat"), n=3, duration=1.0)

    def fails(*arguments: Any, **settings: Any) -> Rollout:
        rollout = roll_out(*arguments, **settings)
        assert rollout.trajectory is not None
        rollout.trajectory[11:] = 0.0
        return dataclasses.replace(rollout, displacement=0.0, fault="unstable")

    monkeypatch.setattr(film, "roll_out", fails)
    image = film_strip(triangle(), make_terrain("Flat"), n=3, duration=1.0)
    panel = image.shape[1] // 3
    assert count(image[:200, -panel:], drawing.JOINT) > 20, "the last moment is the last that makes sense"
    assert not np.array_equal(image[:200, -panel:], whole[:200, -panel:])


@pytest.mark.parametrize(("arguments", "words"), [({"n": 1}, "at least 2"), ({"duration": 0.0}, "duration")])
def test_bad_film_strips_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        film_strip(triangle(), make_terrain("Flat"), **arguments)


PROGRAM = triangle().to_program()


def test_rgb_array_shows_the_terrain_then_the_end_of_the_walk() -> None:
    env = SodaraceEnv("Tunnel", render_mode="rgb_array", duration=1.0)
    env.reset(seed=0)
    before = env.render()
    assert np.array_equal(before, terrain_image(env.terrain))
    env.step(PROGRAM)
    after = env.render()
    rollout = roll_out(triangle(), env.terrain, 1.0, record=True)
    assert np.array_equal(after, last_frame(triangle(), env.terrain, rollout.trajectory))
    env.reset()
    assert np.array_equal(env.render(), before)
    env.step("no program")
    assert np.array_equal(env.render(), before), "there is no walker to show"


def test_rgb_array_list_hands_out_each_frame_once() -> None:
    env = SodaraceEnv("Flat", render_mode="rgb_array_list", duration=1.0)
    env.reset(seed=0)
    assert len(env.render()) == 1
    assert env.render() == []
    env.step(PROGRAM)
    walk = env.render()
    assert len(walk) == FRAME_RATE + 1
    check_image(walk[-1])
    assert env.render() == []
    env.reset()
    assert len(env.render()) == 1


def test_gymnasium_writes_the_list_as_a_video(tmp_path: Path) -> None:
    from gymnasium.utils.save_video import save_video

    env = SodaraceEnv("Flat", render_mode="rgb_array_list", duration=1.0)
    env.reset(seed=0)
    env.step(PROGRAM)
    save_video(env.render(), str(tmp_path), fps=env.metadata["render_fps"])
    (path,) = tmp_path.iterdir()
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert count == FRAME_RATE + 1
    assert seconds == pytest.approx(count / FRAME_RATE, abs=0.01)


def test_walk_images_are_there_in_every_mode() -> None:
    env = SodaraceEnv("Flat", duration=0.5)
    env.reset(seed=0)
    (before,) = env.walk_images()
    assert np.array_equal(before, terrain_image(env.terrain))
    env.step(PROGRAM)
    walk = env.walk_images()
    assert len(walk) == FRAME_RATE // 2 + 1
    assert all(np.array_equal(first, second) for first, second in zip(walk, env.walk_images(), strict=True))


def test_rendering_without_a_mode_warns_and_returns_nothing() -> None:
    env = SodaraceEnv("Flat", duration=1.0)
    env.reset()
    with pytest.warns(UserWarning, match="rgb_array"):
        assert env.render() is None


def test_drawing_opens_neither_display_nor_sound_and_prints_nothing(tmp_path: Path) -> None:
    code = """
import os
for name in ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER", "DISPLAY", "PYGAME_HIDE_SUPPORT_PROMPT"):
    os.environ.pop(name, None)
import gymnasium as gym, sodarace_gym
env = gym.make("Sodarace-Flat-v0", render_mode="rgb_array", duration=0.5)
env.reset(seed=0)
env.step(env.action_space.sample())
assert env.render().shape == (360, 640, 3)
import pygame
assert not pygame.display.get_init() and pygame.mixer.get_init() is None
env.close()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("draw", [terrain_image, lambda terrain, size: list(frames(triangle(), terrain, None, size))])
def test_too_small_a_picture_is_refused(draw: Any) -> None:
    with pytest.raises(ValueError, match=r"size: expected .* at least 64 pixels, got \(640, 20\)"):
        draw(make_terrain("Flat"), (640, 20))
    check = draw(make_terrain("Flat"), (64, 64))
    assert np.shape(check)[-3:] == (64, 64, 3)


def test_pictures_outlive_a_pygame_that_others_shut_down() -> None:
    """Gymnasium's HumanRendering does so when it is closed; others may start it again."""
    design, terrain = triangle(), make_terrain("Flat")
    for restarted in (False, True):
        trajectory = roll_out(design, terrain, 0.3, record=True).trajectory
        before = last_frame(design, terrain, trajectory)
        pygame.quit()
        if restarted:
            pygame.font.init()
        later = make_terrain("Hills", seed=int(restarted))  # with words that were not written before
        assert terrain_image(later).shape == before.shape
        assert np.array_equal(last_frame(design, terrain, trajectory), before)
