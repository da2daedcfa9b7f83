"""Entering the benchmark as a reader of its page does, and what is said where it goes wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sodarace_gym.suite import SuiteError, load_definition
from sodarace_gym.suite.cli import main
from sodarace_gym.suite.entry import Entry, read_entry
from sodarace_gym.suite.results import load_results

PART = ["--terrains", "Flat", "Tunnel", "--budgets", "1", "8", "--n-jobs", "1"]
FEW = [*PART, "--seeds", "0", "1"]


def test_the_template_of_the_readme_enters_and_stands_in_the_table(repository, tmp_path, capsys):
    about = (repository / "README.md").read_text(encoding="utf-8")
    template = (repository / "examples" / "generator.py").read_text(encoding="utf-8")
    assert len(template.splitlines()) < 40
    block = next(block for block in re.findall(r"```python\n(.*?)```", about, re.DOTALL) if "def generate" in block)
    assert block == template, "the README shows the file"
    mine = tmp_path / "mine.py"
    mine.write_text(block, encoding="utf-8")
    out = tmp_path / "suite"
    assert main(["run", f"{mine}:TwoFeet", "--out", str(out), *FEW]) == 0
    assert "'two feet': 8 tasks done, 0 were done before." in capsys.readouterr().out
    assert (load_results(out)["best"] > 0).mean() > 0.5, "it walks"
    assert main(["table", "--out", str(out), "--write", str(tmp_path / "page" / "suite.md")]) == 0
    page = (tmp_path / "page" / "suite.md").read_text(encoding="utf-8")
    assert page.count("| two feet |") == 3, "in the summary, and at either budget"
    assert "## 1 evaluation\n" in page
    assert "## 8 evaluations\n" in page
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (tmp_path / "page" / picture).read_bytes().startswith(b"\x89PNG")
    assert page.count("](") == 2
    # From the Parquet file alone, as it may have been handed on.
    alone = tmp_path / "alone"
    alone.mkdir()
    (out / "results.parquet").rename(alone / "results.parquet")
    capsys.readouterr()
    assert main(["table", "--out", str(alone)]) == 0
    without_pictures = re.sub(r"!\[.*?\]\(.*?\)\n\n", "", page.split("\n\n", 1)[1])
    assert capsys.readouterr().out == without_pictures


def test_two_generators_are_compared(file, tmp_path, capsys):
    out = tmp_path / "out"
    for name in ("Random", "Raises"):
        main(["run", f"{file}:{name}", "--out", str(out), *FEW])
    assert main(["run", f"{file}:Search", "--out", str(out), *PART, "--seeds", "0", "--set", "batch=2"]) == 0
    said = capsys.readouterr()
    assert "error: 'raises' raised in 4 of 8 tasks" in said.err
    assert "ZeroDivisionError: on purpose" in said.err
    assert main(["table", "--out", str(out)]) == 0
    page = capsys.readouterr().out
    tables = page.split("Probability of improvement")[1:]
    lines = [line for part in tables for line in part.splitlines() if line.startswith("| random | ")]
    against = [line for line in lines if line.count("|") == 5]
    assert len(against) == 2, "at either budget, all three"
    assert all(line.count("–") == 1 for line in against), "nobody is compared with itself"
    assert "| raises (2 failed) |" in page
    assert "| raises | ZeroDivisionError: on purpose | 4 |" in page
    assert "| search | 1,234 | 0 | 5 | 0 |" in page, "what was spent on training"
    assert "By group" not in page, "all are of one group"


def test_results_of_others_stand_beside_ones_own(file, tmp_path, capsys):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for out, names in ((mine, ("Random",)), (theirs, ("Random", "Search"))):
        for name in names:
            assert main(["run", f"{file}:{name}", "--out", str(out), *FEW]) == 0
    capsys.readouterr()
    main(["table", "--out", str(theirs)])
    expected = capsys.readouterr().out
    assert main(["table", "--out", str(mine), "--beside", str(theirs / "results.parquet")]) == 0
    page = capsys.readouterr().out
    assert "| search |" in page
    without_times = [re.sub(r"[\d.]+ \|$", "", line) for line in expected.splitlines()]
    assert [re.sub(r"[\d.]+ \|$", "", line) for line in page.splitlines()] == without_times


def test_a_generator_that_has_not_done_all_is_left_out_and_named(file, tmp_path, capsys):
    out = tmp_path / "out"
    main(
        ["run", f"{file}:Random", "--out", str(out), "--terrains", "Flat", "Tunnel", "--budgets", "1", "--n-jobs", "1"]
    )
    main(["run", f"{file}:Search", "--out", str(out), "--terrains", "Flat", "--budgets", "1", "--n-jobs", "1"])
    capsys.readouterr()
    main(["table", "--out", str(out)])
    page = capsys.readouterr().out
    assert "Not finished, and left out: search (5 of 10)." in page
    assert "| search |" not in page


def test_the_list_names_everything(capsys):
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for terrain in load_definition().terrains:
        assert terrain.text in said
    for rule in load_definition().rules.values():
        assert rule in said


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.py:Mine", "There is no file"),
        ("{file}:Mine", "has no class 'Mine'; it has Random, Search, Raises"),
        ("{file}:Nameless", "expected an attribute `name`"),
        ("{file}:Methodless", "expected a method `generate(self, task, rng)`"),
        ("{file}:OtherArguments", "expected a method `generate(self, task, rng)`"),
        ("no_such_package.module:Mine", "There is no module 'no_such_package.module'"),
        (".module:Mine", "begins with a point"),
        ("something", "names no generator: expected path/to/file.py:Class"),
        ("{broken}:Mine", "cannot be loaded: SyntaxError"),
    ],
)
def test_what_is_no_generator_is_refused_with_a_word_on_what_to_do(file, tmp_path, capsys, target, message):
    broken = tmp_path / "broken.py"
    broken.write_text("def", encoding="utf-8")
    given = target.format(file=file, broken=broken)
    assert main(["run", given, "--out", str(tmp_path / "out"), *FEW]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_explained(file, capsys):
    assert main(["run", f"{file}:Search", "--out", str(file), *FEW]) == 2
    assert "error: " in capsys.readouterr().err


def test_settings_are_arguments_of_the_class(file, tmp_path, capsys):
    assert read_entry(f"{file}:Search", ["batch=7"]).make().batch == 7
    assert read_entry(f"{file}:Search", ["batch={[]: 1}"]).make().batch == "{[]: 1}"
    assert main(["run", f"{file}:Search", "--set", "nonsense=1", "--out", str(tmp_path / "out"), *FEW]) == 2
    assert "cannot be made with --set nonsense=1: TypeError" in capsys.readouterr().err
    with pytest.raises(SuiteError, match="expected a name and a value"):
        read_entry(f"{file}:Search", ["batch"])
    assert Entry("a.py:B", (("words", "two words"),)).command().endswith("run a.py:B --set 'words=two words'")


def test_a_generator_is_made_anew_for_each_task(file):
    first, second = (Entry(f"{file}:Random").make() for _ in range(2))
    assert first is not second
    assert type(first) is type(second), "but its file is loaded once"


def test_another_state_of_a_file_is_another_source(file, tmp_path):
    other = tmp_path / "other.py"
    other.write_text(Path(file).read_text() + "\n")
    assert Entry(f"{file}:Random").digest() != Entry(f"{other}:Random").digest()


def test_installed_packages_offer_generators_by_name(file, monkeypatch, tmp_path, capsys):
    # As pip installs a package: a module, and a folder that describes it.
    (tmp_path / "their_package.py").write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(
        "[sodarace_gym.generators]\ntheirs = their_package:Random\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert Entry("theirs").make().name == "random"
    with pytest.raises(SuiteError, match=r"installed are .*theirs"):
        Entry("mine").make()
    main(["list"])
    assert "  theirs: their_package:Random" in capsys.readouterr().out


def test_the_help_teaches_how_to_enter(capsys):
    for arguments in (["--help"], ["run", "--help"], ["table", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "python -m sodarace_gym.suite" in capsys.readouterr().out
