"""Tables of what `python -m benchmarks speed` recorded."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.records import Record

__all__ = ["RATIOS", "tables"]

RATIOS = (
    ("autoencoder", "products"),
    ("plain", "products"),
    ("scrae", "autoencoder"),
    ("scvi-tools", "scrae"),
)
"""Contestants of `speed steps` that are compared."""


def tables(records: list[Record]) -> Iterator[str]:
    """Give a Markdown table for each kind of record that is there."""
    for what, rows in _ROWS.items():
        lines = [line for record in records if record["what"] == what for line in rows(record)]
        if lines:
            columns = list(dict.fromkeys(key for line in lines for key in line))
            head = f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
            body = [f"| {' | '.join(str(line.get(column, '')) for column in columns)} |" for line in lines]
            yield "\n".join([head, *body])


def _step_rows(record: Record) -> Iterator[dict[str, object]]:
    times, row = record["milliseconds"], {key: record[key] for key in ("set", "n_genes", "batch_size")}
    row["threads"] = record["machine"]["threads"]
    for key, value in times.items():
        row[f"{key}, ms"] = round(value["median"], 1)
    for top, bottom in RATIOS:
        if top in times and bottom in times:
            row[f"{top} / {bottom}"] = round(times[top]["median"] / times[bottom]["median"], 2)
    row["cells / s"] = round(record["batch_size"] / times["scrae"]["median"] * 1000)
    yield row


def _growth_rows(record: Record) -> Iterator[dict[str, object]]:
    times = {key: round(value["median"], 1) for key, value in record["milliseconds"].items()}
    yield {"set": record["set"], "axis": record["axis"], "exponent": record["exponent"], "ms": times}


def _run_rows(record: Record) -> Iterator[dict[str, object]]:
    yield {"set": record["set"], **{key: round(value, 1) for key, value in record["seconds"].items()}}


def _memory_rows(record: Record) -> Iterator[dict[str, object]]:
    sizes = {key: record[key] for key in ("set", "n_cells", "n_genes", "matrix_mb", "compact_mb")}
    yield {**sizes, **{f"resident {key}, MB": value for key, value in record["resident_mb"].items()}}


def _training_rows(record: Record) -> Iterator[dict[str, object]]:
    keys = ("set", "n_cells", "n_genes", "epochs", "seconds", "iteration_ms", "cells_per_second")
    yield {**{key: record[key] for key in keys}, "device": record["machine"].get("device", "")}


_ROWS = {
    "steps": _step_rows,
    "growth": _growth_rows,
    "run": _run_rows,
    "memory": _memory_rows,
    "training": _training_rows,
}
