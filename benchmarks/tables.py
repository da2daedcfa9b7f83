"""Result tables: Markdown with the command, the seeds, the machine and the versions beside the numbers."""

from __future__ import annotations

import math
import os
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from sodarace_gym.suite.tables import markdown_table

__all__ = ["RESULTS", "format_interval", "machine", "markdown_table", "mean_interval", "publish", "wilson_interval"]

RESULTS = Path(__file__).parent / "results"
"""Where results are committed."""

_PACKAGES = (
    "pymunk",
    "numba",
    "numpy",
    "pydantic-monty",
    "gymnasium",
    "stable-baselines3",
    "torch",
    "transformers",
    "trl",
)


def mean_interval(values: ArrayLike, confidence: float = 0.95, resamples: int = 10_000) -> tuple[float, float, float]:
    """Mean and bootstrap percentile interval over independent repetitions (seeds).

    Args:
        values: One number per seed, shape (seeds,).
        confidence: Coverage of the interval.
        resamples: Bootstrap samples; drawn with a fixed seed.

    Returns:
        (mean, low, high); low and high are NaN for fewer than two values, which carry no interval.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return float(array.mean()), float("nan"), float("nan")
    picks = np.random.default_rng(0).integers(len(array), size=(resamples, len(array)))
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(array[picks].mean(axis=1), [tail, 100.0 - tail])
    return float(array.mean()), float(low), float(high)


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share, which stays within 0 and 1 and has an upper end where nothing succeeded.

    Args:
        successes: How many trials succeeded.
        trials: Independent trials.
        z: Standard normal quantile of the coverage; 1.96 for 95%.

    Returns:
        (low, high); (0, 1) without trials.
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    centre = share + z * z / (2 * trials)
    margin = z * math.sqrt(share * (1.0 - share) / trials + (z / (2 * trials)) ** 2)
    scale = 1.0 + z * z / trials
    # At the ends rounding must not leave the share itself outside.
    low = (centre - margin) / scale if successes > 0 else 0.0
    high = (centre + margin) / scale if successes < trials else 1.0
    return low, high


def format_interval(values: ArrayLike, digits: int = 1) -> str:
    """``mean [low, high]``, or the mean alone where one value carries no interval."""
    mean, low, high = mean_interval(values)
    if np.isnan(low):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def machine() -> str:
    """The machine and the versions that a result depends on, one line each."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    installed = []
    for package in _PACKAGES:
        try:
            installed.append(f"{package} {version(package)}")
        except ModuleNotFoundError:
            continue
    return (
        f"Machine: {os.cpu_count()} cores, {processor}, {platform.system()}, Python {platform.python_version()}.\n"
        f"Versions: {', '.join(installed)}."
    )


def publish(name: str, title: str, body: str, write: bool) -> None:
    """Prints a result and, if asked, writes it to ``benchmarks/results/<name>.md``.

    Args:
        name: File name without suffix.
        title: Heading: the question the table answers.
        body: Tables and remarks, Markdown.
        write: Whether to write the file too.
    """
    command = " ".join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    text = f"# {title}\n\nCommand: `{command}`  \nDate: {date.today().isoformat()}  \n{machine()}\n\n{body}\n"
    print(text)
    if write:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}.md"
        path.write_text(text, encoding="utf-8")
        print(f"Written to {path}.", file=sys.stderr)
