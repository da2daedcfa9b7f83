"""Archives by configuration: every kind takes what it should, leaves no trace of what it refuses, and can be rebuilt."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from elm_rl.errors import ConfigError
from elm_rl.evolution import EvolveConfig, archives, run_evolve
from elm_rl.evolution.archives import KINDS, ArchiveSpec, ProgramMap, centroids, map_figures
from elm_rl.evolution.measures import MEASURES
from elm_rl.evolution.seeds import load_seed
from sodarace_gym.evaluation import Evaluator

SPECS = [
    ArchiveSpec(),
    ArchiveSpec(bins=(3,)),
    ArchiveSpec(measures=("mass",), bins=(7,), ranges=((10.0, 20.0),)),
    ArchiveSpec(kind="sliding", bins=(4,)),
    ArchiveSpec(kind="cvt", cells=50),
    ArchiveSpec(kind="cvt", cells=20, measures=("joints", "muscles"), seed=3),
    ArchiveSpec(kind="proximity"),
    ArchiveSpec(kind="proximity", measures=("joints", "height"), novelty=0.3),
]
SPEC_IDS = [f"{spec.kind}-{len(spec.measures)}-{place}" for place, spec in enumerate(SPECS)]


def candidates(spec: ArchiveSpec, count: int, seed: int) -> list[tuple[float, list[float]]]:
    """Fitness and measures; some equal others, and some lie beyond the ranges."""
    rng = np.random.default_rng(seed)
    low, high = np.array(spec.ranges).T
    values = low + (high - low) * rng.normal(0.5, 0.3, size=(count, len(low)))
    values[rng.random(count) < 0.2] = values[0]
    return list(zip(np.round(rng.exponential(5.0, size=count), 1).tolist(), values.tolist(), strict=True))


def offered(spec: ArchiveSpec, count: int, seed: int) -> tuple[ProgramMap, list[dict[str, Any]]]:
    """A map that was offered programs, and the records of those it took."""
    program_map = ProgramMap(spec)
    records: list[dict[str, Any]] = []
    for number, (fitness, measures) in enumerate(candidates(spec, count, seed)):
        niche = program_map.offer(f"program {number}", fitness, measures, id=len(records))
        if niche is not None:
            named = dict(zip(spec.measures, measures, strict=True))
            records.append(
                {"id": len(records), "program": f"program {number}", "fitness": fitness, "niche": niche, **named}
            )
    return program_map, records


def assert_same(one: ProgramMap, other: ProgramMap) -> None:
    first, second = one.archive.data(), other.archive.data()
    assert first.keys() == second.keys()
    for name, values in first.items():
        if values.dtype == object:
            assert values.tolist() == second[name].tolist()
        else:
            assert values.tobytes() == second[name].tobytes()
    assert one.archive.stats == other.archive.stats
    if one.best is not None and other.best is not None:
        assert one.best.tobytes() == other.best.tobytes()
    if one.spec.kind == "sliding":
        for mine, theirs in zip(one.archive.boundaries, other.archive.boundaries, strict=True):
            assert mine.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("spec", SPECS, ids=SPEC_IDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_rebuilt_from_what_it_took(spec: ArchiveSpec, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "REMAP_EVERY", 40)  # the bins move several times
    monkeypatch.setattr(archives, "REMAP_OVER", 60)
    program_map, records = offered(spec, 600, seed)
    assert 0 < len(records) < 600
    rebuilt = ProgramMap(spec)
    for record in records:
        measures = [record[name] for name in spec.measures]
        assert rebuilt.offer(record["program"], record["fitness"], measures, id=record["id"]) is not None
    assert_same(rebuilt, program_map)
    # A run goes on with the rebuilt one as it would have gone on.
    for number, (fitness, measures) in enumerate(candidates(spec, 200, seed + 100)):
        answers = [each.offer(f"later {number}", fitness, measures, id=number) for each in (program_map, rebuilt)]
        assert answers[0] == answers[1]
    assert_same(rebuilt, program_map)


@pytest.mark.parametrize("spec", SPECS, ids=SPEC_IDS)
def test_a_refused_program_leaves_no_trace(spec: ArchiveSpec) -> None:
    program_map, _ = offered(spec, 300, 0)
    untouched, _ = offered(spec, 300, 0)
    refused = [
        program_map.offer("worse", -1.0, measures, id=9) for measures in program_map.elites()["measures"].tolist()
    ]
    assert set(refused) == {None}
    assert_same(program_map, untouched)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.kind in ("grid", "cvt")], ids=lambda spec: spec.kind)
def test_fixed_niches_take_what_pyribs_takes(spec: ArchiveSpec) -> None:
    """The short cut against the archive alone, and figures against the archive's own."""
    program_map, plain, taken = ProgramMap(spec), spec.make(), 0
    low, high = np.array(spec.ranges).T
    for number, (fitness, measures) in enumerate(candidates(spec, 400, 5)):
        fields: dict[str, Any] = {"id": number}
        place = np.array(measures)
        if spec.kind == "cvt":
            fields["values"], place = measures, np.clip((place - low) / (high - low), 0.0, 1.0)
        status = plain.add_single(f"{number}", fitness, place, **fields)["status"]
        niche = program_map.offer(f"{number}", fitness, measures, id=number)
        assert (niche is not None) == bool(status)
        if niche is not None:
            taken += 1
            assert program_map.best is not None
            assert program_map.best[niche] == fitness
    assert 0 < taken < 400
    assert program_map.archive.data()["solution"].tolist() == plain.data()["solution"].tolist()
    figures = map_figures([program_map])
    assert figures["niches"] == plain.stats.num_elites
    assert figures["qd_score"] == pytest.approx(float(plain.stats.qd_score))
    assert figures["best"] == plain.stats.obj_max


