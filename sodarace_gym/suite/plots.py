"""Pictures of results: interquartile means with their intervals, and performance profiles."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sodarace_gym.suite.figures import Comparison, compare_generators
from sodarace_gym.suite.results import needed
from sodarace_gym.suite.statistics import performance_profile, performance_profile_interval

if TYPE_CHECKING:
    import pandas as pd

_LEAST_RANGE = 1.5
"""Performance profiles go up to this score, or further where many scores are higher."""


def draw_results(results: pd.DataFrame, folder: Path, stem: str = "suite") -> list[tuple[str, str]]:
    """Draws the pictures of some results, as PNG files.

    Args:
        results: As `sodarace_gym.suite.results` reads them.
        folder: Where the files go.
        stem: Beginning of their names.

    Returns:
        What is on each picture, and its file's name.

    Raises:
        SuiteError: Matplotlib is not installed.
    """
    figure_class: Any = needed("matplotlib.figure").Figure
    comparisons = [each for each in compare_generators(results) if each.figures]
    names = sorted({each.name for comparison in comparisons for each in comparison.figures})
    colours = {name: f"C{number % 10}" for number, name in enumerate(names)}  # the same in every panel
    drawn = []
    for text, name, draw in (
        ("Interquartile means by budget", f"{stem}_scores.png", _scores),
        ("Performance profiles", f"{stem}_profiles.png", _profiles),
    ):
        figure = figure_class(figsize=(5.2 * len(comparisons) + 1.0, 4.4), layout="constrained")
        axes = figure.subplots(1, len(comparisons), squeeze=False)[0]
        lines: dict[str, Any] = {}
        for axis, comparison in zip(axes, comparisons, strict=True):
            lines |= draw(axis, comparison, colours)
            axis.set_title(f"{comparison.budget:,} evaluation{'s' * (comparison.budget > 1)}")
            axis.grid(alpha=0.3)
        if lines:
            figure.legend(lines.values(), lines.keys(), loc="outside right upper", fontsize=8)
        beside = folder / f"{name}.tmp"
        figure.savefig(beside, dpi=110, format="png", metadata={"Software": None})
        os.replace(beside, folder / name)
        drawn.append((text, name))
    return drawn


def _scores(axis: Any, comparison: Comparison, colours: Mapping[str, str]) -> dict[str, Any]:
    for place, each in enumerate(reversed(comparison.figures)):
        mean, low, high = each.interval
        if not np.isnan(low):
            axis.barh(place, high - low, left=low, color=colours[each.name], alpha=0.4)
        axis.plot([mean, mean], [place - 0.4, place + 0.4], color=colours[each.name])
    axis.set_yticks(range(len(comparison.figures)), [each.name for each in reversed(comparison.figures)], fontsize=8)
    axis.set_xlabel("interquartile mean score")
    highest = max(np.nanmax(each.interval) for each in comparison.figures)
    axis.set_xlim(0.0, 1.05 * highest if highest > 0.0 else 1.0)
    return {}


def _profiles(axis: Any, comparison: Comparison, colours: Mapping[str, str]) -> dict[str, Any]:
    """Draws the profiles; returns the line of each generator, for a legend that all panels share."""
    high = np.quantile(np.concatenate([each.scores.ravel() for each in comparison.figures]), 0.98)
    thresholds = np.linspace(0.0, max(_LEAST_RANGE, float(high)), 101).tolist()
    lines = {}
    for each in comparison.figures:
        colour = colours[each.name]
        style = ("-", "--", ":")[list(colours).index(each.name) // 10 % 3]
        [lines[each.name]] = axis.plot(thresholds, performance_profile(each.scores, thresholds), style, color=colour)
        low, high = performance_profile_interval(each.scores, thresholds)
        axis.fill_between(thresholds, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set_xlabel("score")
    axis.set_ylabel("share of runs with a higher one")
    axis.set_ylim(0.0, 1.0)
    return lines
