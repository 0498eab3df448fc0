"""The path from raw files to a report: one run, its memory plan and its provenance."""
