"""Learning curves: what the metrics of evolution, of language models and of policies say, thinned out for a page."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from elm_rl.report.figures import part
from elm_rl.report.gallery import GENERATOR_NAMES
from elm_rl.runs.run_directory import METRICS_FILE, read_jsonl

MOST_POINTS = 240
"""Points of a curve that a page draws."""

Chart = dict[str, Any]
"""``title``, ``x`` and ``y`` (words for the axes), ``series`` (``name``, ``xs``, ``ys``, ``points``: whether each is marked)
and ``marks`` (xs of dashed lines)."""


def evolution_charts(metrics: Sequence[Mapping[str, Any]], name: str) -> list[Chart]:
    """Niches, QD score, best fitness and the operators' admitted shares over the evaluations of a run.

    Args:
        metrics: Lines of the run's metrics.jsonl.
        name: What the run is called.
    """
    lines = [line for line in metrics if "evaluations" in line]
    if len(lines) < 2:
        return []
    marks = [
        before["evaluations"]
        for before, after in itertools.pairwise(lines)
        if before.get("phase") not in (None, after.get("phase")) and before["iteration"] > 0
    ]
    charts = [
        _chart(
            f"{name}: {title}",
            "evaluations",
            unit,
            [_series("all archives", _points(lines, "evaluations", key))],
            marks,
        )
        for key, title, unit in (
            ("qd_score", "QD score", "units"),
            ("niches", "niches filled", "niches"),
            ("best", "best fitness", "units"),
        )
    ]
    operators = list(dict.fromkeys(key for line in lines for key in part(line, "operators")))
    # An operator that is hardly ever asked has no point.
    shares = [each for each in (_series(name, _admitted(lines, name)) for name in operators) if each["xs"]]
    if any(len(each["xs"]) > 1 for each in shares):
        charts.append(_chart(f"{name}: children admitted, by operator", "evaluations", "%", shares, marks))
    return charts


def _admitted(lines: Sequence[Mapping[str, Any]], operator: str) -> list[tuple[float, float]]:
    """The share of an operator's children that was admitted, over about 1/30 of the run each."""
    width = max(1, len(lines) // 30)
    points = []
    for start in range(0, len(lines), width):
        counts = [part(line, "operators", operator) for line in lines[start : start + width]]
        proposed = sum(each.get("proposed", 0) for each in counts)
        if proposed >= 5:
            end = lines[min(start + width, len(lines)) - 1]["evaluations"]
            points.append((end, 100.0 * sum(each.get("admitted", 0) for each in counts) / proposed))
    return points


def pipeline_charts(run: Path) -> list[Chart]:
    """The losses of the language models and what policies did while they learnt, as far as a pipeline run has come."""
    charts = []
    for folder, title in (("language_model", "Stage 2: loss"), ("supervised", "Stage 3, supervised start: loss")):
        lines = _read(run / folder)
        losses = [_series("training", _points(lines, "step", "loss"))]
        losses.append(_series("held out", _points(lines, "step", "eval_loss")))
        charts.append(_chart(title, "step", "nats a token", [each for each in losses if each["xs"]]))
    for folder in ("rank_gradient", "finetuned"):
        lines = _read(run / folder)
        looks = [{"update": line["update"], **line["validation"]} for line in lines if line.get("validation")]
        name = GENERATOR_NAMES["rank_gradient" if folder == "rank_gradient" else "stage3"]
        series = [
            _series("programs of the update", _points(lines, "update", "distance")),
            _series("validation", _points(looks, "update", "mean"), marked=True),
        ]
        charts.append(
            _chart(
                f"{name[0].upper()}{name[1:]}: mean least distance", "update", "units", [s for s in series if s["xs"]]
            )
        )
    return [chart for chart in charts if chart["series"]]


def _read(folder: Path) -> list[dict[str, Any]]:
    path = folder / METRICS_FILE
    return list(read_jsonl(path)) if path.is_file() else []


def _points(lines: Iterable[Mapping[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    return [(line[x], line[y]) for line in lines if _number(line.get(x)) and _number(line.get(y))]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300  # and not NaN


def _series(name: str, points: Sequence[tuple[float, float]], *, marked: bool = False) -> dict[str, Any]:
    """A curve; where there are too many points, evenly chosen ones and the last."""
    every = -(-len(points) // MOST_POINTS) or 1
    kept = [*points[:-1:every], *points[-1:]]
    return {
        "name": name,
        "xs": [float(f"{x:.6g}") for x, _ in kept],
        "ys": [float(f"{y:.6g}") for _, y in kept],
        "points": marked,
    }


def _chart(title: str, x: str, y: str, series: Sequence[Mapping[str, Any]], marks: Sequence[float] = ()) -> Chart:
    return {"title": title, "x": x, "y": y, "series": list(series), "marks": list(marks)}
