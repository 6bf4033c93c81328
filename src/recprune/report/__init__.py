"""What a run found out, for people: one self-contained page and a table for the terminal, and the page of a search."""

from recprune.report.forgetting import forgetting_table
from recprune.report.page import render_report, write_report
from recprune.report.privacy import audit_table
from recprune.report.search import write_search_report
from recprune.report.table import summary_table

__all__ = [
    "audit_table",
    "forgetting_table",
    "render_report",
    "summary_table",
    "write_report",
    "write_search_report",
]
