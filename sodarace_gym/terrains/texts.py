"""A terrain as people write it on a command line: a name with settings, or a file."""

from __future__ import annotations

from pathlib import Path

from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain


def terrain_from_text(text: str) -> Terrain:
    """Makes the terrain that a text names.

    Args:
        text: The name of a family, with its settings behind commas, as in ``"Hills,difficulty=0.7,seed=3"`` (seed, difficulty
            and the family's own parameters), or the path of a JSON file that :meth:`Terrain.save` has written, ending in
            ``.json``.

    Raises:
        ValueError: The family or a setting is unknown or out of range, or the file cannot be read or holds no terrain.
    """
    if text.endswith(".json"):
        try:
            return Terrain.load(Path(text))
        except OSError as error:
            raise ValueError(
                f"terrain: '{text}' cannot be read ({error.strerror}); expected a JSON file of a terrain."
            ) from None
    name, *settings = text.split(",")
    seed, numbers = 0, {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        try:
            if not equals or key == "name":
                raise ValueError
            if key == "seed":
                seed = int(value)
            else:
                numbers[key] = float(value)
        except ValueError:
            raise ValueError(
                f"terrain: {text!r} has {setting!r}; expected a setting with a number, such as difficulty=0.7 or seed=3."
            ) from None
    return make_terrain(name.strip(), seed, numbers.pop("difficulty", None), **numbers)
