"""Charts of the page: what has no point is no curve."""

from __future__ import annotations

from elm_rl.report.viewer.curves import evolution_charts


def test_an_operator_that_is_hardly_ever_asked_has_no_curve() -> None:
    lines = []
    for iteration in range(8):
        often, rarely = {"proposed": 20, "admitted": 5}, {"proposed": iteration % 2, "admitted": 0}
        counts = {"gp": often, "builtin": rarely}
        figures = {"qd_score": 1.0 * iteration, "niches": iteration, "best": 1.0}
        lines.append({"iteration": iteration, "evaluations": 20 * iteration, "operators": counts, **figures})
    charts = evolution_charts(lines, "Flat")
    assert all(series["xs"] for chart in charts for series in chart["series"])
    [admitted] = [chart for chart in charts if "by operator" in chart["title"]]
    assert [series["name"] for series in admitted["series"]] == ["gp"]
