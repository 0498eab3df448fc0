"""Two-dimensional pictures of codes."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from scrae.io.notes import add_note, remove_notes
from scrae.tl._codes import codes_of, neighbours, sample_of

__all__ = ["project"]

_IN_TSNE = 10_000  # cells; of more the picture would take longer than training
_SPECTRAL = 10_000
"""Cells that UMAP starts from the graph's eigenvectors and takes its own number of rounds for."""
_EPOCHS = 100
"""Rounds of UMAP above that, half of its own. With 50 less of the neighbourhoods is kept (``docs/scale.md``)."""
_SHOWS = ("t-SNE shows", "UMAP shows")


def project(adata: AnnData, *, use_rep: str = "X_scrae", graph: AnnData | None = None, seed: int = 0) -> None:
    """Make two-dimensional pictures of the codes by PCA, t-SNE and UMAP.

    t-SNE shows at most 10,000 cells and UMAP those of the graph, at most 100,000; they are drawn at random, the others
    have NaN there, and the notes say so. With the same ``seed`` t-SNE's cells are among UMAP's.
    Of more than 10,000 cells UMAP starts from the picture by PCA and takes 100 rounds.

    Writes ``obsm["X_pca_scrae" | "X_tsne_scrae" | "X_umap_scrae"]``, float32 [cells, 2].

    Parameters
    ----------
    graph : :func:`neighbours` of these codes, where it was made already; None = it is made. It is not changed.
    """
    import scanpy as sc
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    z = codes_of(adata, use_rep)
    for words in _SHOWS:
        remove_notes(adata, words)
    if z.shape[1] > 1:
        adata.obsm["X_pca_scrae"] = PCA(2, random_state=seed).fit_transform(z).astype(np.float32)
    if graph is None:
        graph = neighbours(adata, use_rep=use_rep, seed=seed)
    if graph is None:
        add_note(adata, "Too few cells for t-SNE and UMAP.")
        return
    few = sample_of(len(z), _IN_TSNE, seed=seed)
    spread = z.shape[1] > 1 and np.ptp(z[few], axis=0).max() > 0  # else there are no axes to turn to
    tsne = TSNE(
        2,
        init="pca" if spread else "random",
        perplexity=min(30, (len(few) - 1) / 3),
        max_iter=500,
        angle=0.8,
        random_state=seed,
    )
    _place(adata, "X_tsne_scrae", few, tsne.fit_transform(z[few]), _SHOWS[0])
    picture = graph.copy()
    cells = graph.obs["cell"].to_numpy()
    start = adata.obsm["X_pca_scrae"][cells] if len(cells) > _SPECTRAL and z.shape[1] > 1 else None
    if start is not None and np.ptp(start, axis=0).min() > 0:
        sc.tl.umap(picture, random_state=seed, init_pos=start, maxiter=_EPOCHS)
    else:
        sc.tl.umap(picture, random_state=seed)
    _place(adata, "X_umap_scrae", cells, picture.obsm["X_umap"], _SHOWS[1])


def _place(adata: AnnData, key: str, cells: np.ndarray, xy: np.ndarray, shows: str) -> None:
    """Write the coordinates of some cells, NaN for the others, and note how many there are."""
    places = np.full((adata.n_obs, 2), np.nan, dtype=np.float32)
    places[cells] = xy
    adata.obsm[key] = places
    if len(cells) < adata.n_obs:
        add_note(adata, f"{shows} {len(cells)} of {adata.n_obs} cells, drawn at random.")
