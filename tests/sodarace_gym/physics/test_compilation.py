"""Machine code on disk: kept while nothing changes, and never older than any source it was made from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

# Preparing a terrain takes seconds to compile where a roll-out takes most of a minute; all machine code is kept alike. It uses
# compiled code of another module, as most of the engine does.
PROBE = """
import json
import subprocess
import sys
from sodarace_gym.physics import solid, surfaces
from sodarace_gym.physics.engine import ground
from sodarace_gym.terrains import making

prepared = solid.solid_of(making.make_terrain("Bumpy")).ground
print(json.dumps({
    "compiled": [
        name
        for module in (ground, surfaces)
        for name, function in vars(module).items()
        if hasattr(function, "stats") and function.stats.cache_misses
    ],
    "boxes": prepared.segments[:, ground.LEFT].sum(),
    "open": prepared.open[:, 0].max(),
}))
subprocess.run([sys.executable, "-c", "import sodarace_gym.physics.rollout"], check=True)  # as workers are started
"""


def probe(folder: Path) -> dict[str, Any]:
    """What preparing a terrain does in a process that imports the package from this folder."""
    found, _ = probe_with_messages(folder, folder, {})
    return found


def probe_with_messages(packages: Path, folder: Path, settings: dict[str, str]) -> tuple[dict[str, Any], str]:
    """The same, of packages in another folder or an archive, and what the process wrote to its standard error."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "SODARACE_", "XDG_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(packages)} | settings,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def compiled_once(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("package")
    without_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "sodarace_gym", folder / "sodarace_gym", ignore=without_caches)
    return folder, probe(folder)


def test_unchanged_sources_are_not_compiled_again(compiled_once: tuple[Path, dict[str, Any]]) -> None:
    folder, first = compiled_once
    assert {"tree_order", "open_heights"} <= set(first["compiled"])
    assert probe(folder) == first | {"compiled": []}


@pytest.mark.parametrize(
    ("module", "text", "replacement", "changed"),
    [
        ("engine/ground", "min(ax, bx) - radius", "min(ax, bx) - radius - 7.0", "boxes"),
        ("surfaces", "return float(line[low, 1] +", "return float(1000.0 + line[low, 1] +", "open"),
    ],
    ids=["its own", "another module's"],
)
def test_a_changed_source_is_compiled_anew_wherever_it_is_used(
    compiled_once: tuple[Path, dict[str, Any]], tmp_path: Path, module: str, text: str, replacement: str, changed: str
) -> None:
    folder, before = compiled_once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)  # with what is cached there
    source = tmp_path / "sodarace_gym" / "physics" / f"{module}.py"
    old = source.read_text(encoding="utf-8")
    assert text in old
    source.write_text(old.replace(text, replacement), encoding="utf-8")

    after = probe(tmp_path)

    assert set(after["compiled"]) == set(before["compiled"])
    assert [key for key in ("boxes", "open") if after[key] != before[key]] == [changed]


DIGESTS = """
import json
import pathlib
import sys
from sodarace_gym.physics import compilation

digests = {"nothing": compilation._digest_of_the_room()}
for source in sorted(pathlib.Path(compilation.__file__).parent.rglob("*.py")):
    text = source.read_text(encoding="utf-8")
    source.write_text(text + "# changed", encoding="utf-8")
    digests[source.stem] = compilation._digest_of_the_room()
    source.write_text(text, encoding="utf-8")
digests["nothing again"] = compilation._digest_of_the_room()
print(json.dumps(digests))
"""


def test_every_source_of_the_room_counts(compiled_once: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = compiled_once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    digests = json.loads(done.stdout)
    unchanged = digests.pop("nothing")
    assert digests.pop("nothing again") == unchanged
    assert {"constants", "world", "surfaces", "contacts", "springs", "vectors", "rolling", "driving"} <= set(digests)
    assert unchanged not in digests.values()
    assert len(set(digests.values())) == len(digests)


def test_the_whole_engine_is_kept_too(repository: Path) -> None:
    """Where it was compiled once, as it is by now or by the first of these two, a process only loads it."""
    code = """
from sodarace_gym.physics import batch
from sodarace_gym.physics.engine import driving, rolling
from sodarace_gym.physics.control import ControlledWorld

assert batch.engine_agrees()
ControlledWorld(batch.world_arrays(batch._check_walkers()[0], batch._check_terrains()[0], 1.0), batch.CONSTANTS)
print(sum(function.stats.cache_misses[kind] for function in (rolling.roll_out_many, driving.settle, driving.advance)
          for kind in function.stats.cache_misses))
"""
    missed = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=600, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert missed[1] == "0"


# Tests may run as root, whom no permission stops: a folder that is a file, or one under it, fails for everybody.


@pytest.fixture
def not_a_folder(tmp_path: Path) -> Path:
    path = tmp_path / "not a folder"
    path.write_text("")
    return path


def test_without_a_folder_to_write_to_code_is_compiled_uncached_with_one_warning(
    compiled_once: tuple[Path, dict[str, Any]], tmp_path: Path, not_a_folder: Path
) -> None:
    folder, expected = compiled_once
    installed = tmp_path / "installed"
    shutil.copytree(folder, installed, ignore=shutil.ignore_patterns("__pycache__"))
    for package in [path.parent for path in installed.rglob("__init__.py")]:
        (package / "__pycache__").write_text("")

    found, messages = probe_with_messages(installed, tmp_path, {"HOME": str(not_a_folder)})

    assert found == expected
    assert messages.count("Warning") == 1, messages
    assert "RuntimeWarning: compiled code cannot be kept on disk" in messages
    assert "NUMBA_CACHE_DIR" in messages


def test_an_archive_and_an_unwritable_home_are_no_obstacle_either(
    compiled_once: tuple[Path, dict[str, Any]], tmp_path: Path, not_a_folder: Path
) -> None:
    folder, expected = compiled_once
    archive = tmp_path / "packages.zip"  # of which numba notices only when it writes that it cannot
    with zipfile.ZipFile(archive, "w") as packed:
        for path in (folder / "sodarace_gym").rglob("*.py"):
            packed.write(path, path.relative_to(folder))

    found, messages = probe_with_messages(archive, tmp_path, {"HOME": str(not_a_folder)})

    assert found == expected
    assert messages.count("Warning") == 1, messages
    assert "NUMBA_CACHE_DIR" in messages


@pytest.mark.parametrize("damaged", ["*.nbi", "*.nbc"], ids=["indices", "machine code"])
def test_files_cut_short_are_replaced(compiled_once: tuple[Path, dict[str, Any]], tmp_path: Path, damaged: str) -> None:
    folder, expected = compiled_once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)  # with what is cached there
    files = list(tmp_path.rglob(damaged))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:200])  # as a machine that lost its power leaves them

    assert probe_with_messages(tmp_path, tmp_path, {}) == (expected, "")
    assert probe(tmp_path) == expected | {"compiled": []}
