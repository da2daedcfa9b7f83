"""What a page holds of a run."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from elm_rl.errors import ElmError
from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.evolution.maps import Maps
from elm_rl.report import ReportConfig, run_report
from elm_rl.report.viewer.contents import Contents, collect
from elm_rl.report.viewer.failures import SAMPLES, read_failures
from elm_rl.report.viewer.history import read_history
from elm_rl.report.viewer.packing import base64_size, pack_json
from elm_rl.report.viewer.site import write_site
from elm_rl.report.viewer.tables import read_tables
from elm_rl.report.viewer.walker import Walker
from elm_rl.report.viewer.walks import decode_walk
from elm_rl.runs.children_file import read_children
from elm_rl.runs.run_directory import ADMITTED_FILE, read_jsonl
from sodarace_gym.evaluation import Evaluator
from tests.elm_rl.report.viewer.copied_run import HOSTILE, copied_run


def block(site: Path, name: str) -> str:
    """What stands in one of the page's data blocks."""
    (found,) = re.findall(rf'<script type="text/plain" id="{name}">([^<]*)</script>', site.read_text(encoding="utf-8"))
    return str(found)


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


@pytest.fixture(scope="module")
def data(site: Path) -> dict[str, Any]:
    return dict(unpacked(block(site, "data")))


def test_elites_are_those_of_the_archives(run: Path) -> None:
    lines = list(read_jsonl(run / ADMITTED_FILE))
    maps = Maps(ArchiveSpec(), dict.fromkeys((line["archive"] for line in lines), "Flat"))
    for line in lines:
        assert maps.offer(line["archive"], line["program"], line["fitness"], line, id=line["id"])
    expected = {int(each) for archive in maps.archives.values() for each in archive.data("id")}
    history = read_history([run])
    assert {record.line["id"] for record in history.records if record.elite} == expected


@pytest.mark.parametrize(
    "archive", [{"kind": "cvt", "cells": 50}, {"kind": "sliding", "bins": [4]}, {"kind": "proximity"}]
)
def test_elites_of_archives_without_a_grid(run: Path, tmp_path: Path, archive: dict[str, Any]) -> None:
    spec = ArchiveSpec(**{**archive, **({"bins": tuple(archive["bins"])} if "bins" in archive else {})})
    lines, kept = [*read_jsonl(run / ADMITTED_FILE)], list[dict[str, Any]]()
    maps = Maps(spec, dict.fromkeys((line["archive"] for line in lines), "Flat"))
    numbers: dict[int, int] = {}
    for line in lines:
        taken = maps.offer(line["archive"], line["program"], line["fitness"], line, id=len(kept))
        if taken is not None:
            numbers[line["id"]] = len(kept)
            kept.append({**line, "id": len(kept), "niche": taken.niche, "parent": numbers.get(line["parent"])})
    folder = copied_run(run, tmp_path / "run", archive=archive)
    (folder / ADMITTED_FILE).write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="ascii")
    expected = {int(each) for archive in maps.archives.values() for each in archive.data("id")}
    assert {record.line["id"] for record in read_history([folder]).records if record.elite} == expected


def test_lineages_reach_the_seeds_and_count_their_heirs(run: Path) -> None:
    history = read_history([run])
    parents = {line["id"]: line["parent"] for line in read_jsonl(run / ADMITTED_FILE)}
    heirs: Counter[int] = Counter()
    for place in history.elites():
        line = history.lineage(place)
        assert history.records[line[0]].parent is None
        for older, younger in itertools.pairwise(line):
            assert parents[history.records[younger].line["id"]] == history.records[older].line["id"]
        heirs.update(line[:-1])
    assert [record.heirs for record in history.records] == [heirs[place] for place in range(len(history.records))]


