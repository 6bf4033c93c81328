"""What a run found out, for people: one self-contained page and a table for the terminal, both from summary.json."""

from recprune.report.page import render_report, write_report
from recprune.report.table import summary_table

__all__ = ["render_report", "summary_table", "write_report"]
