"""The pictures of a report: maps of elites, learning curves, terrain matrices and film strips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from ribs.archives import GridArchive

from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.report.figures import part
from elm_rl.runs.run_directory import write_bytes
from sodarace_gym.rendering.film import film_strip
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign

_MAP = ArchiveSpec()  # the pipeline keeps to it
_PLANES = ((1, 0), (2, 0), (2, 1))
"""Which measures span each projection of the map: (x axis, y axis)."""


def save_figure(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG, whole or not at all."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110, format="png", bbox_inches="tight")
    write_bytes(path, buffer.getvalue())
    return path


def draw_archives(archives: Mapping[str, GridArchive], path: Path) -> Path:
    """Heat maps of the elites: one row an archive, one column for each pair of measures.

    Each cell shows the best fitness over the third measure; empty cells are grey.
    """
    grids = {name: _fitness_grid(archive) for name, archive in archives.items()}
    best = max((float(np.nanmax(grid)) for grid in grids.values() if np.isfinite(grid).any()), default=1.0)
    figure = Figure(figsize=(10.5, 3.0 * len(grids) + 0.4), layout="constrained")
    axes = figure.subplots(len(grids), len(_PLANES), squeeze=False)
    colours = mpl.colormaps["viridis"].with_extremes(bad="#e6e6e6")
    image = None
    for row, (name, grid) in zip(axes, grids.items(), strict=True):
        for axis, (x, y) in zip(row, _PLANES, strict=True):
            third = 3 - x - y
            plane = np.where(
                np.isnan(grid).all(axis=third), np.nan, np.nanmax(np.nan_to_num(grid, nan=-np.inf), axis=third)
            )
            plane = plane if y < x else plane.T  # rows are the y axis
            extent = (*_MAP.ranges[x], *_MAP.ranges[y])
            image = axis.imshow(plane, origin="lower", extent=extent, aspect="auto", cmap=colours, vmin=0.0, vmax=best)
            axis.set_xlabel(_MAP.measures[x])
            axis.set_ylabel(_MAP.measures[y])
        filled = int(np.isfinite(grid).sum())
        row[0].set_title(f"{name}: {filled:,} of {grid.size:,} niches", loc="left", fontsize=10, fontweight="bold")
    if image is not None:
        figure.colorbar(image, ax=axes, label="best distance (units)", shrink=0.8)
    return save_figure(figure, path)


def _fitness_grid(archive: GridArchive) -> NDArray[np.float64]:
    grid = np.full(_MAP.bins, np.nan)
    elites = archive.data(["objective", "index"])
    grid[np.unravel_index(elites["index"], _MAP.bins)] = elites["objective"]
    return grid


def draw_evolution(records: Sequence[Mapping[str, Any]], phases: Sequence[int], path: Path) -> Path:
    """Niches, QD score and best fitness over the evaluations of a run.

    Args:
        records: Lines of the run's metrics.jsonl; what one does not hold is a gap in its curve.
        phases: Evaluations at which a new phase began; drawn as dashed lines.
        path: Where to write.
    """
    figure = Figure(figsize=(10.5, 2.8), layout="constrained")
    xs = _curve(records, "evaluations")
    titles = {"niches": "niches filled (all seeds)", "qd_score": "QD score", "best": "best distance (units)"}
    for axis, (key, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        axis.plot(xs, _curve(records, key), color="#1f6f8b")
        for start in phases:
            axis.axvline(start, color="#999999", linestyle="--", linewidth=0.8)
        _tidy(axis, "evaluations", title)
    return save_figure(figure, path)


def draw_policies(curves: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> Path:
    """What policies did while they learnt, one after the other: distance, different walkers, divergence from the start.

    Args:
        curves: By the name of each, the lines of its metrics.jsonl, as ``inventor.policy_run`` writes them; what one does not
            hold is a gap in its curve.
        path: Where to write.
    """
    figure = Figure(figsize=(10.5, 2.8), layout="constrained")
    distance, designs, kl = figure.subplots(1, 3)
    for number, (name, records) in enumerate(curves.items()):
        updates = _curve(records, "update")
        colour = f"C{number}"
        distance.plot(updates, _curve(records, "distance"), color=colour, alpha=0.35, linewidth=1.0)
        looks = [record for record in records if "validation" in record]
        at = _curve(looks, "update")
        distance.plot(at, _curve(looks, "validation", "mean"), "o-", color=colour, markersize=3, label=name)
        designs.plot(at, 100.0 * _curve(looks, "validation", "designs"), "o-", color=colour, markersize=3)
        kl.plot(updates, _curve(records, "kl"), color=colour)
    distance.legend(fontsize=8)
    for axis, title in (
        (distance, "least distance (units)"),
        (designs, "different walkers, % of samples"),
        (kl, "divergence from its start (nats)"),
    ):
        _tidy(axis, "update", title)
        axis.set_ylim(bottom=0.0)
    return save_figure(figure, path)


def draw_matrices(matrices: Mapping[str, Sequence[Sequence[float]]], terrains: Sequence[str], path: Path) -> Path:
    """Terrain x terrain matrices side by side: row asked for, column walked on, mean distance."""
    figure = Figure(figsize=(3.6 * len(matrices), 3.2), layout="constrained")
    for axis, (name, values) in zip(figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True):
        matrix = np.array(values)
        axis.imshow(matrix / np.maximum(matrix.max(axis=0), 1e-9), cmap="Blues", vmin=0.0, vmax=1.4)
        for row in range(len(terrains)):
            for column in range(len(terrains)):
                weight = "bold" if matrix[row, column] == matrix[:, column].max() else "normal"
                axis.text(column, row, f"{matrix[row, column]:.1f}", ha="center", va="center", fontweight=weight)
        axis.set_xticks(range(len(terrains)), terrains)
        axis.set_yticks(range(len(terrains)), terrains)
        axis.set_xlabel("walked on")
        axis.set_ylabel("asked for")
        axis.set_title(name, fontsize=10)
    return save_figure(figure, path)


def draw_film_strip(design: WalkerDesign, terrain: Terrain, path: Path) -> Path:
    """A film strip of a walker on a terrain."""
    buffer = BytesIO()
    Image.fromarray(film_strip(design, terrain)).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
    return path


def _curve(records: Sequence[Mapping[str, Any]], *keys: str) -> NDArray[np.float64]:
    """What the records hold under these nested keys, NaN where they hold nothing."""
    return np.array([part(record, *keys[:-1]).get(keys[-1], np.nan) for record in records], dtype=np.float64)


def _tidy(axis: Axes, x: str, title: str) -> None:
    axis.set_xlabel(x)
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
