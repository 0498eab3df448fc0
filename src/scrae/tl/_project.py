"""Two-dimensional pictures of codes."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from scrae.io import note
from scrae.tl._codes import codes_of, neighbours

__all__ = ["project"]

_TSNE_LIMIT = 20_000  # cells; above it the picture takes longer than training


def project(adata: AnnData, *, use_rep: str = "X_scrae", graph: AnnData | None = None, seed: int = 0) -> None:
    """Make two-dimensional pictures of the codes by PCA, t-SNE (up to 20,000 cells) and UMAP.

    Writes ``obsm["X_pca_scrae" | "X_tsne_scrae" | "X_umap_scrae"]``, float32 [cells, 2].

    Parameters
    ----------
    graph : :func:`neighbours` of these codes, where it was made already; None = it is made. It is not changed.
    """
    import scanpy as sc
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    z = codes_of(adata, use_rep)
    spread = z.shape[1] > 1 and np.ptp(z, axis=0).max() > 0  # else there are no axes to turn to
    if z.shape[1] > 1:
        adata.obsm["X_pca_scrae"] = PCA(2, random_state=seed).fit_transform(z).astype(np.float32)
    if graph is None:
        graph = neighbours(adata, use_rep=use_rep)
    if graph is None:
        note(adata, "Too few cells for t-SNE and UMAP.")
        return
    if len(z) <= _TSNE_LIMIT:
        tsne = TSNE(
            2,
            init="pca" if spread else "random",
            perplexity=min(30, (len(z) - 1) / 3),
            max_iter=500,
            angle=0.8,
            random_state=seed,
        )
        adata.obsm["X_tsne_scrae"] = tsne.fit_transform(z).astype(np.float32)
    else:
        note(adata, f"t-SNE was left out: it is slow above {_TSNE_LIMIT} cells. UMAP is there.")
    picture = graph.copy()
    sc.tl.umap(picture, random_state=seed)
    adata.obsm["X_umap_scrae"] = picture.obsm["X_umap"].astype(np.float32)
