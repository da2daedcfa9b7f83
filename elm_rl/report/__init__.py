"""What people look at after a run: ``report.md`` with its tables and pictures."""

from elm_rl.report.page import ReportConfig, run_report

__all__ = ["ReportConfig", "run_report"]
