"""Odd AnnData objects through reading, preprocessing, one epoch of training, writing and reading again."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
from anndata import AnnData

import scrae
from scrae import ScraeError, io, pp, tl
from scrae.cli.info import _of_cells
from scrae.io.batches import check_keys
from scrae.io.storable import make_storable

MODEL = scrae.ModelConfig(n_latent=2, encoder_layers=(4,), decoder_layers=(4,))
# Neighbor targets refit the decoder in 200 steps, which would be most of the time of a case.
TRAIN = scrae.TrainConfig(max_epochs=1, batch_size=16, neighbor_targets=False)


def from_file(adata: AnnData, path: Path, ending: str) -> AnnData | None:
    """Read the object from a file, if anndata writes it; None: it does not."""
    try:
        with anndata.settings.override(allow_write_nullable_strings=True):
            (adata.write_zarr if ending == "zarr" else adata.write_h5ad)(path)
    except Exception:  # by content, nearly any
        return None
    return io.read(path, min_counts=0)


def through_the_path(adata: AnnData, folder: Path, ending: str, label: int, batch: int) -> str:
    """Say how it ended."""
    is_trained = False
    try:
        found = None if ending == "memory" else from_file(adata.copy(), folder / f"in.{ending}", ending)
        if found is None:
            io.use_counts(adata)
            make_storable(adata)
        else:
            adata = found
        list(_of_cells(adata, folder, scrae.Settings()))
        names = [None, *adata.obs.columns]
        label_key, batch_key = names[label % len(names)], names[batch % len(names)]
        check_keys(adata, label_key, batch_key)
        pp.filter(adata, min_cells=0, min_genes=0)
        pp.normalize(adata)
        pp.select_genes(adata, method="deviance", n_top_genes=5)
        is_trained = True
        tl.train(adata, MODEL, TRAIN, seed=0, batch_key=batch_key)
        tl.cluster(adata, n_clusters=2, seed=0)
        if label_key is not None:
            tl.score(adata, label_key)
        io.write_h5ad(adata, folder / "result.h5ad")
    except ScraeError as error:
        if is_trained or "\n" in str(error):
            raise AssertionError(str(error)) from error
        return "known error"
    again = io.read_h5ad(folder / "result.h5ad")
    np.testing.assert_array_equal(again.obsm["X_scrae"], adata.obsm["X_scrae"])
    assert list(again.obs_names) == list(adata.obs_names)
    assert list(again.obs.columns) == list(adata.obs.columns)
    tl.cluster(again, n_clusters=2, method="kmeans", seed=1)
    io.write_h5ad(again, folder / "again.h5ad")  # which reads it again
    return "result"
