"""The corpus keeps what was good for its niche, once, and holds out whole lineages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from elm_rl.corpus.admitted import read_admitted
from elm_rl.corpus.corpus import CorpusConfig, load_corpus, run_corpus
from elm_rl.corpus.corpus_stats import CorpusStatsConfig, run_corpus_stats
from elm_rl.corpus.lineages import mask_numbers
from elm_rl.errors import ConfigError, ElmError


def record(number: int, **changes: Any) -> dict[str, Any]:
    """A line of admitted.jsonl: a program with a text, a niche and a lineage of its own, unless changed."""
    return {
        "id": number,
        "archive": "square",
        "iteration": number,
        "program": f"def make_walker():\n    name_{number} = 1\n",
        "parent": 0 if number else None,
        "operator": "gp" if number else "seed",
        "message": "",
        "diff": None,
        "fitness": 10.0,
        "height": 5.0,
        "width": 6.0,
        "mass": 20.0,
        "niche": number,
        "root": number,
    } | changes


def write_run(folder: Path, records: Sequence[dict[str, Any]], tail: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(r) + "\n" for r in records)
    (folder / "admitted.jsonl").write_text(text + tail, encoding="utf-8")
    return folder


def lineages(count: int, size: int) -> list[dict[str, Any]]:
    """A seed and ``count`` lineages of ``size`` programs, each program the parent of the next."""
    records = [record(0)]
    for _ in range(count):
        root = len(records)
        for step in range(size):
            number = len(records)
            records.append(record(number, parent=number - 1 if step else 0, root=root))
    return records


def build(
    tmp_path: Path, *runs: Sequence[dict[str, Any]], **settings: Any
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Builds a corpus of the runs: its figures, its training and its held-out programs."""
    folders = tuple(write_run(tmp_path / f"run{i}", records) for i, records in enumerate(runs))
    figures = run_corpus(CorpusConfig(evolution=folders, out=tmp_path / "corpus", **settings))["figures"]
    corpus = load_corpus(tmp_path / "corpus")
    return figures, list(corpus["train"]["program"]), list(corpus["held_out"]["program"])


def test_the_threshold_counts_the_best_of_a_niche_over_all_runs_and_archives(tmp_path: Path) -> None:
    first = [
        record(0, niche=7, fitness=49.0),
        record(1, niche=7, fitness=50.0),
        record(2, niche=8, fitness=1.0),
        record(3, niche=9, fitness=0.0),
    ]
    second = [record(0, archive="radial", niche=7, fitness=100.0, program="best")]
    figures, train, _ = build(tmp_path, first, second, held_out_percent=0)
    assert sorted(train) == sorted(["best", first[1]["program"], first[2]["program"]])
    assert (figures["admitted"], figures["above_threshold"]) == (5, 3)


def test_a_threshold_of_100_keeps_the_best_alone(tmp_path: Path) -> None:
    runs = [record(0, niche=1, fitness=3.0), record(1, niche=1, fitness=4.0), record(2, niche=1, fitness=4.0)]
    _, train, _ = build(tmp_path, runs, held_out_percent=0, threshold_percent=100)
    assert train == [runs[1]["program"], runs[2]["program"]]


def test_equal_texts_are_kept_once_as_they_first_came(tmp_path: Path) -> None:
    figures, train, _ = build(
        tmp_path, [record(0, program="a"), record(1, program="b")], [record(0, program="b")], held_out_percent=0
    )
    assert train == ["a", "b"]
    assert (figures["above_threshold"], figures["distinct"]) == (3, 2)
    assert list(load_corpus(tmp_path / "corpus")["train"]["run"]) == [0, 0]


def test_an_excluded_archive_does_not_count_at_all(tmp_path: Path) -> None:
    run = [record(0, niche=1, fitness=1.0), record(1, niche=1, fitness=100.0, archive="radial")]
    figures, train, _ = build(tmp_path, run, held_out_percent=0, exclude_archives=("radial",))
    assert train == [run[0]["program"]]
    assert figures["archives"] == {"square": 1}


def test_excluding_an_unknown_archive_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ElmError, match="'Radial' to exclude; the archives are square"):
        build(tmp_path, [record(0)], exclude_archives=("Radial",))


def test_an_archive_of_several_terrains_is_excluded_by_its_seed(tmp_path: Path) -> None:
    names = ("radial/LeftWall", "radial/Tunnel", "square/Tunnel")
    records = [record(number, archive=name) for number, name in enumerate(names)]
    _, train, _ = build(tmp_path, records, exclude_archives=("radial",), held_out_percent=0.0)
    assert train == [records[2]["program"]]