def test_a_run_that_began_with_another_leads_back_to_it(run: Path, tmp_path: Path) -> None:
    first = read_history([run])
    planted = [first.records[place] for place in first.elites()]
    later = copied_run(run, tmp_path / "later", start_from=str(run))
    lines = [
        {**record.line, "id": number, "parent": None, "archive": "all/Bumpy", "terrain": "Bumpy", "niche": number}
        for number, record in enumerate(planted)
    ]
    (later / ADMITTED_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="ascii")
    both = read_history([run, later])
    place = both.elites()[-1]
    assert both.records[place].planted
    assert both.records[both.lineage(place)[0]].parent is None
    assert both.records[both.lineage(place)[0]].run == 0


def test_the_page_tells_what_was_evaluated(run: Path, site: Path, data: dict[str, Any]) -> None:
    records, walks = data["records"], block(site, "walks")
    starts = [sum(data["walks"]["sizes"][:number]) for number in range(len(data["walks"]["sizes"]))]
    programs = "".join(line["program"] for line in read_jsonl(run / ADMITTED_FILE))
    texts = [text for start in _starts(data["blocks"]) for text in unpacked(block(site, "programs")[slice(*start)])]
    elites = [place for place, elite in enumerate(records["elite"]) if elite]
    with Evaluator(n_jobs=1, duration=2.0, robustness=2) as evaluator:
        evaluated = evaluator.evaluate([texts[place] for place in elites], "Flat")
    for place, evaluation in zip(elites, evaluated, strict=True):
        assert texts[place] in programs
        assert records["displacement"][place] == evaluation.displacement
        assert abs(evaluation.displacement) == records["fitness"][place]
        assert tuple(records["copies"][place]) == evaluation.copy_distances
        number = records["walk"][place]
        size = data["walks"]["sizes"][number]
        frames = decode_walk(
            base64.b64decode(walks[starts[number] : starts[number] + size]), data["walks"]["step"]
        ).frames
        moved = frames[-1, :, 0].mean() - frames[0, :, 0].mean()
        assert moved == pytest.approx(evaluation.displacement, abs=data["walks"]["step"])
    assert sum(data["walks"]["sizes"]) == len(walks)


def _starts(sizes: list[int]) -> list[tuple[int, int]]:
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return list(zip([0, *ends], ends, strict=False))


def test_every_cell_of_the_matrix_is_evaluated(data: dict[str, Any]) -> None:
    matrix = data["matrix"]
    assert set(matrix["terrains"]) >= {"Flat", "Tunnel", "Bumpy"}
    with Evaluator(n_jobs=1, duration=2.0) as evaluator:
        for row, cells in zip(matrix["rows"], matrix["cells"], strict=True):
            evaluated = evaluator.evaluate([row["program"]] * len(matrix["terrains"]), matrix["terrains"])
            assert [cell["distance"] for cell in cells] == [each.fitness for each in evaluated]
            assert all(cell["walk"] >= 0 for cell in cells if cell["error"] is None)


def test_failures_are_counted_and_some_can_be_read(run: Path) -> None:
    children = list(read_children(run))
    failures = read_failures([run, run])
    assert failures["children"] == 2 * len(children)
    expected = Counter(child["error"] for child in children if child["error"] is not None)
    assert {kind["kind"]: kind["count"] for kind in failures["kinds"]} == {kind: 2 * n for kind, n in expected.items()}
    texts = {child["program"] for child in children}
    for kind in failures["kinds"]:
        shown = [sample["program"] for sample in kind["samples"]]
        assert 0 < len(shown) == len(set(shown)) <= SAMPLES
        assert texts.issuperset(shown)


def test_harmful_texts_appear_in_no_markup(site: Path, data: dict[str, Any]) -> None:
    page = site.read_text(encoding="utf-8")
    assert "harmed" not in page
    assert page.count("</script>") == 4
    assert HOSTILE in data["records"]["messages"]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src &#x27;none&#x27;" in policy[1]
    assert "unsafe" not in policy[1]


