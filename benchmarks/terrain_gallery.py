"""What environments are there? The table of ids, the page about each, and the picture of all terrain families.

Usage: ``python -m benchmarks.terrain_gallery [--write]``. Takes seconds. ``--write`` writes what stands below the mark of
``docs/environments.md`` from the docstrings, and draws ``benchmarks/results/terrain_families.png``.
"""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path

from benchmarks.tables import RESULTS, markdown_table
from sodarace_gym.envs.control import SodaraceControlEnv
from sodarace_gym.envs.env import SodaraceEnv
from sodarace_gym.envs.random_terrain import RandomTerrainEnv
from sodarace_gym.envs.vector import SodaraceVectorEnv
from sodarace_gym.registration import CONTROL_IDS, ENVIRONMENT_IDS, RANDOM_ID
from sodarace_gym.rendering.canvas import pygame
from sodarace_gym.rendering.film import terrain_sheet
from sodarace_gym.terrains.families import FAMILIES
from sodarace_gym.terrains.family import Grade
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import PAPER_FAMILIES
from sodarace_gym.wrappers.box_actions import BoxActions
from sodarace_gym.wrappers.numeric_info import NumericInfo
from sodarace_gym.wrappers.sequential_actions import SequentialActions
from sodarace_gym.wrappers.terrain_image import TerrainImage

PAGE = Path(__file__).parent.parent / "docs" / "environments.md"
PICTURE = RESULTS / "terrain_families.png"
MARK = "<!-- all below this line is written from the docstrings by `python -m benchmarks.terrain_gallery --write` -->"
DRAWN_DIFFICULTY = 0.6
"""Where the families look most like themselves."""


def ids_table() -> str:
    """The table of all ids, Markdown: what each terrain is, and each parameter's values at difficulty 0 and 1."""
    rows = []
    for (environment_id, name), control_id in zip(ENVIRONMENT_IDS.items(), CONTROL_IDS, strict=True):
        family = FAMILIES.get(name)
        described = _first_line(PAPER_FAMILIES[name] if family is None else family)
        grades = {} if family is None else family.grades()
        values = [f"{parameter} {_range(grade)}" for parameter, grade in grades.items()]
        rows.append([f"`{environment_id}`<br>`{control_id}`", described, ", ".join(values)])
    rows.append([f"`{RANDOM_ID}`", _first_line(RandomTerrainEnv), "drawn at each reset"])
    table = markdown_table(["id", "terrain", "difficulty 0 → 1"], rows)
    return table.replace("|---|---:|---:|", "|---|---|---|")


DOCUMENTED: dict[str, type] = {
    "Sodarace-<Terrain>-v0": SodaraceEnv,
    RANDOM_ID: RandomTerrainEnv,
    "gym.make_vec": SodaraceVectorEnv,
    "SodaraceControl-<Terrain>-v0": SodaraceControlEnv,
    "sodarace_gym.BoxActions": BoxActions,
    "sodarace_gym.SequentialActions": SequentialActions,
    "sodarace_gym.TerrainImage": TerrainImage,
    "sodarace_gym.NumericInfo": NumericInfo,
}
"""What the page of environments is about, and where it is documented."""


def version_histories() -> dict[str, dict[str, str]]:
    """What changed with each version of each environment, by its name on the page and then by version, newest first."""
    histories = {}
    for name, documented in DOCUMENTED.items():
        found = _HISTORY.search(inspect.getdoc(documented) or "")
        entries = re.split(r"^\* (v\d+): ", found[1] if found else "", flags=re.MULTILINE)[1:]
        if entries:
            histories[name] = {
                version: " ".join(what.split()) for version, what in zip(entries[::2], entries[1::2], strict=True)
            }
    return histories


def environments_page() -> str:
    """The page's part about every id, version, environment and wrapper, Markdown: their docstrings."""
    versions = [
        [f"[`{name}`](#{_anchor(name)})", version, what]
        for name, history in version_histories().items()
        for version, what in history.items()
    ]
    history = markdown_table(["environment", "version", "what it is, and what has changed"], versions)
    parts = [
        MARK,
        "## All ids",
        ids_table(),
        "## Version history",
        "A change that gives a program another reward on a terrain, or another observation, is a new version of the id; "
        "up to\nversion 1.0 of the package it may be a dated line about v0 instead.",
        history.replace("|---|---:|---:|", "|---|---|---|"),
        "\n".join(f"- [`{name}`](#{_anchor(name)})" for name in DOCUMENTED),
    ]
    for name, documented in DOCUMENTED.items():
        text = inspect.getdoc(documented) or ""
        # From the first of these sections on, docstrings are for readers of Python; the versions stand in the table above.
        text = re.split(r"^(?:Example|Args|Attributes|Raises):$", text, maxsplit=1, flags=re.MULTILINE)[0].strip()
        text = _HISTORY.sub("", text)
        parts += [f"## `{name}`", re.sub("^## ", "### ", text, flags=re.MULTILINE)]
    return "\n\n".join(parts) + "\n"


_HISTORY = re.compile(r"^## Version History\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def _anchor(heading: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _range(grade: Grade) -> str:
    return f"{grade.easy:g}" if grade.easy == grade.hard else f"{grade.easy:g} → {grade.hard:g}"


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").splitlines()[0].rstrip(".")


def page_with(generated: str, text: str) -> str:
    """The page's text with what is generated from its mark on, and what was written by hand before it.

    Raises:
        ValueError: The mark is not there, or more than once.
    """
    if text.count(MARK) != 1:
        raise ValueError(f"docs/environments.md: expected the line {MARK!r} once.")
    return text[: text.index(MARK)] + generated


def draw_families(path: Path = PICTURE) -> None:
    """Draws all families, the paper's five first, and writes the picture."""
    terrains = [make_terrain(name) for name in PAPER_FAMILIES]
    terrains += [make_terrain(name, seed=0, difficulty=DRAWN_DIFFICULTY) for name in FAMILIES]
    image = terrain_sheet(terrains)
    path.parent.mkdir(exist_ok=True)
    pygame.image.save(pygame.image.frombuffer(image.tobytes(), (image.shape[1], image.shape[0]), "RGB"), str(path))


def main() -> None:
    """Prints the table and optionally writes table, page and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the page and the picture")
    options = parser.parse_args()
    print(ids_table())
    if options.write:
        PAGE.write_text(page_with(environments_page(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        draw_families()


if __name__ == "__main__":
    main()
