"""The run of the paper's size: what its figures mean, and that it goes on where it was stopped."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from benchmarks.paper_size import Sample, curve, evaluations_of, follow, growth, read_samples, table


def test_growth_is_that_of_the_second_half() -> None:
    early = [Sample(n, n, 100.0 + n, 200.0, 0.0) for n in range(100, 1000, 100)]
    late = [Sample(n, n, 1100.0 + 0.25 * (n - 1000), 200.0, 0.0) for n in range(1000, 2001, 100)]
    assert growth([*early, *late], "process") == pytest.approx(0.25)
    assert growth([*early, *late], "all_processes") == pytest.approx(0.0)


def test_a_line_that_is_being_written_does_not_count(tmp_path: Path) -> None:
    assert evaluations_of(tmp_path) == 0
    lines = [json.dumps({"evaluations": n, "padding": "x" * 900}) for n in range(0, 5000, 100)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"evaluat')
    assert evaluations_of(tmp_path) == 4900


def test_a_run_that_was_stopped_goes_on_and_keeps_its_clock(tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "samples.jsonl"
    flags = ["--operators", "gp", "--batch-size", "8", "--duration", "1", "--n-jobs", "1", "--iterations"]
    first = follow([*flags, "40"], run, file, every=0.1)
    assert first == read_samples(file)
    assert 0 < first[0].process < first[0].all_processes
    samples = follow([*flags, "80"], run, file, every=0.1)
    assert samples == read_samples(file)
    assert samples[: len(first)] == first
    assert all(b.evaluations > a.evaluations and b.seconds > a.seconds for a, b in itertools.pairwise(samples))
    found = curve(run)
    assert len(found) == 81
    last = table(samples, found).splitlines()[-1].split("|")
    assert int(last[1]) == samples[-1].evaluations
    assert int(last[2]) <= found[-1, 1]


def test_a_failed_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with"):
        follow(["--operators", "nothing"], tmp_path / "run", tmp_path / "samples.jsonl", every=0.1)