def test_default_is_the_map_of_the_paper() -> None:
    spec = ArchiveSpec()
    assert (spec.bins, spec.niches, spec.fixed) == ((12, 12, 12), 1728, True)
    assert spec.ranges == ((0.0, 24.0), (0.0, 30.0), (0.0, 300.0))
    archive = spec.make()
    assert archive.field_list == ["solution", "objective", "measures", "threshold", "id", "index"]
    assert archive.index_of_single((24.0, 30.0, 10_000.0)) == 1727
    assert archive.index_of_single((-1.0, 0.0, 0.0)) == 0


def test_a_sliding_archive_spreads_its_bins_over_the_walkers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "REMAP_EVERY", 50)
    walkers = np.random.default_rng(1).uniform(5.0, 6.0, size=(2000, 1)).tolist()  # in one bin of a grid
    found = {}
    for kind in ("grid", "sliding"):
        program_map = ProgramMap(ArchiveSpec(kind=kind, measures=("height",)))
        for number, measures in enumerate(walkers):
            program_map.offer("program", 1.0 + number, measures, id=number)
        found[kind] = map_figures([program_map])["niches"]
    assert found["grid"] == 1
    assert found["sliding"] >= 10


def test_elites_of_a_proximity_archive_keep_apart() -> None:
    spec = ArchiveSpec(kind="proximity", measures=("height", "width"), novelty=0.1)
    program_map = ProgramMap(spec)
    rng = np.random.default_rng(0)
    for number in range(500):
        program_map.offer("program", 1.0, rng.uniform((0, 0), (24, 30)).tolist(), id=number)
    shares = program_map.elites()["measures"] / (24.0, 30.0)
    gaps = np.linalg.norm(shares[:, None] - shares[None], axis=2) + 9.0 * np.eye(len(shares))
    assert len(shares) > 40
    assert gaps.min() >= 0.1
    # One that is not far enough takes its neighbour's place if it is better, and not otherwise.
    near = (program_map.elites()["measures"][7] + 0.01).tolist()
    assert program_map.offer("no better", 1.0, near, id=600) is None
    assert program_map.offer("better", 1.5, near, id=601) == 7
    assert program_map.elites()["measures"][7].tolist() == near
    assert program_map.elites()["program"][7] == "better"


