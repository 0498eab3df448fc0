"""Read the output of a run; missing parts are empty, not errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from scrae.errors import ScraeError
from scrae.files import READY, exclusive_lock
from scrae.io.h5ad import open_h5ad

__all__ = ["Run", "read_run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run: its annotated cells and its record."""

    adata: AnnData
    """Without layers; ``X`` may lie in the file."""
    record: Mapping[str, Any]
    """``run.json``."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """``uns["scrae"]``."""
        facts: Mapping[str, Any] = self.adata.uns.get("scrae", {})
        return facts

    def part(self, name: str) -> Mapping[str, Any]:
        """Return one mapping of ``uns["scrae"]``, else of the record, else an empty one."""
        for source in (self.facts, self.record):
            part = source.get(name)
            if isinstance(part, Mapping):
                return part
        return {}

    def texts(self, name: str) -> list[str]:
        """Return a list of texts of ``uns["scrae"]`` or the record."""
        values = self.facts.get(name, self.record.get(name))
        return [] if values is None else list(map(str, np.atleast_1d(np.asarray(values, dtype=object))))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table of ``uns["scrae"]``; none where it is missing."""
        table = self.facts.get(name)
        return [] if table is None else table.to_dict("records")

    def setting(self, group: str, name: str) -> Any:
        """Return a setting of ``config`` in ``run.json``; None where it is missing."""
        settings = self.record.get("config") or {}
        return (settings.get(group) or {}).get(name)

    @property
    def label_key(self) -> str | None:
        """The column of ``obs`` with labels that the run was scored against."""
        key = self.record.get("label_key")
        return str(key) if key is not None and str(key) in self.adata.obs else None

    @property
    def n_genes(self) -> int:
        """Genes that passed the filters; the AnnData may hold the selected ones only."""
        return int(self.part("filter").get("n_genes_after", self.adata.n_vars))

    @property
    def has_clusters(self) -> bool:
        """Whether the cells have clusters."""
        return "scrae" in self.adata.obs

    def column(self, key: str) -> NDArray[np.float64] | None:
        """Return a numeric column of ``obs``; None where it is missing or all zero."""
        if key not in self.adata.obs:
            return None
        values = self.adata.obs[key].to_numpy(dtype=np.float64)
        return values if (np.isfinite(values) & (values != 0)).any() else None


def read_run(folder: str | Path) -> Run:
    """Read ``result.h5ad`` and ``run.json`` of a run's folder.

    Raises
    ------
    ScraeError
        When one of them is missing or cannot be read.
    """
    folder = Path(folder)
    if (folder / READY).is_dir():  # a process was killed while it replaced the files
        with exclusive_lock(folder):
            pass
    record_file, cells_file = folder / "run.json", folder / "result.h5ad"
    for name in ("result.h5ad", "run.json"):
        if not (folder / name).is_file():
            raise ScraeError(
                f"expected the folder of a finished run, found no {name} in {folder}; run scrae first"
            )
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ScraeError(
            f"expected JSON in {record_file}, but it could not be parsed ({error}); run scrae again"
        ) from None
    if not isinstance(record, dict):
        raise ScraeError(
            f"expected a JSON object in {record_file}, found a {type(record).__name__}; run scrae again"
        )
    return Run(adata=open_h5ad(cells_file), record=record)
