"""Compare two conditions in the folder of a run."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from .. import io, tl
from ..files import exclusive_lock, replaced_together
from ..report import read_run
from ..tl._conditions import NoReplicatesError, contrast_of
from .results import OF_CLUSTERS, Clock, Progress, write_results

__all__ = ["compare_conditions"]


def compare_conditions(
    folder: str | Path,
    *,
    condition_key: str,
    sample_key: str,
    contrast: tuple[str, str] | None = None,
    min_cells: int = 10,
) -> AnnData:
    """Add composition and differential expression to a run: two tables, the result, and a section of the report.

    Parameters
    ----------
    folder : str or Path
        Folder of a run.
    condition_key, sample_key, contrast, min_cells
        As for :func:`scrae.tl.differential_expression`.

    Returns
    -------
    AnnData
        What was written as ``result.h5ad``.

    Raises
    ------
    ScraeError
        Not the folder of a finished run, no such column, not two conditions, or pydeseq2 is not installed.

    Notes
    -----
    Writes ``uns["scrae"]["composition"]``, ``uns["scrae"]["differential_expression"]`` if there are enough samples,
    and ``uns["scrae"]["conditions"]``: ``condition_key``, ``sample_key``, ``contrast`` (the condition and its
    reference) and ``refused``, why nothing was tested ("" = it was).
    """
    folder = Path(folder)
    record = dict(read_run(folder).record)
    with exclusive_lock(folder):
        adata = io.read_h5ad(folder / "result.h5ad")
        facts = adata.uns["scrae"]
        facts.pop("differential_expression", None)
        keys = {"condition_key": condition_key, "sample_key": sample_key}
        contrast, refused = contrast_of(adata, condition_key, contrast), ""
        try:
            tl.differential_expression(adata, **keys, contrast=contrast, min_cells=min_cells)
        except NoReplicatesError as reason:
            refused = str(reason)
        facts["composition"] = tl.composition(adata, **keys)
        facts["composition"].index = facts["composition"].index.astype(str)
        facts["conditions"] = keys | {"contrast": list(contrast), "refused": refused}
        clock = Clock(Progress())
        clock.seconds = dict(record.get("seconds") or {})
        with replaced_together(folder, OF_CLUSTERS) as draft:
            write_results(adata, record, draft, clock)
    return adata
