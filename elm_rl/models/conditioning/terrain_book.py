"""The terrains that a policy has been asked about, by number: the ids of a prompt name a terrain by its number here."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import torch

from elm_rl.errors import ConfigError
from elm_rl.runs.setting_checks import named_terrain
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import PROFILE_MAX_HEIGHT, Terrain
from sodarace_gym.terrains.texts import terrain_from_text

IMAGE_SIZE = (128, 64)
"""Width and height of the images that an encoder looks at, pixels: 0.75 units each."""


class TerrainBook:
    """Numbers terrains as they are asked for, and shows them to an encoder.

    A policy, its critic and its reference share one: a copy of a model has the book of the model, or the ids of a terrain that
    is met later would mean different things to them.

    Args:
        terrains: Those that are known from the beginning with the texts that name them, numbered in this order.
        closed: Whether there will never be others, as for codes that are learnt one by one.
    """

    def __init__(self, terrains: Iterable[tuple[str, Terrain]] = (), *, closed: bool = False) -> None:
        self._terrains: list[Terrain] = []
        self._texts: list[str] = []
        self._numbers: dict[tuple[bytes, bytes], int] = {}
        self._asked: dict[str, int] = {}  # numbers by text; an object's name may name another terrain of its family
        self._profiles: list[np.ndarray] = []
        self._images: dict[int, np.ndarray] = {}
        self._closed = False
        for text, terrain in terrains:
            number = self._add(text, terrain)
            if _means(text, terrain):
                self._asked[text] = number
        self._closed = closed

    def __deepcopy__(self, memo: dict[int, Any]) -> TerrainBook:
        return self

    def __len__(self) -> int:
        return len(self._terrains)

    def __getitem__(self, number: int) -> Terrain:
        return self._terrains[number]

    @property
    def texts(self) -> list[str]:
        """What names the terrains, in order; for one that came as an object, its own name."""
        return self._texts[:]

    def number(self, terrain: Terrain | str) -> int:
        """The number of a terrain, or of the one that a text names; a new one gets the next number.

        Raises:
            ConfigError: The text names none, or the terrain is not among those that a closed book knows.
        """
        if isinstance(terrain, str):
            if terrain in self._asked:
                return self._asked[terrain]
            if self._closed:
                raise self._unknown(terrain)
        made = named_terrain(terrain) if isinstance(terrain, str) else terrain
        found = self._numbers.get(made.key)
        if found is None:
            if self._closed:
                raise self._unknown(made.name)
            found = self._add(terrain if isinstance(terrain, str) else made.name, made)
        if isinstance(terrain, str):
            self._asked[terrain] = found
        return found

    def _add(self, text: str, terrain: Terrain) -> int:
        number = self._numbers[terrain.key] = len(self._terrains)
        self._terrains.append(terrain)
        self._texts.append(text)
        profile = terrain.profile()
        self._profiles.append(np.stack([profile["floor"], profile["ceiling"]]) / PROFILE_MAX_HEIGHT)
        return number

    def _unknown(self, terrain: str) -> ConfigError:
        if terrain in self._texts:
            return ConfigError(
                f"{terrain!r} names another terrain than the one of that name which the model learnt; ask with that Terrain."
            )
        return ConfigError(
            f"The model knows the terrains {', '.join(self._texts)}, but got {terrain!r}; use one of these, or train a policy "
            "that looks at terrains (terrain_encoder profile, image or text)."
        )

    def profiles(self, numbers: torch.Tensor) -> torch.Tensor:
        """Floor and ceiling of terrains (n,): (n, 2, PROFILE_POINTS), between -1 and 1."""
        found = np.stack([self._profiles[number] for number in numbers.tolist()])
        return torch.from_numpy(found).to(numbers.device)

    def images(self, numbers: torch.Tensor) -> torch.Tensor:
        """Terrains (n,) less flat ground: (n, 1, height, width); 1 where only they are solid, -1 where only it is."""
        return torch.from_numpy(np.stack([self._image(number) for number in numbers.tolist()])).to(numbers.device)

    def _image(self, number: int) -> np.ndarray:
        if number not in self._images:
            self._images[number] = (_solid(self._terrains[number]) - _solid_where_flat())[None]
        return self._images[number]


def _means(text: str, terrain: Terrain) -> bool:
    """Whether a text names this terrain; one that cannot be made here, of a file that lies elsewhere, is believed."""
    try:
        return terrain_from_text(text).key == terrain.key
    except ValueError:
        return True


def _solid(terrain: Terrain) -> np.ndarray:
    """What is solid (1) and what is open (0) of a terrain, (height, width)."""
    # Imported when it is needed: pictures need pygame, and models that look at profiles do not.
    from sodarace_gym.rendering.film import terrain_observation

    image = terrain_observation(terrain, IMAGE_SIZE).mean(axis=-1)
    light, dark = float(image.max()), float(image.min())
    solid = (light - image) / max(light - dark, 1.0)
    return solid.astype(np.float32)


@cache
def _solid_where_flat() -> np.ndarray:
    return _solid(make_terrain("Flat"))