@given(st.integers(2, 60), st.integers(1, 4), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_centroids_are_distinct_points_of_the_cube(cells: int, dimensions: int, seed: int) -> None:
    points = centroids(cells, dimensions, seed)
    assert points.shape == (cells, dimensions)
    assert len(np.unique(points, axis=0)) == cells
    assert ((points > 0.0) & (points < 1.0)).all()
    centroids.cache_clear()
    assert centroids(cells, dimensions, seed).tobytes() == points.tobytes()


def test_centroids_are_those_of_earlier_runs() -> None:
    """A CVT archive is rebuilt from its seed: other points would be another archive."""
    assert np.round(centroids(4, 2, 0), 9).tolist() == [
        [0.741634938, 0.769956042], [0.201728004, 0.812336644], [0.752888908, 0.230865932], [0.266095073, 0.312073909],
    ]  # fmt: skip
    assert centroids(4, 2, 1).tolist() != centroids(4, 2, 0).tolist()


def test_cells_of_a_cvt_archive_are_of_about_equal_size() -> None:
    spec = ArchiveSpec(kind="cvt", cells=200)
    program_map = ProgramMap(spec)
    low, high = np.array(spec.ranges).T
    walkers = np.random.default_rng(3).uniform(low, high, size=(20_000, 3))
    shares = (walkers - low) / (high - low)
    met = np.bincount(program_map.archive.index_of(shares), minlength=200)
    assert met.min() > 30  # of 100; random points would leave some cells a tenth of that
    assert met.max() < 220


def test_figures_over_several_maps() -> None:
    grids = [ProgramMap(ArchiveSpec(bins=(2,))) for _ in range(2)]
    for program_map, fitness in zip(grids, (3.0, 4.0), strict=True):
        program_map.offer("same niche", fitness, [1.0, 1.0, 1.0], id=0)
    grids[1].offer("another", 2.0, [20.0, 1.0, 1.0], id=1)
    assert map_figures(grids) == {"niches": 2, "qd_score": 6.0, "best": 4.0}
    assert map_figures([ProgramMap(ArchiveSpec())]) == {"niches": 0, "qd_score": 0.0, "best": 0.0}
    loose = [ProgramMap(ArchiveSpec(kind="proximity")) for _ in range(2)]
    for program_map, fitness in zip(loose, (3.0, 4.0), strict=True):
        program_map.offer("same place", fitness, [1.0, 1.0, 1.0], id=0)
    assert map_figures(loose) == {"niches": 2, "qd_score": 7.0, "best": 4.0}


def test_measures_of_a_real_walker() -> None:
    spec = ArchiveSpec(
        measures=("mass", "joints", "muscles", "width", "height", "mean_height", "ground_share"), bins=(4,)
    )
    assert spec.gait
    assert not ArchiveSpec().gait
    with Evaluator(n_jobs=1, duration=0.5, gait=spec.gait) as evaluator:
        (evaluation,) = evaluator.evaluate([load_seed("square")], "Flat")
    design = evaluation.design
    assert design is not None
    assert spec.measure(evaluation) == {
        "mass": design.mass,
        "joints": len(design.joints),
        "muscles": len(design.muscles),
        "width": design.width,
        "height": design.height,
        "mean_height": evaluation.mean_height,
        "ground_share": evaluation.ground_share,
    }
    assert list(spec.measure(evaluation)) == list(spec.measures)


@pytest.mark.parametrize("spec", SPECS, ids=SPEC_IDS)
def test_a_spec_is_its_settings(spec: ArchiveSpec) -> None:
    written = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(spec).items()}
    assert ArchiveSpec(**written) == spec  # as a run's config.json has it
    assert spec.ranges == tuple((MEASURES[name].low, MEASURES[name].high) for name in spec.measures) or spec.ranges == (
        (10.0, 20.0),
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "tree"}, f"archive kind is 'tree'; expected one of {', '.join(KINDS)}."),
        ({"measures": ("height", "speed")}, "measures has 'speed'; expected one or more of height, width"),
        ({"measures": ()}, r"measures has \[\]"),
        ({"measures": ("mass", "mass")}, "each once"),
        ({"measures": "mass"}, "a list of names"),
        ({"kind": "cvt", "bins": (3,)}, "bins is set for a cvt archive, which has none; .*grid and sliding"),
        ({"cells": 100}, "cells is set for a grid archive, which has none; leave it out, or choose cvt."),
        ({"seed": 1}, "seed is set for a grid archive"),
        ({"novelty": 0.1}, "novelty is set for a grid archive"),
        ({"ranges": ((0.0, 1.0),)}, "ranges has 1 entries; expected one for each of height, width, mass."),
        ({"ranges": ((0, 1), (2, 2), (0, 1))}, r"ranges has \(2, 2\) for width"),
        ({"ranges": ((0, 1), (2, math.nan), (0, 1))}, "for width"),
        ({"ranges": ((0, math.inf), (0, 1), (0, 1))}, "for height"),
        ({"bins": (12, 12)}, r"bins is \[12, 12\]; expected one whole number above 0"),
        ({"bins": (0,)}, "expected one whole number above 0"),
        ({"bins": (2.5,)}, "expected one whole number above 0"),
        ({"bins": (200,)}, "makes 8,000,000 niches; expected at most 1,000,000"),
        ({"kind": "cvt", "cells": 1}, "cells is 1; expected a whole number from 2 to 1,000,000."),
        ({"kind": "cvt", "seed": -1}, "seed of the archive is -1"),
        ({"kind": "proximity", "novelty": 0.0}, "novelty is 0.0; expected a number above 0"),
    ],
)  # fmt: skip
def test_wrong_settings_are_one_sentence(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ArchiveSpec(**wrong)


@pytest.mark.parametrize("spec", SPECS, ids=SPEC_IDS)
def test_what_is_not_finite_is_refused(spec: ArchiveSpec) -> None:
    program_map = ProgramMap(spec)
    good = [1.0] * len(spec.measures)
    program_map.offer("good", 1.0, good, id=0)
    with pytest.raises(ValueError, match="finite"):
        program_map.offer("no fitness", math.inf, good, id=1)
    with pytest.raises(ValueError, match="finite"):
        program_map.offer("no place", 2.0, [math.nan, *good[1:]], id=1)
    assert program_map.elites()["program"].tolist() == ["good"]


@pytest.mark.parametrize(
    ("flags", "spec"),
    [
        ("", ArchiveSpec()),
        ("--archive.measures mass", ArchiveSpec(measures=("mass",))),
        ("--archive.kind cvt --archive.cells 50", ArchiveSpec(kind="cvt", cells=50)),
        ("--archive.kind proximity --archive.measures joints", ArchiveSpec(kind="proximity", measures=("joints",))),
        ("--archive.kind sliding --archive.bins 4", ArchiveSpec(kind="sliding", bins=(4,))),
    ],
)  # fmt: skip
def test_the_command_line_fills_in_what_it_is_not_told(flags: str, spec: ArchiveSpec) -> None:
    assert tyro.cli(EvolveConfig, args=flags.split()).archive == spec


@pytest.mark.parametrize("kind", KINDS)
def test_programs_of_every_archive_can_be_bred_from(tmp_path: Path, kind: str) -> None:
    config = EvolveConfig(
        out=tmp_path, seeds=("square",), operators=("gp",), archive=ArchiveSpec(kind=kind), iterations=2, batch_size=8,
        duration=1.0, n_jobs=1, progress=False,
    )  # fmt: skip
    assert run_evolve(config)["evaluations"] > 8
