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

from sodarace_gym.physics.chipmunk import compiled_calls_supported

pytestmark = pytest.mark.skipif(not compiled_calls_supported(), reason="this platform uses the plain loop")

# A driven world uses compiled code of three modules besides its own.
PROBE = """
import json
import subprocess
import sys
import numpy as np
from sodarace_gym.physics import control, rollout, stepping
from sodarace_gym.programs import program
from sodarace_gym.terrains import making
from sodarace_gym.walkers import library

design, _ = program.compile_program(library.load_walker("square"))
arrays = rollout.world_arrays(design, making.make_terrain("Bumpy"), 0.5)  # not all in the open
world = control.ControlledWorld(arrays, rollout.CONSTANTS, plain=False)
settled = world.fault
world.advance(np.tile(world.rest_lengths, (10, 1)))
print(json.dumps({
    "compiled": [
        name
        for module in (stepping, control)
        for name, function in vars(module).items()
        if hasattr(function, "stats") and function.stats.cache_misses
    ],
    "centre": world.centre,
    "velocities": np.abs(world.motion[:, 2:]).max(),
    "faults": [settled, world.fault],
}))
subprocess.run([sys.executable, "-c", "import sodarace_gym.physics.rollout"], check=True)  # as workers are started
"""


def probe(folder: Path) -> dict[str, Any]:
    """What a driven world does in a process that imports the package from this folder."""
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
    assert "_advance" in first["compiled"]
    assert probe(folder) == first | {"compiled": []}


@pytest.mark.parametrize(
    ("module", "text", "replacement", "changed"),
    [
        ("stepping", "return total / len(bodies)", "return total / len(bodies) + 1000.0", {"centre"}),
        ("surfaces", "return y < below - depth", "return y > -1e9 or y < below - depth", {"faults"}),
        ("chipmunk", '_foreign("cpBodyGetVelocity")', '_foreign("cpBodyGetPosition")  # !', {"faults", "velocities"}),
    ],
    ids=["stepping", "surfaces", "chipmunk"],
)
def test_a_changed_source_is_compiled_anew_wherever_it_is_used(
    compiled_once: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    module: str,
    text: str,
    replacement: str,
    changed: set[str],
) -> None:
    folder, before = compiled_once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)  # with what is cached there
    source = tmp_path / "sodarace_gym" / "physics" / f"{module}.py"
    old = source.read_text(encoding="utf-8")
    assert text in old
    source.write_text(old.replace(text, replacement, 1), encoding="utf-8")

    after = probe(tmp_path)

    assert "_advance" in after["compiled"]
    assert {key for key in ("centre", "velocities", "faults") if after[key] != before[key]} >= changed
    if module == "surfaces":
        assert after["faults"] == ["escaped", "escaped"], "while settling and while being driven"


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
