"""All figures of a run, as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from anndata import AnnData
from matplotlib.figure import Figure

from scrae.files import atomic_path
from scrae.pl._cells import quality
from scrae.pl._draw import run_facts
from scrae.pl._embedding import embedding
from scrae.pl._genes import gene_selection
from scrae.pl._markers import markers
from scrae.pl._tables import cluster_sizes, label_table
from scrae.pl._training import history
from scrae.tl._markers import shown

__all__ = ["save_figures"]

STEMS = {"pca": "X_pca_scrae", "tsne": "X_tsne", "umap": "X_umap", "latent": "X_scrae_2d"}
RESOLUTION = 200  # dots per inch of PNG files and of rasterised points


def save_figures(
    adata: AnnData,
    folder: str | Path,
    *,
    label_key: str | None = None,
    formats: Sequence[str] = ("png", "svg"),
) -> list[Path]:
    """Write every figure that the data allow into ``folder``.

    The files are ``{pca,tsne,umap,latent}_clusters``, the same with ``_labels``, ``cluster_sizes``, ``label_table``,
    ``marker_dots``, ``marker_heatmap``,
    ``history``, ``gene_selection`` and ``quality``. Text in an SVG stays editable text.

    Parameters
    ----------
    adata : AnnData
        Annotated cells; figures whose slots are missing are left out.
    folder : str or pathlib.Path
        Created if it does not exist. Files of these names are replaced.
    label_key : str or None
        Column of ``obs`` with labels; None = no figures by label.
    formats : sequence of str
        File formats, as matplotlib names them.

    Returns
    -------
    list of pathlib.Path
        The files, in the order of drawing.

    Raises
    ------
    ScraeError
        If ``obs`` has no such labels, or a file cannot be written.
    """
    paths = []
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "scrae"}):
        for name, draw in _figures(adata, label_key).items():
            figure = np.atleast_1d(draw())[0].figure  # panels share a figure
            assert isinstance(figure, Figure)  # these axes are in no subfigure
            for suffix in formats:
                path = Path(folder) / f"{name}.{suffix}"
                metadata = {"Date": None} if suffix == "svg" else None
                with atomic_path(path) as draft:
                    figure.savefig(draft, dpi=RESOLUTION, metadata=metadata)
                paths.append(path)
    return paths


def _figures(adata: AnnData, label_key: str | None) -> dict[str, Callable[[], Any]]:
    """Return file name → how to draw it, for which the AnnData has the slots."""
    colors = {"clusters": "scrae"} if "scrae" in adata.obs else {}
    if label_key is not None:
        colors["labels"] = label_key
    bases = {name: basis for name, basis in STEMS.items() if basis in adata.obsm}
    if "latent" not in bases and "X_scrae" in adata.obsm and adata.obsm["X_scrae"].shape[1] == 2:
        bases["latent"] = "X_scrae"
    figures: dict[str, Callable[[], Any]] = {
        f"{name}_{suffix}": partial(embedding, adata, basis, color=key)
        for name, basis in bases.items()
        for suffix, key in colors.items()
    }
    if "scrae" in adata.obs:
        figures["cluster_sizes"] = partial(cluster_sizes, adata)
        if label_key is not None:
            figures["label_table"] = partial(label_table, adata, label_key)
    table = adata.uns.get("scrae", {}).get("markers")
    if table is not None and len(shown(table)):
        figures["marker_dots"] = partial(markers, adata)
        figures["marker_heatmap"] = partial(markers, adata, kind="heatmap")
    if run_facts(adata, "history"):
        figures["history"] = partial(history, adata)
    if "scrae_selected" in adata.var:
        figures["gene_selection"] = partial(gene_selection, adata, n_names=12)
    if "scrae_n_counts" in adata.obs:
        figures["quality"] = partial(quality, adata)
    return figures