def test_the_best_of_a_niche_is_sought_on_each_terrain(tmp_path: Path) -> None:
    records = [
        record(0, terrain="Flat", niche=1, fitness=100.0),
        record(1, terrain="Tunnel", niche=1, fitness=20.0),
        record(2, terrain="Tunnel", niche=1, fitness=9.0),
    ]
    _, train, _ = build(tmp_path, records, held_out_percent=0.0)
    assert train == [records[0]["program"], records[1]["program"]]


def test_of_two_texts_of_one_walker_the_first_is_kept(tmp_path: Path) -> None:
    program = (
        "def make_walker():\n    wc = walker_creator()\n    a = wc.add_joint({x}, 0)\n    b = wc.add_joint(4, 0)\n"
    )
    program += "    c = wc.add_joint(2, 3)\n    for p, q in [(a, b), (b, c), (c, a)]:\n        wc.add_muscle(p, q)\n"
    program += "    return wc.get_walker()\n"
    records = [record(number, program=program.format(x=x)) for number, x in enumerate(("0", "1 - 1", "1"))]
    figures, train, _ = build(tmp_path, records, held_out_percent=0.0)
    assert train == [records[0]["program"], records[2]["program"]]
    assert (figures["distinct_texts"], figures["distinct"]) == (3, 2)
    assert len(set(load_corpus(tmp_path / "corpus")["train"]["design"])) == 2


def test_the_final_maps_alone_can_be_kept(tmp_path: Path) -> None:
    records = [record(0, niche=5), record(1, niche=5), record(2, niche=6), record(3, niche=5, archive="other")]
    _, train, _ = build(tmp_path, records, elites_only=True, held_out_percent=0.0)
    assert train == [records[number]["program"] for number in (1, 2, 3)]


def test_a_whole_terrain_can_be_held_out(tmp_path: Path) -> None:
    records = [record(number, terrain="Hills,seed=3" if number % 3 else "Flat") for number in range(12)]
    _, train, held_out = build(tmp_path, records, held_out_terrains=("Hills,seed=3",), held_out_percent=0.0)
    assert train == [r["program"] for r in records if r["terrain"] == "Flat"]
    # Those with the names of others are near twins of nothing here: every text has a name of its own.
    assert held_out == [r["program"] for r in records if r["terrain"] != "Flat"]
    with pytest.raises(ElmError, match="no terrain 'Pits' to hold out; the terrains are Flat, Hills,seed=3"):
        build(tmp_path, records, held_out_terrains=("Pits",))


def test_the_statistics_of_a_corpus_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [record(number, archive=f"seed{number % 2}", fitness=1.0 + number) for number in range(10)]
    build(tmp_path, records)
    run_corpus_stats(CorpusStatsConfig(corpus=tmp_path / "corpus"))
    printed = " ".join(capsys.readouterr().out.split())
    assert "admitted by the runs 10 " in printed
    assert "train: 9 programs" in printed
    assert "held_out: 1 programs" in printed
    assert "seed0" in printed
    assert "gp (" in printed


def test_whole_lineages_are_held_out(tmp_path: Path) -> None:
    records = lineages(count=60, size=4)
    figures, train, held_out = build(tmp_path, records)
    root_of = {r["program"]: r["root"] for r in records}
    assert not {root_of[p] for p in train} & {root_of[p] for p in held_out}
    assert len(train) + len(held_out) == len(records)
    assert 0.04 <= len(held_out) / len(records) <= 0.08
    assert (figures["lineages"], figures["held_out_lineages"]) == (61, len(held_out) / 4)


def test_a_near_twin_of_a_training_program_is_not_held_out(tmp_path: Path) -> None:
    records = lineages(count=60, size=4)
    for r in records[1:]:  # the second program of every lineage differs from the others' in its number alone
        if r["parent"] == r["root"]:
            r["program"] = f"def make_walker():\n    twin = {r['id']}.5\n"
    figures, train, held_out = build(tmp_path, records)
    masked = {mask_numbers(program) for program in train}
    assert held_out
    assert not masked & {mask_numbers(program) for program in held_out}
    assert figures["near_twins_dropped"] == len(held_out) / 3


