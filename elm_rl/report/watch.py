"""``elm-rl watch``: follows an evolution run in the terminal until it ends, and keeps its page of walks up to date.

Only files are read, and no lock is taken: the run does not notice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional, arg

from elm_rl.errors import ConfigError, ElmError
from elm_rl.report.ancestry import run_settings
from elm_rl.report.figures import part
from elm_rl.report.viewer import SITE_FILE, Walker, write_site
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import METRICS_FILE, SUMMARY_FILE, read_json, read_jsonl
from elm_rl.runs.setting_checks import check_threads

RECENT = 20
"""Iterations over which rates are told."""

_BARS = "▁▂▃▄▅▆▇█"
_DONE = "all iterations are done"  # what the summary of a part of a run says too


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """Settings of ``elm-rl watch``."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of an evolution run."""
    page: bool = False
    """Write the page of walks (index.html) anew while the run goes on; an open page loads itself again."""
    page_every: float = 120.0
    """Seconds between two pages; a page of a large run takes a minute."""
    poll: float = 1.0
    """Seconds between two looks at the run's files."""
    n_jobs: int = 1
    """Threads that make the page's walks; the run needs its cores itself. -1 for one a core."""

    def __post_init__(self) -> None:
        take_paths(self)
        for name in ("page_every", "poll"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; expected seconds, more than 0.")
        check_threads(self.n_jobs)


def run_watch(config: WatchConfig) -> Path:
    """Shows a run until it ends, or Ctrl-C.

    Returns:
        The page if one was written, and else the folder of the run.

    Raises:
        ElmError: The folder holds no evolution run, or its files are damaged.
    """
    settings = run_settings(config.run)
    console = Console()
    lines: list[dict[str, Any]] = []
    pages = _Pages(config) if config.page else None
    try:
        if console.is_terminal:
            with Live(console=console, auto_refresh=False, transient=False) as live:
                for new in follow(config.run, config.poll):
                    lines += new
                    if pages:
                        pages.update()
                    live.update(_shown(config.run.name, settings, lines, pages.note if pages else ""), refresh=True)
        else:
            for new in follow(config.run, config.poll):
                lines += new
                for line in new:
                    print(one_line(line), flush=True)
                if pages:
                    pages.update()
    finally:
        if pages:
            pages.close()
    if not pages:
        return config.run
    return write_site(config.run, walker=pages.walker)  # the last one, which does not load itself again


def follow(run: Path, poll: float) -> Iterator[list[dict[str, Any]]]:
    """The finished iterations of a run as they come.

    Args:
        run: Its folder.
        poll: Seconds between two looks.

    Yields:
        At each look the lines of metrics.jsonl that are new, first all that there are; often none. It ends with the run.

    Raises:
        ElmError: A file is damaged.
    """
    seen, size = 0, -1
    last: dict[str, Any] = {}
    while True:
        ended = has_ended(run)  # asked before: a run writes its summary last
        path = run / METRICS_FILE
        now = path.stat().st_size if path.is_file() else 0
        new: list[dict[str, Any]] = []
        if now != size:
            size = now
            lines = list(read_jsonl(path)) if path.is_file() else []
            # A run that was killed and goes on repeats its last iterations: what was cut back is not shown twice.
            seen = min(seen, len(lines)) if not last or last in lines[:seen] else 0
            new = [line for line in lines[seen:] if line.get("iteration", 0) > last.get("iteration", -1)]
            seen = len(lines)
            last = new[-1] if new else last
        yield new
        if ended:
            return
        time.sleep(poll)


def has_ended(run: Path) -> bool:
    """Whether a run has written the last of its summaries: one of several rounds writes one a part."""
    path = run / SUMMARY_FILE
    if not path.is_file():
        return False
    summary, rounds = read_json(path), run_settings(run).get("rounds") or 0
    lines = list(read_jsonl(run / METRICS_FILE)) if (run / METRICS_FILE).is_file() else []
    if not lines or summary.get("iterations") != lines[-1].get("iteration"):  # of a run that was resumed
        return False
    return len(summary.get("phases", ())) > rounds or summary.get("stopped") != _DONE


def one_line(line: Mapping[str, Any]) -> str:
    """An iteration in one line, for files and pipes."""
    return (
        f"iteration {line.get('iteration')}  evaluations {line.get('evaluations', 0):,}  niches {line.get('niches', 0):,}  "
        f"QD score {line.get('qd_score', 0.0):,.0f}  best {line.get('best', 0.0):.2f}"
    )


def _shown(name: str, settings: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], note: str) -> RenderableType:
    if not lines:
        return Text(f"{name}: no iteration has been finished yet.")
    last, recent = lines[-1], lines[-RECENT:]
    seconds = sum(part(line, "timing").get("seconds", 0.0) for line in recent)
    made = last.get("evaluations", 0) - recent[0].get("evaluations", 0)
    spent = seconds - part(recent[0], "timing").get("seconds", 0.0)
    rate = f", {made / spent:.0f} a second" if spent > 0 and made > 0 else ""
    head = Text()
    head.append(f"{name}  ", style="bold")
    head.append(
        f"iteration {last.get('iteration')} of {settings.get('iterations')}, {last.get('evaluations', 0):,} evaluations{rate}"
    )
    figures = Table.grid(padding=(0, 3))
    for key, title, form in (("qd_score", "QD score", ",.0f"), ("niches", "niches", ","), ("best", "best", ".2f")):
        values = [float(line[key]) for line in lines if key in line]
        figures.add_row(
            title, Text(format(last.get(key, 0), form), style="bold"), Text(sparkline(values), style="blue")
        )
    archives = _table("archive", "niches", "QD score", "best")
    for archive, each in part(last, "archives").items():
        archives.add_row(
            Text(archive),
            f"{each.get('niches', 0):,}",
            f"{each.get('qd_score', 0.0):,.0f}",
            f"{each.get('best', 0.0):.2f}",
        )
    operators = _table("operator", "share %", "children", "valid %", "admitted %", "gain")
    for operator in part(last, "operators"):
        counts = [part(line, "operators", operator) for line in recent]
        sums = {key: sum(each.get(key, 0) for each in counts) for key in ("proposed", "valid", "admitted", "gain")}
        proposed = sums["proposed"] or 1
        operators.add_row(
            Text(operator),
            f"{100.0 * part(last, 'shares').get(operator, 0.0):.0f}",
            f"{sums['proposed']:,}",
            f"{100.0 * sums['valid'] / proposed:.0f}",
            f"{100.0 * sums['admitted'] / proposed:.0f}",
            f"{sums['gain'] / proposed:.2f}",
        )
    errors = ", ".join(f"{kind} {count}" for kind, count in part(last, "errors").items())
    foot = Text(
        f"operators: the last {len(recent)} iterations. Failed in the last: {errors or 'none'}. {note}", style="dim"
    )
    return Group(head, "", figures, "", archives, "", operators, foot)


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """A curve of one line of text, from 0 to its greatest value."""
    if not values:
        return ""
    top = max(*values, 1e-12)
    count = min(width, len(values))
    picked = [values[(len(values) - 1) * k // max(1, count - 1)] for k in range(count)]
    return "".join(_BARS[min(len(_BARS) - 1, int(len(_BARS) * max(0.0, value) / top))] for value in picked)


@dataclass
class _Pages:
    """Writes pages beside the display, one at a time."""

    config: WatchConfig
    walker: Walker = field(init=False)
    note: str = ""
    _next: float = 0.0
    _under_way: Future[Path] | None = None

    def __post_init__(self) -> None:
        self.walker = Walker(n_jobs=self.config.n_jobs, progress=False)
        self._pool = ThreadPoolExecutor(1)

    def update(self) -> None:
        """Begins the next page if it is time, and notes the last."""
        if self._under_way is not None and self._under_way.done():
            try:
                self._under_way.result()
                self.note = f"{SITE_FILE} was written at {time.strftime('%H:%M:%S')}."
            except ElmError as error:  # of a run that has only just begun
                self.note = f"No {SITE_FILE} yet: {error}"
            self._under_way = None
        if self._under_way is None and time.monotonic() >= self._next:
            self._next = time.monotonic() + self.config.page_every
            refresh = max(10, round(self.config.page_every))
            self._under_way = self._pool.submit(write_site, self.config.run, refresh=refresh, walker=self.walker)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
