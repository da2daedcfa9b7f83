"""Who descends from whom: read from runs that go on, told in words that no terminal obeys, and drawn row by row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elm_rl.cli import main
from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution import EvolveConfig, run_evolve
from elm_rl.mutation.patch import apply_unified_diff
from elm_rl.report.ancestry import Choice, Generation, most_telling, parse_choice, read_lineage
from elm_rl.report.lineage import LineageConfig, describe, run_lineage
from elm_rl.runs.run_directory import read_jsonl, write_text
from elm_rl.runs.run_lock import run_lock

WALKER = """def make_walker():
    wc = walker_creator()
    a = wc.add_joint(0, 0)
    b = wc.add_joint(5, 0)
    c = wc.add_joint(2, {})
    wc.add_muscle(a, b)
    wc.add_muscle(b, c, False, 4.0, 0.0)
    wc.add_muscle(c, a)
    return wc.get_walker()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of evolution."""
    out = tmp_path_factory.mktemp("evolution") / "run"
    settings: dict[str, Any] = {"seeds": ("square", "radial"), "batch_size": 24, "duration": 1.0, "n_jobs": 1}
    run_evolve(EvolveConfig(out=out, iterations=8, progress=False, **settings))
    return out


def write_run(folder: Path, parents: Sequence[int | None], fitness: Sequence[float], extra: Any = ()) -> Path:
    """A run whose records descend as told, all of niche 7."""
    write_text(folder / "config.json", json.dumps({"terrain": "Flat", "duration": 0.5}))
    records = [
        {
            "id": identity, "archive": "square", "iteration": identity, "program": WALKER.format(3 + identity),
            "parent": parent, "operator": "seed" if parent is None else "gp", "message": "", "fitness": value, "niche": 7,
            **dict(extra),
        }
        for identity, (parent, value) in enumerate(zip(parents, fitness, strict=True))
    ]  # fmt: skip
    write_text(folder / "admitted.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    return folder


def generations(fitness: Sequence[float]) -> list[Generation]:
    """A lineage with these fitnesses."""
    return [
        Generation(
            number=number,
            record={"id": number, "fitness": value},
            before=max(fitness[:number], default=0.0),
            change=value - fitness[number - 1] if number else 0.0,
            parent_program=None,
        )
        for number, value in enumerate(fitness)
    ]


# --- who descends from whom -------------------------------------------------------------------------------------------


def test_every_lineage_of_a_run_leads_from_a_seed_to_the_record_by_the_diffs_told(run: Path) -> None:
    records = list(read_jsonl(run / "admitted.jsonl"))
    deepest = 0
    for record in records[::5]:
        lineage = read_lineage(run, Choice(identity=record["id"]))
        assert lineage[0].record["operator"] == "seed"
        assert lineage[-1].record == record
        for parent, child in pairwise(lineage):
            assert child.record["parent"] == parent.record["id"]
            program = parent.record["program"]
            assert apply_unified_diff(program, "\n".join(child.diff()) + "\n") == child.record["program"]
        deepest = max(deepest, len(lineage))
    assert deepest > 3


def test_the_best_and_the_elites_of_niches_are_found(run: Path) -> None:
    records = list(read_jsonl(run / "admitted.jsonl"))

    def best(chosen: Sequence[Mapping[str, Any]]) -> int:
        return int(max(chosen, key=lambda r: r["fitness"])["id"])

    assert read_lineage(run, parse_choice(["best"]))[-1].record["id"] == best(records)
    radial = [r for r in records if r["archive"] == "radial"]
    assert read_lineage(run, parse_choice(["best"], "radial"))[-1].record["id"] == best(radial)
    niche = max({r["niche"] for r in radial}, key=lambda n: sum(r["niche"] == n for r in radial))
    asked = parse_choice(["niche", str(niche)], "radial")
    assert read_lineage(run, asked)[-1].record["id"] == best([r for r in radial if r["niche"] == niche])


def test_a_run_that_goes_on_is_read_to_its_last_finished_line(run: Path, tmp_path: Path) -> None:
    whole = write_run(tmp_path / "run", [None, 0], [1.0, 2.0])
    with open(whole / "admitted.jsonl", "a") as log:
        log.write('{"id": 2, "archive": "squ')
    with run_lock(whole):  # as the process that evolves holds it
        picture = run_lineage(LineageConfig(run=whole))
    assert picture == whole / "lineage_1.png"


@pytest.mark.parametrize(
    ("words", "archive", "sentence"),
    [
        (["99"], None, "no record 99; expected 0 to 1"),
        (["niche", "8"], None, "Nothing was admitted to niche 8 of any archive"),
        (["best"], "moon", "no archive 'moon'; expected one of square"),
    ],
)
def test_who_is_not_there_is_named(tmp_path: Path, words: list[str], archive: str | None, sentence: str) -> None:
    folder = write_run(tmp_path / "run", [None, 0], [1.0, 2.0])
    with pytest.raises(ElmError, match=sentence):
        run_lineage(LineageConfig(run=folder, elite=tuple(words), archive=archive))
    assert not list(folder.glob("*.png"))


@pytest.mark.parametrize("words", [["first"], ["niche"], ["niche", "x"], ["1", "2"], []])
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="expected the number of a record, 'best', or 'niche'"):
        parse_choice(words)
    with pytest.raises(ConfigError, match="leave one of them out"):
        parse_choice(["3"], "square")


def test_a_folder_without_evolution_is_one_sentence_that_shows_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "demo" / "evolution", [None], [1.0])
    with pytest.raises(SystemExit) as stop:
        main(["lineage", str(tmp_path / "demo"), "best"])
    error = capsys.readouterr().err
    assert stop.value.code == 1
    assert error.count("\n") == 1
    assert f"'{tmp_path / 'demo' / 'evolution'}'" in error


@pytest.mark.parametrize(("parents", "sentence"), [([None, 5], "names parent 5"), ([None, 1], "names parent 1")])
def test_a_lineage_without_an_end_is_damage(tmp_path: Path, parents: list[int | None], sentence: str) -> None:
    folder = write_run(tmp_path / "run", parents, [1.0, 2.0])
    with pytest.raises(ElmError, match=sentence):
        read_lineage(folder, Choice())


# --- which generations matter -----------------------------------------------------------------------------------------


def test_what_is_left_out_raised_the_distance_no_more_than_what_is_shown() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        lineage = generations(rng.gamma(1.0, 20.0, size=int(rng.integers(2, 40))).tolist())
        count = int(rng.integers(2, 10))
        chosen = most_telling(lineage, count)
        assert len(chosen) == min(count, len(lineage))
        assert (chosen[0], chosen[-1]) == (lineage[0], lineage[-1])
        assert [g.number for g in chosen] == sorted({g.number for g in chosen})
        left_out = [g.raised for g in lineage if g not in chosen]
        assert max(left_out, default=0.0) <= min([g.raised for g in chosen[1:-1]], default=np.inf)


# --- words ------------------------------------------------------------------------------------------------------------


def test_what_a_model_wrote_cannot_command_a_terminal(tmp_path: Path) -> None:
    extra = {"message": "\x1b[2J gone\n\ud800", "parents": [0, 4, 9]}
    folder = write_run(tmp_path / "run", [None, 0], [1.0, 2.0], extra)
    log = (folder / "admitted.jsonl").read_text()
    write_text(folder / "admitted.jsonl", log.replace("wc.add_joint(2, 4)", "wc.add_joint(2, 4)  # \\u009b2J\\u2028"))
    plain = "\n".join(describe(read_lineage(folder, Choice()), "Flat", diff_lines=99))
    assert all(character.isprintable() or character == "\n" for character in plain)
    assert "\\x1b[2J gone\\n\\ud800" in plain
    assert "crossed with 4, 9" in plain
    assert "+    c = wc.add_joint(2, 4)  # \\x9b2J\\u2028" in plain
    coloured = "\n".join(describe(read_lineage(folder, Choice()), "Flat", diff_lines=99, colours=True))
    assert "\x1b[32m+    c = wc.add_joint(2, 4)  # \\x9b2J\\u2028\x1b[0m" in coloured
    assert "\x1b[2J" not in coloured
    assert run_lineage(LineageConfig(run=folder, frames=2)).exists()


def test_long_diffs_are_cut_and_said_to_be(tmp_path: Path) -> None:
    lineage = read_lineage(write_run(tmp_path / "run", [None, 0], [1.0, 2.0]), Choice())
    whole = len(lineage[1].diff())
    lines = list(describe(lineage, "Flat", diff_lines=2))
    assert f"  ({whole - 2} more lines of the diff)" in lines
    assert len(lines) == len(list(describe(lineage, "Flat", diff_lines=whole))) - (whole - 2) + 1


# --- the picture ------------------------------------------------------------------------------------------------------


def test_the_command_prints_the_lineage_and_draws_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "pictures" / "elite.png"
    with pytest.raises(SystemExit) as stop:
        main(["lineage", str(run), "best", "--archive", "radial", "--rows", "3", "--out", str(picture)])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert out.splitlines()[-1] == f"Done: {picture}"
    assert "generation 0: record 1" in out
    assert "\x1b" not in out, "no colours where nobody looks"
    assert Image.open(picture).width > 1000


def test_the_picture_has_a_row_for_each_generation_that_matters(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [None, 0, 1, 2, 3], [1.0, 2.0, 1.5, 3.0, 4.0])
    sizes = {}
    for rows in (2, 4, 5):
        sizes[rows] = Image.open(run_lineage(LineageConfig(run=folder, rows=rows, frames=2))).size
    assert len({width for width, _ in sizes.values()}) == 1
    row = sizes[5][1] - sizes[4][1]
    assert 100 < row < 250, "the line that says what is left out goes when a row comes"
    assert 2 * row <= sizes[4][1] - sizes[2][1] <= 2 * row + 60


def test_programs_of_another_version_have_a_row_too(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [None, 0], [1.0, 2.0])
    log = (folder / "admitted.jsonl").read_text()
    write_text(folder / "admitted.jsonl", log.replace("walker_creator()", "old_creator()", 1))
    assert Image.open(run_lineage(LineageConfig(run=folder, frames=2))).height > 300


@pytest.mark.parametrize("settings", [{"rows": 1}, {"frames": 1}, {"diff_lines": -1}, {"out": Path("strip.gif")}])
def test_settings_out_of_range_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(settings))} is "):
        LineageConfig(run=Path("run"), **settings)