def test_lineages_of_two_runs_that_met_stay_together(tmp_path: Path) -> None:
    first, second = lineages(count=40, size=3), lineages(count=40, size=3)
    for number, r in enumerate(second):  # lineage k of run 1 reaches the first program of lineage k of run 0
        if r["root"] != r["id"]:
            r["program"] = f"def make_walker():\n    other_{number} = 1\n"
    _, _, held_out = build(tmp_path, first, second)
    run0 = {r["program"]: r["root"] for r in first}
    run1 = {r["program"]: r["root"] for r in second if r["root"] != r["id"]}
    held0 = {run0[p] for p in held_out if p in run0}
    held1 = {run1[p] for p in held_out if p in run1}
    assert held0
    assert held0 == held1


def test_one_large_lineage_is_split_further_down(tmp_path: Path) -> None:
    """All descend from one child of the seed, so the hold-out goes down to lineages that begin with its children."""
    records = [record(0), record(1)]
    for _ in range(50):
        root = len(records)
        for step in range(2):
            number = len(records)
            records.append(record(number, parent=number - 1 if step else 1, root=1))
        assert root == number - 1
    figures, train, held_out = build(tmp_path, records)
    assert figures["lineage_generation"] == 2
    assert held_out
    parent = {r["program"]: records[r["parent"] or 0]["program"] for r in records}
    for child in held_out:  # a pair is held out together or not at all
        if parent[child] != records[1]["program"]:
            assert parent[child] in held_out
    assert not [p for p in train if parent[p] in held_out]


def test_the_choice_follows_the_seed(tmp_path: Path) -> None:
    records = lineages(count=60, size=2)
    chosen = [build(tmp_path / str(i), records, seed=seed)[2] for i, seed in enumerate((1, 1, 2))]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_a_tiny_corpus_may_hold_nothing_out(tmp_path: Path) -> None:
    figures, train, held_out = build(tmp_path, [record(0)], held_out_percent=0)
    assert (len(train), held_out, figures["held_out"]) == (1, [], 0)
    corpus = load_corpus(tmp_path / "corpus")
    assert corpus["held_out"].features == corpus["train"].features


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [record(0), record(1)], tail='{"id": 2, "archive": "squ')
    assert [p.id for p in read_admitted(folder)] == [0, 1]


@pytest.mark.parametrize("line", ["not json", '{"id": 3}', json.dumps(record(1, fitness="far"))])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    folder = write_run(tmp_path, [record(0)], tail=line + "\n")
    with pytest.raises(ElmError, match=r"(?i)line 2"):
        read_admitted(folder)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ElmError, match=r"holds no admitted\.jsonl"):
        run_corpus(CorpusConfig(evolution=(tmp_path,), out=tmp_path / "corpus"))


def test_nothing_left_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ElmError, match="None of the 1 admitted programs"):
        build(tmp_path, [record(0, fitness=0.0)])
    assert not (tmp_path / "corpus").exists()


def test_a_corpus_is_unfinished_until_its_figures_are_there(tmp_path: Path) -> None:
    build(tmp_path, [record(0)])
    (tmp_path / "corpus" / "corpus.json").unlink()
    with pytest.raises(ElmError, match=r"corpus\.json' does not exist"):
        load_corpus(tmp_path / "corpus")


def test_a_damaged_split_is_named(tmp_path: Path) -> None:
    build(tmp_path, [record(0)])
    path = tmp_path / "corpus" / "train.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ElmError, match=r"train\.parquet' cannot be read"):
        load_corpus(tmp_path / "corpus")


def test_the_fingerprint_changes_with_the_programs_alone(tmp_path: Path) -> None:
    def fingerprint(name: str, **changes: Any) -> str:
        folder = write_run(tmp_path / name, [record(0), record(1, **changes)])
        return run_corpus(CorpusConfig(evolution=(folder,), out=tmp_path / name / "c", held_out_percent=0))[
            "fingerprint"
        ]

    assert fingerprint("a") == fingerprint("b", iteration=99)
    assert fingerprint("a") != fingerprint("c", program="else")


def test_numbers_are_masked_and_names_are_not() -> None:
    assert mask_numbers("a1 = wc.add_joint(1.5, -2e-3) + x[10] * .5") == "a1 = wc.add_joint(0, -0) + x[0] * 0"
    assert mask_numbers("j2 = j3") != mask_numbers("j2 = j4")


@pytest.mark.parametrize(
    "wrong", [{"evolution": ()}, {"threshold_percent": 101.0}, {"threshold_percent": -1.0}, {"held_out_percent": 60.0}]
)
def test_settings_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CorpusConfig(**{"evolution": (tmp_path,), "out": tmp_path, **wrong})
