"""Types of the cells of a batch that the model was not trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["left_out_scores"]


def left_out_scores(cells: AnnData, left_out: str, *, seed: int) -> dict[str, float]:
    """Share of the cells of a batch that get their type from the other batches.

    Only cells whose type the other batches have count.

    Parameters
    ----------
    cells
        Counts, `obs["batch"]` and `obs["cell_type"]`; the types are read by the transfer and the scores only.
    left_out
        Name of the batch.
    seed
        Seed of the trainings.

    Returns
    -------
    dict of str to float
        `mapped`: by a model of the other batches; `aligned`: the same with `align=True`; `joint`: by a model that
        corrects for all batches.
    """
    from benchmarks.genes import prepare
    from scrae import tl
    from scrae.cluster.transfer import transfer_labels
    from scrae.config import PreprocessConfig

    away = (cells.obs["batch"] == left_out).to_numpy()
    reference, query, joint = cells[~away].copy(), cells[away].copy(), cells.copy()
    types = pd.Categorical(reference.obs["cell_type"])
    true = query.obs["cell_type"].to_numpy(dtype=object)
    counted = np.isin(true, types.categories)
    prepare(reference, PreprocessConfig())
    query.layers["counts"] = query.X.copy()
    several = reference.obs["batch"].nunique() > 1
    model = tl.train(reference, seed=seed, batch_key="batch" if several else None, device="cpu")
    scores = {}
    for name, align in (("mapped", False), ("aligned", True)):
        tl.map(query, reference, model, cluster_key="cell_type", key_added=name, align=align)
        scores[name] = query.obs[name].to_numpy(dtype=object)
    prepare(joint, PreprocessConfig())
    tl.train(joint, seed=seed, batch_key="batch", device="cpu")
    codes, known = joint.obsm["X_scrae"], types.codes >= 0
    found = transfer_labels(codes[away], codes[~away][known], types.codes[known], n_neighbors=15).label
    scores["joint"] = np.asarray(types.categories, dtype=object)[found]
    return {name: round(float((found == true)[counted].mean()), 5) for name, found in scores.items()}
