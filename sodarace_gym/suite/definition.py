"""What is measured: the frozen definition of the suite, read from the file beside this module.

Two results can be compared if they have the same version. The file says itself when its version changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from sodarace_gym.suite.errors import SuiteError
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.terrains.texts import terrain_from_text

DEFINITION_FILE = "definition.json"


@dataclass(frozen=True)
class SuiteTerrain:
    """A terrain that generators are measured on.

    Attributes:
        text: What names it, for :func:`sodarace_gym.terrains.texts.terrain_from_text`.
        group: The group it belongs to.
        ground: 16 hexadecimal digits that tell grounds apart, see :func:`ground_digest`.
        reference: The distance that counts as 1 on it, walker units.
    """

    text: str
    group: str
    ground: str
    reference: float

    def terrain(self) -> Terrain:
        """Makes the terrain.

        Raises:
            SuiteError: This version of the package makes another ground of the text.
        """
        made = terrain_from_text(self.text)
        if ground_digest(made) != self.ground:
            raise SuiteError(
                f"'{self.text}' is another ground than the suite was defined with, so that distances on it cannot be compared "
                "with others; install the version of sodarace-gym that the results were made with."
            )
        return made


@dataclass(frozen=True)
class Definition:
    """A version of the suite.

    Attributes:
        version: Its name.
        digest: 16 hexadecimal digits of the whole file.
        budgets: Evaluations a task, in rising order.
        seeds: Seeds of the repetitions.
        seen_copies: Perturbed copies that walk with every evaluated walker; their least distance is what generators see.
        judged_copies: Perturbed copies by which the best walkers are judged in the end.
        duration: Simulated seconds of a walk.
        behaviour: Widths of the bins that tell behaviours apart: displacement, ground share, mean height.
        groups: What each group of terrains asks, by name.
        terrains: All terrains, group by group.
        references: How the reference distances came about.
        rules: What entrants hold themselves to, and when the version changes.
    """

    version: str
    digest: str
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    seen_copies: int
    judged_copies: int
    duration: float
    behaviour: tuple[float, float, float]
    groups: Mapping[str, str]
    terrains: tuple[SuiteTerrain, ...]
    references: Mapping[str, Any]
    rules: Mapping[str, str]

    def of(self, text: str) -> SuiteTerrain:
        """The terrain of a text.

        Raises:
            SuiteError: The suite has no such terrain.
        """
        for terrain in self.terrains:
            if terrain.text == text:
                return terrain
        raise SuiteError(f"The suite has no terrain '{text}'; `python -m sodarace_gym.suite list` shows those it has.")

    def chosen(self, texts: Sequence[str] = (), groups: Sequence[str] = ()) -> list[SuiteTerrain]:
        """The terrains that are named, or those of the groups that are named, or all.

        Raises:
            SuiteError: The suite has no such terrain or group.
        """
        for group in groups:
            if group not in self.groups:
                raise SuiteError(f"The suite has no group '{group}'; it has {', '.join(self.groups)}.")
        wanted = {self.of(text).text for text in texts}
        if not texts and not groups:
            return list(self.terrains)
        return [each for each in self.terrains if each.text in wanted or each.group in groups]


def ground_digest(terrain: Terrain) -> str:
    """16 hexadecimal digits that tell grounds apart; coordinates count to a millionth, so that machines agree."""
    digest = hashlib.blake2b(digest_size=8)
    for line in _lines(terrain):
        digest.update(len(line).to_bytes(8, "big"))
        digest.update(line)
    return digest.hexdigest()


def _lines(terrain: Terrain) -> Iterator[bytes]:
    for line in (terrain.floor, terrain.ceiling):
        # Adding 0 makes -0 the same as 0.
        yield b"" if line is None else (np.round(np.asarray(line, dtype=np.float64), 6) + 0.0).tobytes()


def parse_definition(text: str) -> Definition:
    """Reads a definition from the text of its file.

    Raises:
        SuiteError: It is no definition.
    """
    try:
        content = json.loads(text)
        bins = content["behaviour_bins"]
        return Definition(
            version=content["version"],
            digest=hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
            budgets=tuple(content["budgets"]),
            seeds=tuple(content["seeds"]),
            seen_copies=content["copies"]["seen"],
            judged_copies=content["copies"]["judged"],
            duration=content["duration"],
            behaviour=(bins["displacement"], bins["ground_share"], bins["mean_height"]),
            groups=content["groups"],
            terrains=tuple(SuiteTerrain(**terrain) for terrain in content["terrains"]),
            references=content["references"],
            rules=content["rules"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise SuiteError(f"This is no definition of the suite ({type(error).__name__}: {error}).") from None


@lru_cache
def load_definition() -> Definition:
    """The definition that this version of the package ships."""
    return parse_definition((files(__package__) / DEFINITION_FILE).read_text(encoding="utf-8"))
