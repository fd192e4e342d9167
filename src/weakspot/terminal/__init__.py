"""What a person sees on stdout when a verb is done: a table or a few lines, or with --json the same as data."""

from weakspot.terminal.doctor import show_doctor
from weakspot.terminal.experimenting import show_crossval, show_experiments, show_records
from weakspot.terminal.inspecting import (
    print_inspection,
    say_inspection,
    show_exported,
    show_inspected,
    show_tally,
    show_verified,
    show_watched,
)
from weakspot.terminal.lines import print_json, say, show_counts, table
from weakspot.terminal.training import (
    differing,
    show_audit,
    show_comparison,
    show_evaluation,
    show_thresholds,
    show_training,
)

__all__ = [
    "differing",
    "print_inspection",
    "print_json",
    "say",
    "say_inspection",
    "show_audit",
    "show_comparison",
    "show_counts",
    "show_crossval",
    "show_doctor",
    "show_evaluation",
    "show_experiments",
    "show_exported",
    "show_inspected",
    "show_records",
    "show_tally",
    "show_thresholds",
    "show_training",
    "show_verified",
    "show_watched",
    "table",
]
