"""Long tests that `scripts/soak` runs, a module each: run(number) → a record, and went_well(record)."""
