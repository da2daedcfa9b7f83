"""The examples run as a reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg


def test_the_quickstart_films_a_walker_of_the_readers_own(repository: Path, tmp_path: Path) -> None:
    script = repository / "examples" / "quickstart.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 30
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = re.fullmatch(r"distance (\d+\.\d), error: None\n", done.stdout)
    assert found is not None, done.stdout
    assert float(found[1]) > 1.0, "it walks"
    (video,) = (tmp_path / "videos").iterdir()
    assert imageio_ffmpeg.count_frames_and_secs(str(video))[0] == 201
