"""Two-dimensional projections of the latent representation."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from scrae.cluster.graph import NeighborGraph
from scrae.cluster.layout import layout
from scrae.io.notes import add_note, remove_notes
from scrae.tl._codes import codes_of, neighbors, sample_of

__all__ = ["project"]

_TSNE_CELLS = 10_000  # more would take longer than training
_SHOWS = ("t-SNE shows", "UMAP shows")


def project(
    adata: AnnData,
    *,
    tsne: bool = False,
    use_rep: str = "X_scrae",
    graph: NeighborGraph | None = None,
    seed: int = 0,
) -> None:
    """Project the latent representation to two dimensions by PCA, UMAP and, if asked, t-SNE.

    UMAP shows the cells of the graph, at most 100,000, and t-SNE at most 10,000, sampled at random; the others get
    NaN, and the notes say so. With the same seed the cells of t-SNE are among those of UMAP. UMAP starts from the PCA
    projection; see :func:`scrae.cluster.layout.layout`.

    Parameters
    ----------
    adata : AnnData
        Cells with a latent representation.
    tsne : bool
        Also compute t-SNE, which takes about as long as the training of a few thousand cells.
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
    Writes ``obsm["X_pca_scrae" | "X_umap" | "X_tsne"]``, float32 [cells, 2]. Without ``tsne`` an earlier
    ``obsm["X_tsne"]`` is removed, because it may show other codes.
    """
    from sklearn.decomposition import PCA

    z = codes_of(adata, use_rep)
    for words in _SHOWS:
        remove_notes(adata, words)
    adata.obsm.pop("X_tsne", None)
    start = np.column_stack([z[:, 0], np.zeros(len(z))])
    if z.shape[1] > 1:
        start = PCA(2, random_state=seed).fit_transform(z)
        adata.obsm["X_pca_scrae"] = start.astype(np.float32)
    if graph is None:
        graph = neighbors(adata, use_rep=use_rep, seed=seed)
    if graph is None:
        add_note(adata, "Too few cells for t-SNE and UMAP.")
        return
    if tsne:
        few = sample_of(len(z), _TSNE_CELLS, seed=seed)
        _place(adata, "X_tsne", few, _tsne(z[few], seed), _SHOWS[0])
    xy = layout(graph.connectivities, start[graph.cells], seed=seed)
    _place(adata, "X_umap", graph.cells, xy, _SHOWS[1])


def _tsne(z: np.ndarray, seed: int) -> np.ndarray:
    """Return t-SNE coordinates, [cells, 2]."""
    from sklearn.manifold import TSNE

    spread = z.shape[1] > 1 and np.ptp(z, axis=0).max() > 0  # otherwise PCA has no axes
    start = "pca" if spread else "random"
    perplexity = min(30, (len(z) - 1) / 3)
    method = TSNE(2, init=start, perplexity=perplexity, max_iter=500, angle=0.8, random_state=seed)
    return np.asarray(method.fit_transform(z))


def _place(adata: AnnData, key: str, cells: np.ndarray, xy: np.ndarray, shows: str) -> None:
    """Write the coordinates of some cells, NaN for the others, and note how many are shown."""
    xy_all = np.full((adata.n_obs, 2), np.nan, dtype=np.float32)
    xy_all[cells] = xy
    adata.obsm[key] = xy_all
    if len(cells) < adata.n_obs:
        add_note(adata, f"{shows} {len(cells)} of {adata.n_obs} cells, sampled at random.")
