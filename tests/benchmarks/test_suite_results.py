"""The published results of the suite: the tables are those of the committed rows, and of the version of this package."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from benchmarks.suite import ALWAYS, README, TABLE_MARKS, with_table
from benchmarks.tables import RESULTS
from sodarace_gym.suite import load_definition, load_results
from sodarace_gym.suite.figures import compare_generators
from sodarace_gym.suite.tables import results_page, summary_table


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    return load_results(RESULTS / "suite.parquet")


def test_the_table_of_the_readme_is_made_of_the_rows(results: pd.DataFrame) -> None:
    text = README.read_text(encoding="utf-8")
    assert all(text.count(mark) == 1 for mark in TABLE_MARKS)
    assert with_table(text, summary_table(compare_generators(results))) == text


def test_the_page_of_results_is_made_of_the_rows(results: pd.DataFrame) -> None:
    text = (RESULTS / "suite.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[(.*?)\]\((.*?)\)", text)
    assert text.endswith(f"\n\n{results_page(results, load_definition(), pictures)}\n")


def test_rows_are_of_this_version_and_of_all_terrains_and_seeds(results: pd.DataFrame) -> None:
    definition = load_definition()
    assert set(results["version"]) == {definition.version}
    assert set(results["terrain"]) == {terrain.text for terrain in definition.terrains}
    assert set(results["generator"]) >= {entry.make().name for entry in ALWAYS}
    seeds = results.groupby(["generator", "budget"])["seed"].nunique()
    assert (seeds.loc[:, [1, 8, 64]] == len(definition.seeds)).all()
    references = {terrain.text: terrain.reference for terrain in definition.terrains}
    assert (results["reference"] == results["terrain"].map(references)).all()


def test_a_table_takes_the_place_of_the_one_before() -> None:
    begin, end = TABLE_MARKS
    page = with_table(f"before\n{begin}\nold\n{end}\nafter\n", "| new |")
    assert page == f"before\n{begin}\n\n| new |\n\n{end}\nafter\n"
    assert with_table(page, "| new |") == page
