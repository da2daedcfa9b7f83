"""Machine code on disk: kept while nothing changes, and never older than any source it was made from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sodarace_gym.physics.chipmunk import compiled_calls_supported

pytestmark = pytest.mark.skipif(not compiled_calls_supported(), reason="this platform uses the plain loop")

# A driven world uses compiled code of three modules besides its own.
PROBE = """
import json
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
"""


def probe(folder: Path) -> dict[str, Any]:
    """What a driven world does in a process that imports the package from this folder."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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
