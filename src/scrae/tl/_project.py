"""Two-dimensional projections of the latent representation."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from scrae.cluster.graph import NeighborGraph
from scrae.io.notes import add_note, remove_notes
from scrae.tl._codes import codes_of, neighbors, sample_of, write_neighbors

__all__ = ["project"]

_TSNE_CELLS = 10_000  # more would take longer than training
_SPECTRAL_CELLS = 10_000
"""Up to here UMAP starts from the eigenvectors of the graph and runs its default number of epochs."""
_EPOCHS = 100
"""Of UMAP for more cells, half of its default. With 50 it preserves fewer neighbors (``docs/scale.md``)."""
_SHOWS = ("t-SNE shows", "UMAP shows")


def project(
    adata: AnnData, *, use_rep: str = "X_scrae", graph: NeighborGraph | None = None, seed: int = 0
) -> None:
    """Project the latent representation to two dimensions by PCA, t-SNE and UMAP.

    t-SNE shows at most 10,000 cells and UMAP those of the graph, at most 100,000, sampled at random; the others get
    NaN, and the notes say so. With the same seed the cells of t-SNE are among those of UMAP. For more than 10,000 cells
    UMAP starts from the PCA projection and runs 100 epochs.

    Parameters
    ----------
    adata : AnnData
        Cells with a latent representation.
    use_rep : str
        Key of ``obsm`` with the latent representation.
    graph : NeighborGraph, optional
        Result of :func:`neighbors` for this representation, if it was computed before.
    seed : int
        Seed of samples and projections.

    Raises
    ------
    ScraeError
        ``obsm`` has no such key.

    Notes
    -----
    Writes ``obsm["X_pca_scrae" | "X_tsne" | "X_umap"]``, float32 [cells, 2].
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    z = codes_of(adata, use_rep)
    for words in _SHOWS:
        remove_notes(adata, words)
    if z.shape[1] > 1:
        adata.obsm["X_pca_scrae"] = PCA(2, random_state=seed).fit_transform(z).astype(np.float32)
    if graph is None:
        graph = neighbors(adata, use_rep=use_rep, seed=seed)
    if graph is None:
        add_note(adata, "Too few cells for t-SNE and UMAP.")
        return
    few = sample_of(len(z), _TSNE_CELLS, seed=seed)
    spread = z.shape[1] > 1 and np.ptp(z[few], axis=0).max() > 0  # otherwise PCA has no axes
    tsne = TSNE(
        2,
        init="pca" if spread else "random",
        perplexity=min(30, (len(few) - 1) / 3),
        max_iter=500,
        angle=0.8,
        random_state=seed,
    )
    _place(adata, "X_tsne", few, tsne.fit_transform(z[few]), _SHOWS[0])
    start = adata.obsm["X_pca_scrae"][graph.cells] if z.shape[1] > 1 else None
    _place(adata, "X_umap", graph.cells, _umap(graph, start, seed), _SHOWS[1])


def _umap(graph: NeighborGraph, start: np.ndarray | None, seed: int) -> np.ndarray:
    """Return UMAP coordinates of the graph's cells, [cells, 2]; of many cells from ``start``."""
    import scanpy as sc

    cells = AnnData(graph.codes)
    write_neighbors(cells, graph.connectivities, graph.distances, use_rep="X")
    if start is not None and len(start) > _SPECTRAL_CELLS and np.ptp(start, axis=0).min() > 0:
        sc.tl.umap(cells, random_state=seed, init_pos=start, maxiter=_EPOCHS)
    else:
        sc.tl.umap(cells, random_state=seed)
    return np.asarray(cells.obsm["X_umap"])


def _place(adata: AnnData, key: str, cells: np.ndarray, xy: np.ndarray, shows: str) -> None:
    """Write the coordinates of some cells, NaN for the others, and note how many are shown."""
    xy_all = np.full((adata.n_obs, 2), np.nan, dtype=np.float32)
    xy_all[cells] = xy
    adata.obsm[key] = xy_all
    if len(cells) < adata.n_obs:
        add_note(adata, f"{shows} {len(cells)} of {adata.n_obs} cells, sampled at random.")
