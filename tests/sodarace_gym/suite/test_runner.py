"""Runs: the same rows for any workers and after any stop; failures are kept and repeated; nothing is mixed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sodarace_gym.evaluation import Evaluator
from sodarace_gym.suite import Entry, Plan, SuiteError, load_results, run_suite
from sodarace_gym.suite.cell import Cell, cell_rng, lenders_of, play
from sodarace_gym.suite.log import CELLS_FILE, read_lines
from sodarace_gym.suite.results import COLUMNS, TIMES, read_results, write_results
from sodarace_gym.suite.tables import results_page

PLAN = Plan(budgets=(1, 8), n_jobs=1)


def entry(file: Path, name: str, **settings: str) -> Entry:
    return Entry(f"{file}:{name}", tuple(settings.items()))


def rows(out: Path) -> pd.DataFrame:
    """What does not depend on the clock."""
    return read_results(out).drop(columns=list(TIMES))


@pytest.fixture(scope="module")
def expected(small, file, tmp_path_factory):
    out = tmp_path_factory.mktemp("expected")
    run_suite(entry(file, "Random"), out, PLAN, definition=small)
    return rows(out)


def test_every_cell_has_a_row_with_its_figures(small, file, tmp_path):
    told = []
    plan = Plan(budgets=(8, 20), seeds=(1,), n_jobs=1)
    done = run_suite(
        entry(file, "Search", batch="3"), tmp_path, plan, definition=small, told=lambda *each: told.append(each[:2])
    )
    assert (done.name, done.done, done.kept, done.failed) == ("search", 6, 0, [])
    assert told == [(number, 6) for number in range(1, 7)]
    found = read_results(tmp_path)
    assert list(found.columns) == list(COLUMNS)
    assert found["evaluations"].tolist() == found["budget"].tolist() == [8, 8, 8, 20, 20, 20]
    assert (found["training_evaluations"] == 1234).all()
    # Three programs a call: the last call of 8 or 20 is cut, and one more finds nothing left.
    assert found["model_calls"].tolist() == [4, 4, 4, 8, 8, 8]
    assert found["tokens"].tolist() == [40, 40, 40, 80, 80, 80]
    assert found["best_64"].isna().all()
    assert (found["behaviours"] <= found["valid"]).all()
    assert (found["valid"] <= found["evaluations"]).all()
    # The same cell with a larger budget only goes on.
    small_ones, large = (part.reset_index() for _, part in found.groupby("budget"))
    assert small_ones["best_8"].tolist() == small_ones["best"].tolist() == large["best_8"].tolist()


def test_the_best_is_judged_by_more_copies_than_its_generator_saw(small, file, tmp_path, expected):
    for _, row in expected[expected["best"] > 0].iterrows():
        with Evaluator(n_jobs=1, duration=small.duration, robustness=small.judged_copies) as evaluator:
            terrain = small.of(row["terrain"]).terrain()
            [judged] = evaluator.evaluate([row["program"]], terrain)
        assert row["best"] == judged.robust_fitness
        assert row["seen"] == min(judged.fitness, *judged.copy_distances[: small.seen_copies])


def test_swaps_try_the_program_of_another_terrain(small, expected):
    lenders = lenders_of(each.text for each in small.terrains)
    assert sorted(lenders) == sorted(lenders.values())
    assert all(own != lender for own, lender in lenders.items())
    for _, row in expected.iterrows():
        assert row["lender"] == lenders[row["terrain"]]
        lent = expected[
            (expected["terrain"] == row["lender"])
            & (expected["budget"] == row["budget"])
            & (expected["seed"] == row["seed"])
        ].iloc[0]
        with Evaluator(n_jobs=1, duration=small.duration, robustness=small.judged_copies) as evaluator:
            [judged] = evaluator.evaluate([lent["program"]], small.of(row["terrain"]).terrain())
        assert row["swapped"] == judged.robust_fitness


def test_a_run_that_was_killed_goes_on_and_ends_the_same(small, file, tmp_path, expected):
    out = tmp_path / "out"

    class Killed(Exception):
        pass

    def kill_after_five(number, total, row):
        if number == 5:
            raise Killed

    with pytest.raises(Killed):
        run_suite(entry(file, "Random"), out, PLAN, definition=small, told=kill_after_five)
    [log] = out.glob(f"*/{CELLS_FILE}")
    with log.open("a") as lines:  # a line that the kill has broken
        lines.write('{"terrain": "Fl')
    assert len(rows(out)) == 5
    done = run_suite(entry(file, "Random"), out, PLAN, definition=small)
    assert (done.kept, done.done) == (5, 7)
    pd.testing.assert_frame_equal(rows(out), expected)
    again = run_suite(entry(file, "Random"), out, PLAN, definition=small)
    assert (again.kept, again.done) == (12, 0)
    pd.testing.assert_frame_equal(rows(out), expected)


def test_processes_give_the_same(small, file, tmp_path, expected):
    run_suite(entry(file, "Random"), tmp_path / "out", replace(PLAN, n_jobs=2), definition=small)
    pd.testing.assert_frame_equal(rows(tmp_path / "out"), expected)


def test_a_dask_cluster_gives_the_same(small, file, tmp_path, expected):
    distributed = pytest.importorskip("distributed")
    plan = replace(PLAN, n_jobs=-1, backend="dask")
    with pytest.raises(RuntimeError, match=r"distributed\.Client"):
        run_suite(entry(file, "Random"), tmp_path / "out", plan, definition=small)
    with (
        # Two threads: cells that share a process must not meet.
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        run_suite(entry(file, "Random"), tmp_path / "out", plan, definition=small)
    pd.testing.assert_frame_equal(rows(tmp_path / "out"), expected)


def test_parts_of_the_suite_add_up_to_the_whole(small, file, tmp_path, expected):
    out = tmp_path / "out"
    names = [each.text for each in small.terrains]
    run_suite(entry(file, "Random"), out, replace(PLAN, terrains=names[:2]), definition=small)
    part = rows(out)
    assert part["lender"].tolist() != expected[expected["terrain"].isin(names[:2])]["lender"].tolist()
    run_suite(entry(file, "Random"), out, replace(PLAN, terrains=names[2:], seeds=(1,)), definition=small)
    run_suite(entry(file, "Random"), out, replace(PLAN, terrains=names[2:], seeds=(0,)), definition=small)
    pd.testing.assert_frame_equal(rows(out), expected)


def test_a_cell_alone_gives_the_row_that_it_has_in_the_run(small, file, expected):
    cell = Cell(entry(file, "Random"), "Tunnel", 8, 1)
    row = play(cell, small)
    found = expected[(expected["terrain"] == "Tunnel") & (expected["budget"] == 8) & (expected["seed"] == 1)].iloc[0]
    assert {name: found[name] for name in ("best", "best_1", "seen", "program")} == {
        name: row[name] for name in ("best", "best_1", "seen", "program")
    }
    assert row["command"] == found["command"]
    assert f"run {file}:Random --terrains Tunnel --budgets 8 --seeds 1 --out" in row["command"]


def test_cells_draw_other_numbers_for_other_terrains_and_seeds_but_not_for_other_budgets():
    draws = {(text, seed): cell_rng(text, seed).random() for text in ("Flat", "Tunnel") for seed in (0, 1)}
    assert len(set(draws.values())) == 4
    assert draws["Flat", 0] == cell_rng("Flat", 0).random()


def test_a_generator_that_raises_is_reported_and_its_cells_are_repeated(small, file, tmp_path):
    plan = Plan(budgets=(8,), seeds=(0,), n_jobs=1)
    done = run_suite(entry(file, "Raises"), tmp_path, plan, definition=small)
    [failed] = done.failed
    assert failed["terrain"] == "Tunnel"
    assert failed["error"] == "ZeroDivisionError: on purpose"
    assert 'raise ZeroDivisionError("on purpose")' in failed["traceback"]
    found = rows(tmp_path).set_index("terrain")
    assert found.loc["Tunnel", "best"] == 0.0, "what it found before does not count"
    assert found.loc["Tunnel", "traceback"] == failed["traceback"]
    assert found.loc["Flat", "evaluations"] == 1
    again = run_suite(entry(file, "Raises"), tmp_path, plan, definition=small)
    assert (again.kept, again.done, len(again.failed)) == (2, 1, 1)
    assert len(rows(tmp_path)) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Leaves", "SystemExit: 3"),
        ("Unspeakable", "Unspeakable_: its text cannot be made"),
        ("Surrogate", r"ValueError: \ud800 | second" + "\nline"),
    ],
)
def test_no_exception_ends_the_run_or_spoils_its_files(small, file, tmp_path, name, said):
    plan = Plan(budgets=(1,), seeds=(0,), n_jobs=1)
    done = run_suite(entry(file, name), tmp_path, plan, definition=small)
    assert (done.done, len(done.failed)) == (3, 3)
    assert done.failed[0]["error"] == said
    table = load_results(write_results(tmp_path))
    page = results_page(table, small, [])
    [line] = [line for line in page.splitlines() if line.endswith("| 3 |") and said.split(":")[0] in line]
    assert line.replace("\\|", "").count("|") == 4


def test_programs_that_are_no_text_are_a_failure_that_names_them(small, file, tmp_path):
    plan = Plan(budgets=(8,), seeds=(0,), terrains=("Flat",), n_jobs=1)
    [failed] = run_suite(entry(file, "Numbers"), tmp_path, plan, definition=small).failed
    assert "expected program texts (str), got int at place 1" in failed["error"]


@pytest.mark.parametrize("change", ["file", "settings", "definition"])
def test_results_of_something_else_are_not_gone_on_with(small, file, tmp_path, change):
    plan = Plan(budgets=(1,), seeds=(0,), terrains=("Flat",), n_jobs=1)
    run_suite(entry(file, "Search", batch="3"), tmp_path / "out", plan, definition=small)
    batch, definition = "3", small
    if change == "file":
        # As another process finds it: a file is loaded once.
        [head] = (tmp_path / "out").glob("*/entry.json")
        head.write_text(json.dumps(json.loads(head.read_text()) | {"source": "0"}))
    elif change == "settings":
        batch = "4"
    else:
        definition = replace(small, digest="another")
    with pytest.raises(SuiteError, match=r"remove that folder, or give another --out"):
        run_suite(entry(file, "Search", batch=batch), tmp_path / "out", plan, definition=definition)


def test_results_of_two_versions_are_not_put_into_one_table(small, file, tmp_path):
    plan = Plan(budgets=(1,), seeds=(0,), terrains=("Flat",), n_jobs=1)
    run_suite(entry(file, "Random"), tmp_path, plan, definition=small)
    run_suite(entry(file, "Search"), tmp_path, plan, definition=replace(small, digest="b", version="other"))
    with pytest.raises(SuiteError, match=r"different definitions of the suite \(other, small\)"):
        read_results(tmp_path)


def test_the_parquet_file_holds_the_rows(small, file, tmp_path):
    plan = Plan(budgets=(1,), seeds=(0,), n_jobs=1)
    run_suite(entry(file, "Raises"), tmp_path, plan, definition=small)
    path = write_results(tmp_path)
    pd.testing.assert_frame_equal(load_results(path), read_results(tmp_path))
    pd.testing.assert_frame_equal(load_results(tmp_path), read_results(tmp_path))
    with pytest.raises(SuiteError, match=r"There is no '.*results\.parquet'"):
        load_results(tmp_path / "nowhere")
    with pytest.raises(SuiteError, match="holds no results"):
        read_results(tmp_path / "nowhere")


def test_what_is_not_of_the_suite_is_refused_before_anything_is_written(small, file, tmp_path):
    for plan, message in (
        (Plan(budgets=(7,)), "7 is no budget of the suite; it has 1, 8, 20"),
        (Plan(budgets=(1,), seeds=(9,)), "9 is no seed"),
        (Plan(budgets=(1,), terrains=("Moon",)), "no terrain 'Moon'"),
    ):
        with pytest.raises(SuiteError, match=message):
            run_suite(entry(file, "Random"), tmp_path / "out", plan, definition=small)
    with pytest.raises(ValueError, match="backend"):
        run_suite(entry(file, "Random"), tmp_path / "out", Plan(budgets=(1,), backend="moon"), definition=small)
    assert not (tmp_path / "out").exists()
    assert list(read_lines(tmp_path / "nowhere")) == []
