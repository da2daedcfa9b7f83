"""A small real run, with texts in it that would do harm to a page that took them for more than text."""

from __future__ import annotations

from pathlib import Path

import pytest

from elm_rl.evolution.map_elites import EvolveConfig
from elm_rl.evolution.stage import run_evolve
from elm_rl.report.viewer.site import write_site
from elm_rl.runs.children_file import CHILDREN_FILE
from elm_rl.runs.run_directory import ADMITTED_FILE, read_jsonl, to_json
from tests.elm_rl.report.viewer.copied_run import HOSTILE


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of evolution with two archives, whose best elite has a hostile program and message. Read only."""
    out = tmp_path_factory.mktemp("evolution") / "run"
    run_evolve(
        EvolveConfig(
            out=out,
            seeds=("square", "radial"),
            operators=("gp",),
            iterations=6,
            batch_size=32,
            duration=2.0,
            n_jobs=1,
            progress=False,
        )
    )
    lines = list(read_jsonl(out / ADMITTED_FILE))
    best = max((line for line in lines if line["parent"] is not None), key=lambda line: line["fitness"])
    best["program"] = f"# {HOSTILE}\n{best['program']}"
    best["message"] = best["operator"] = HOSTILE
    (out / ADMITTED_FILE).write_text("".join(to_json(line) + "\n" for line in lines), encoding="ascii")
    assert (out / CHILDREN_FILE).is_file()
    return out


@pytest.fixture(scope="session")
def site(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page, with a benchmark's table."""
    table = tmp_path_factory.mktemp("tables") / "scores.md"
    table.write_text(
        f"# Scores\n\n| generator | mean |\n|---|---:|\n| {HOSTILE.replace('|', '/')} | **1.5** |\n", encoding="utf-8"
    )
    return write_site(run, tables=[table])
