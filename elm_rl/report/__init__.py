"""What people look at after a run, or while it goes on.

`page` writes ``report.md`` with its tables (`figures`) and pictures (`gallery`, `pictures`), and has `viewer` write the page on
which the walkers walk; `watch` follows a run that goes on, and `ledger` adds up what runs have cost; `lineage` tells how an
elite came about (`ancestry`) and `lineage_strip` draws it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.report.lineage import LineageConfig as LineageConfig
    from elm_rl.report.lineage import run_lineage as run_lineage
    from elm_rl.report.page import ReportConfig as ReportConfig
    from elm_rl.report.page import run_report as run_report

__getattr__, __dir__ = lazy_names(
    __name__,
    {"lineage": ["LineageConfig", "run_lineage"], "page": ["ReportConfig", "run_report"]},
)
