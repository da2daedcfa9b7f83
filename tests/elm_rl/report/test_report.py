"""The report of a run that an older version wrote, or that has lost some of its files: never an error, and said in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elm_rl.errors import ElmError
from elm_rl.evolution.map_elites import EvolveConfig
from elm_rl.evolution.stage import run_evolve
from elm_rl.report import ReportConfig, run_report
from elm_rl.report.figures import MISSING
from elm_rl.report.page import write_page
from elm_rl.runs.run_directory import read_json, read_jsonl, to_json, write_json, write_text

HEADINGS = [
    "## Stage 1: evolution",
    "## Stage 2: a language model of walkers",
    "## Stage 3: the right walker for the terrain",
    "## The best walker of stage 3 on each terrain",
    "## How it was made",
]
UPDATES = [
    {"update": 0, "validation": {"mean": 3.0, "designs": 0.9}, "kept": True},
    {"update": 1, "kl": 0.1, "distance": 3.0, "validation": {"mean": 3.5, "designs": 0.8}, "kept": True},
    {"update": 2, "kl": 0.2, "distance": 4.0, "validation": {"mean": 4.5, "designs": 0.7}, "kept": True},
]

Keys = tuple[Any, ...]


def keys_of(value: Any, above: Keys = ()) -> Iterator[Keys]:
    """Every key of every mapping in a value, at any depth, as the way to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*above, key)
            yield from keys_of(inner, (*above, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from keys_of(inner, (*above, index))


def without(value: Any, keys: Keys) -> Any:
    """A copy that lacks one key; what is not on the way to it is shared."""
    changed = value.copy()
    if len(keys) > 1:
        changed[keys[0]] = without(value[keys[0]], keys[1:])
    else:
        del changed[keys[0]]
    return changed


def report(run: Path, summary: Any) -> str:
    write_json(run / "summary.json", summary)
    return run_report(ReportConfig(run=run)).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full(repository: Path) -> dict[str, Any]:
    """What a whole run of the preset demo came to."""
    return read_json(repository / "benchmarks" / "results" / "demo" / "summary.json")


@pytest.fixture(scope="module")
def small(full: dict[str, Any]) -> dict[str, Any]:
    """The same with a single film, because films take their time."""
    best = full["stage3"]["best_programs"]
    return full | {"stage3": full["stage3"] | {"best_programs": {"Tunnel": best["Tunnel"]}}}


@pytest.fixture(scope="module")
def evolution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of evolution. Read only."""
    out = tmp_path_factory.mktemp("evolution") / "run"
    run_evolve(EvolveConfig(out=out, iterations=2, batch_size=8, duration=1.0, n_jobs=1, progress=False))
    return out


# --- the page ---------------------------------------------------------------------------------------------------------


def test_a_whole_summary_leaves_nothing_open(full: dict[str, Any]) -> None:
    page = write_page(full, {})
    assert [line for line in page.splitlines() if line.startswith("## ")] == HEADINGS
    assert MISSING not in page
    assert "not known" not in page
    assert "Not recorded" not in page


def test_the_page_is_written_whatever_the_summary_lacks(full: dict[str, Any]) -> None:
    whole = write_page(full, {})
    ways = list(keys_of(full))
    assert ("stage3", "conditional_support_percent") in ways
    assert ("stage1", "phases", 0, "operators", "gp", "valid_percent") in ways
    unused = 0
    for way in ways:
        page = write_page(without(full, way), {})
        assert [line for line in page.splitlines() if line.startswith("## ")] == HEADINGS, way
        assert "None" not in page, way
        unused += page == whole
    assert unused < len(ways) / 2, "most of what is recorded can be read on the page"


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (("stage3", "conditional_support_percent"), "is conditional, but whether that is luck was not measured"),
        (("stage3", "conditional_support_percent"), "stage 3 (PPO): diagonal, and never resampled"),
        (("stage3", "conditional", "stage3"), "Whether the policy is conditional is not known"),
        (("stage3", "generators", "stage2", "Tunnel", "mean"), "Whether stage 3 is better than stage 2 is not known"),
        (("stage1", "archives", "square", "qd_score"), f"| {MISSING} |"),
        (("stage1", "admitted"), f"{MISSING} programs admitted"),
        (("stage1", "phases"), "Not recorded by this run."),
        (("stage2", "quality"), "Not recorded by this run."),
        (("stage3", "best_programs"), "Not recorded by this run."),
        (("timing",), "Not recorded by this run."),
        (("versions",), f"Versions: {MISSING}."),
    ],
)
def test_what_is_missing_is_said_in_words(full: dict[str, Any], way: Keys, words: str) -> None:
    assert words not in write_page(full, {})
    page = write_page(without(full, way), {})
    assert words in page
    assert (f"{MISSING} stands for" in page) == (page.count(MISSING) > 0)


def test_it_says_which_policy_was_kept(full: dict[str, Any]) -> None:
    training = {
        "rank_gradient": {"updates": 10, "start": {"update": 0, "mean": 64.9}, "kept": {"update": 8, "mean": 71.5}},
        "finetuned": {
            "updates": 5,
            "stopped": "collapsed",
            "start": {"update": 0, "mean": 71.5},
            "kept": {"update": 0, "mean": 71.5},
        },
    }
    page = write_page(full | {"stage3": full["stage3"] | {"training": training}}, {})
    assert "rank policy gradient: of 10 updates number 8 was the best (71.5 units; its start 64.9)." in page
    assert (
        "stage 3 (PPO): none of 5 updates was better than its start (71.5 units), which was kept. It ended early: too few "
        "of its samples were different walkers."
    ) in page
    assert page.count("ended early") == 1


def test_terrains_are_known_without_their_list(full: dict[str, Any]) -> None:
    assert write_page(without(full, ("stage3", "terrains")), {}) == write_page(full, {})


# --- the pictures -----------------------------------------------------------------------------------------------------


def test_a_run_of_before_the_resampling_gets_its_report(small: dict[str, Any], evolution: Path, tmp_path: Path) -> None:
    shutil.copytree(evolution, tmp_path / "evolution")
    for name in small["stage3"]["training"]:
        write_text(tmp_path / name / "metrics.jsonl", "".join(to_json(record) + "\n" for record in UPDATES))
    page = report(tmp_path, without(small, ("stage3", "conditional_support_percent")))
    assert "No picture" not in page
    for name in ("archives", "evolution", "matrices", "film_Tunnel", "training"):
        assert f"(report/{name}.png)" in page
        assert (tmp_path / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_is_written_whatever_its_pictures_lack(small: dict[str, Any], tmp_path: Path) -> None:
    # There is no folder of any stage either.
    ways = [("stage1",), ("stage2",), ("stage3",)]
    ways += [("stage3", key) for key in ("terrains", "generators", "matrices", "best_programs", "training")]
    ways += [("stage3", "matrices", "stage3"), ("stage3", "best_programs", "Tunnel", "program")]
    ways += [("stage3", "best_programs", "Tunnel", "distance")]
    for number, way in enumerate(ways):
        (tmp_path / str(number)).mkdir()
        page = report(tmp_path / str(number), without(small, way))
        assert all(heading in page for heading in HEADINGS), way
        assert "admitted.jsonl' does not exist" in page


def test_curves_are_drawn_from_lines_that_lack_something(
    small: dict[str, Any], evolution: Path, tmp_path: Path
) -> None:
    (name, *_) = small["stage3"]["training"]
    summary = small | {"stage3": small["stage3"] | {"training": {name: {}}, "best_programs": {}, "matrices": {}}}
    lines = list(read_jsonl(evolution / "metrics.jsonl"))
    of_evolution = ["iteration", "evaluations", "niches", "qd_score", "best"]
    of_updates = [("update",), ("kl",), ("distance",), ("validation",), ("validation", "mean")]
    for key, way in zip(of_evolution, of_updates, strict=True):
        for folder, records in (
            ("evolution", [*lines[:-1], without(lines[-1], (key,))]),
            (name, [UPDATES[0], without(UPDATES[1], way), UPDATES[2]]),
        ):
            write_text(tmp_path / folder / "metrics.jsonl", "".join(to_json(record) + "\n" for record in records))
        page = report(tmp_path, summary)
        assert "(report/evolution.png)" in page, key
        assert "(report/training.png)" in page, way


@pytest.mark.parametrize(
    ("best", "words"),
    [
        ({"Moon": {"distance": 3.0, "program": "pass"}}, "no_make_walker"),
        ({"Tunnel": {"distance": 3.0}}, "its program was not recorded"),
        ({"Tunnel": {"distance": 0.0, "program": "pass"}}, "no walker of stage 3 moved"),
    ],
)
def test_a_film_that_cannot_be_made_is_explained(
    small: dict[str, Any], tmp_path: Path, best: dict[str, Any], words: str
) -> None:
    assert words in report(tmp_path, small | {"stage3": small["stage3"] | {"best_programs": best}})


def test_maps_of_another_version_are_explained(small: dict[str, Any], evolution: Path, tmp_path: Path) -> None:
    records = list(read_jsonl(evolution / "admitted.jsonl"))
    del records[0]["height"]
    write_text(tmp_path / "evolution" / "admitted.jsonl", "".join(to_json(record) + "\n" for record in records))
    assert "(No picture: Line 1 of admitted.jsonl was not written by this version" in report(tmp_path, small)


@pytest.mark.parametrize("summary", [[], {}, {"preset": "demo", "seed": 0}])
def test_what_is_no_summary_of_a_pipeline_is_refused(summary: Any, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(ElmError, match="stage1, stage2, stage3"):
        run_report(ReportConfig(run=tmp_path))


def test_the_folder_of_a_stage_is_refused(evolution: Path, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_bytes((evolution / "summary.json").read_bytes())
    with pytest.raises(ElmError, match="not the folder of one of its stages"):
        run_report(ReportConfig(run=tmp_path))


def test_a_report_links_the_page_of_walks_or_says_why_there_is_none(
    small: dict[str, Any], evolution: Path, tmp_path: Path
) -> None:
    assert "(No page of walks: the run's evolution is not here.)" in report(tmp_path, small)
    shutil.copytree(evolution, tmp_path / "evolution")
    assert "[index.html](index.html)" in report(tmp_path, small)
    assert (tmp_path / "index.html").is_file()
    (tmp_path / "evolution" / "admitted.jsonl").write_text('{"id": 0}\n', encoding="ascii")
    assert "(No page of walks: A record of" in report(tmp_path, small)