def size_without_walks(contents: Contents) -> int:
    return sum(map(base64_size, contents.programs)) + base64_size(pack_json(contents.data))


def test_a_page_stays_within_its_size(run: Path, tmp_path: Path) -> None:
    walker = Walker(n_jobs=1)
    whole = collect(run, [], 25_000_000, walker)
    assert min(whole.data["records"]["walk"]) >= 0, "there is room for everything"
    assert whole.data["walks"]["frame_rate"] == 20
    needed = sum(map(base64_size, whole.walks))
    tight = collect(run, [], size_without_walks(whole) + needed // 3, walker)
    kept = [place for place, walk in enumerate(tight.data["records"]["walk"]) if walk >= 0]
    assert (tight.data["walks"]["frame_rate"], tight.data["walks"]["step"]) == (10, 0.05)
    assert 0 < len(kept) < len(tight.data["records"]["walk"])

    assert size_without_walks(tight) + sum(map(base64_size, tight.walks)) <= size_without_walks(whole) + needed // 3
    with pytest.raises(ElmError, match="without any walk"):
        collect(run, [], size_without_walks(whole) // 2, walker)
    copy = copied_run(run, tmp_path / "copy")
    assert write_site(copy, megabytes=0.4, walker=walker).stat().st_size <= 400_000


def test_seventeen_hundred_niches_fit(run: Path) -> None:
    contents = collect(run, [], 25_000_000, Walker(n_jobs=1))
    elites = sum(contents.data["records"]["elite"])
    # Walks here last 2 s; those of a usual run 10 s.
    bytes_an_elite = 5 * sum(map(base64_size, contents.walks)) / elites
    assert 1_728 * bytes_an_elite < 20_000_000


def test_a_page_is_made_twice_to_the_same_bytes(run: Path, tmp_path: Path) -> None:
    first, second = (
        write_site(copied_run(run, tmp_path / name / "run"), walker=Walker(n_jobs=n))
        for name, n in (("a", 1), ("b", 2))
    )
    assert first.read_bytes() == second.read_bytes()


def test_the_report_of_an_evolution_run_is_its_page(run: Path, tmp_path: Path) -> None:
    copy = copied_run(run, tmp_path / "copy")
    assert run_report(ReportConfig(run=copy, megabytes=1.0, n_jobs=1)) == copy / "index.html"
    (copy / ADMITTED_FILE).write_text("", encoding="ascii")
    with pytest.raises(ElmError, match="no program yet"):
        run_report(ReportConfig(run=copy))
    with pytest.raises(ElmError, match="megabytes"):
        ReportConfig(run=copy, megabytes=0.1)


def test_tables_come_from_markdown_csv_and_parquet(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"generator": ["a", "b"], "mean": [1.23456, float("nan")]})
    frame.to_csv(tmp_path / "scores.csv", index=False)
    frame.to_parquet(tmp_path / "scores.parquet")
    for name in ("scores.csv", "scores.parquet"):
        (table,) = read_tables(tmp_path / name)
        assert (table["columns"], table["rows"]) == (["generator", "mean"], [["a", "1.235"], ["b", "–"]])
    (tmp_path / "page.md").write_text(
        "# One\n\nFirst.\n\nWhat `x`\nis:\n\n|x|y|\n|-|-|\n|1|**2**|\n\n## Two\n\n|z|\n|-|\n|3|\n", encoding="utf-8"
    )
    assert [(each["title"], each["note"], each["rows"]) for each in read_tables(tmp_path / "page.md")] == [
        ("One", "What x is:", [["1", "2"]]),
        ("Two", "", [["3"]]),
    ]
    (tmp_path / "none.md").write_text("words\n", encoding="utf-8")
    for name, words in (("none.md", "no table"), ("none.txt", "expected .md"), ("absent.csv", "cannot be read")):
        with pytest.raises(ElmError, match=words):
            read_tables(tmp_path / name)
