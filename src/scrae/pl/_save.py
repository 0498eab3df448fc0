"""All pictures of a run, as files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scrae.files import atomic_path
from scrae.pl._draw import run_facts
from scrae.pl._embedding import embedding
from scrae.pl._genes import gene_selection
from scrae.pl._tables import cluster_sizes, label_table
from scrae.pl._training import history, panels_of

__all__ = ["save_figures"]

BASES = {"pca": "X_pca_scrae", "tsne": "X_tsne_scrae", "umap": "X_umap_scrae", "latent": "X_scrae_2d"}
RESOLUTION = 200  # dots per inch of PNG files and of rasterised points


def save_figures(adata: AnnData, folder: str | Path, *, label_key: str | None = None) -> list[Path]:
    """Write every picture that the data allows into ``folder``, each as PNG and SVG.

    ``{pca,tsne,umap,latent}_clusters``, the same with ``_labels``, ``cluster_sizes``, ``label_table``, ``history``,
    ``gene_selection``. The text of an SVG stays text, so that it can be edited.

    Parameters
    ----------
    adata
        Annotated cells; what is missing is not drawn.
    folder
        Made where it does not exist. Files of these names are replaced.
    label_key
        Column of ``obs`` with labels; None = no pictures by label.

    Returns
    -------
    list of pathlib.Path
        The files, in the order of drawing.

    Raises
    ------
    ScraeError
        When ``obs`` has no such labels, or a file cannot be written.
    """
    paths = []
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "scrae"}):
        for name, draw in _pictures(adata, label_key).items():
            figure = draw().figure
            assert isinstance(figure, Figure)  # these axes are in no subfigure
            for suffix in ("png", "svg"):
                path = Path(folder) / f"{name}.{suffix}"
                metadata = {"Date": None} if suffix == "svg" else None
                with atomic_path(path) as draft:
                    figure.savefig(draft, dpi=RESOLUTION, metadata=metadata)
                paths.append(path)
    return paths


def _pictures(adata: AnnData, label_key: str | None) -> dict[str, Callable[[], Axes]]:
    """Return file name → how to draw it, of what the AnnData has the slots for."""
    colors = {"clusters": "scrae"} if "scrae" in adata.obs else {}
    if label_key is not None:
        colors["labels"] = label_key
    bases = {name: basis for name, basis in BASES.items() if basis in adata.obsm}
    if "latent" not in bases and "X_scrae" in adata.obsm and adata.obsm["X_scrae"].shape[1] == 2:
        bases["latent"] = "X_scrae"
    pictures: dict[str, Callable[[], Axes]] = {}
    for name, basis in bases.items():
        for suffix, key in colors.items():
            pictures[f"{name}_{suffix}"] = partial(embedding, adata, basis, color=key)
    if "scrae" in adata.obs:
        pictures["cluster_sizes"] = partial(cluster_sizes, adata)
        if label_key is not None:
            pictures["label_table"] = partial(label_table, adata, label_key)
    if panels_of(run_facts(adata, "history")):
        pictures["history"] = partial(_first_of_history, adata)
    if "scrae_selected" in adata.var:
        pictures["gene_selection"] = partial(gene_selection, adata)
    return pictures


def _first_of_history(adata: AnnData) -> Axes:
    """Return one of the panels: they share a figure."""
    axes: Axes = history(adata)[0]
    return axes
