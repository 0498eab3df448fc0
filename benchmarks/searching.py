"""`python -m benchmarks scale-search`: neighbors, clusters and pictures of many cells, as made and exactly."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import typer
from anndata import AnnData
from numpy.typing import NDArray

from benchmarks.options import Busy, Output
from benchmarks.records import Record, append, head

__all__ = ["overlap", "scale_search"]

_K = 14
_SHOWN, _AROUND, _VOTERS = 3000, 50, 15


def scale_search(
    result: Annotated[Path, typer.Option(help="The result.h5ad of a run of `scale`.")],
    output: Output,
    pictures: Annotated[bool, typer.Option(help="UMAP too.")] = True,
    busy: Busy = False,
) -> None:
    """Time neighbors, clustering and pictures beside exact neighbors and UMAP's own layout."""
    from anndata.io import read_h5ad

    adata = read_h5ad(result, backed="r")
    adata = AnnData(obs=adata.obs[["cell_type"]], obsm={key: adata.obsm[key] for key in _SLOTS})
    for facts in chain(_clusterings(adata), _pictures(adata) if pictures else ()):
        facts = {"cells": adata.n_obs} | facts
        append(output, {**head("scale-search", threads=1, device="cpu", busy=busy), **facts})
        typer.echo(json.dumps(facts))


_SLOTS = ("X_scrae", "X_scrae_input")


def _timed(do: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = do()
    return round(time.process_time() - start, 1), found


def overlap(found: NDArray[np.int64], expected: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each row the share of the expected neighbors [cells, k] that are among the found ones."""
    shared = [len(np.intersect1d(one, other)) for one, other in zip(found, expected, strict=True)]
    return np.array(shared) / expected.shape[1]


def _clusterings(adata: AnnData) -> Iterator[Record]:
    """Yield seconds and recall of each graph, and clusters of two seeds beside the exact ones and the types."""
    from scrae import tl
    from scrae.cluster import neighbors as search
    from scrae.cluster.graph import neighbor_graph
    from scrae.cluster.metrics import score

    types, exact, first = adata.obs["cell_type"].astype(str).to_numpy(), {}, None
    for most in (adata.n_obs, search._EXACT):
        graphs, facts = {}, {"exact": most == adata.n_obs}
        with patch.object(search, "_EXACT", most):
            for slot in _SLOTS:
                z = np.asarray(adata.obsm[slot])
                seconds, graphs[slot] = _timed(lambda z=z: neighbor_graph(z))
                index = graphs[slot].distances.indices.reshape(len(z), _K)
                share = overlap(index, exact.setdefault(slot, index))
                facts |= {f"graph_seconds_{slot}": seconds, f"recall_{slot}": float(share.mean())}
                facts[f"cells_below_0.7_{slot}"] = float((share < 0.7).mean())
            yield {"what": "neighbours"} | facts
            graph, other = graphs.values()
            graph = replace(graph, joined=graph.joined.maximum(other.joined))
            for seed in (0, 1):
                how = {"n_clusters": len(set(types)), "graph": graph, "seed": seed}
                seconds, _ = _timed(lambda how=how: tl.cluster(adata, **how))
                found = adata.obs["scrae"].astype(str).to_numpy()
                first = found if first is None else first
                facts = {"what": "clusters", "exact": most == adata.n_obs, "seed": seed}
                facts["cluster_seconds"] = seconds
                with_exact, with_types = score(first, found), score(types, found)
                facts |= {"nmi_with_exact": with_exact.nmi, "ari_with_exact": with_exact.ari}
                facts |= {"nmi_with_types": with_types.nmi, "ari_with_types": with_types.ari}
                if seed == 0:
                    facts["stability_seconds"], _ = _timed(
                        lambda graph=graph: tl.stability(adata, graph=graph)
                    )
                yield facts


def _pictures(adata: AnnData) -> Iterator[Record]:
    """Yield seconds of our layout and of UMAP's own, and what each keeps: neighbors, types by vote, distances."""
    import scanpy as sc
    from sklearn.neighbors import NearestNeighbors

    from scrae import tl
    from scrae.tl._codes import write_neighbors

    z, types = np.asarray(adata.obsm["X_scrae"]), adata.obs["cell_type"].cat.codes.to_numpy()
    rng = np.random.default_rng(0)
    graph, shown = tl.neighbors(adata), rng.choice(len(z), min(_SHOWN, len(z)), replace=False)
    expected = NearestNeighbors(n_neighbors=_K + 1).fit(z).kneighbors(z[shown], return_distance=False)[:, 1:]
    write_neighbors(adata, graph.connectivities, graph.distances, use_rep="X_scrae")
    for name, draw in (
        ("scrae", lambda: tl.project(adata, graph=graph)),
        ("umap", lambda: sc.tl.umap(adata, random_state=0)),
        ("umap again, compiled", lambda: sc.tl.umap(adata, random_state=1)),
    ):
        seconds, _ = _timed(draw)
        xy = np.asarray(adata.obsm["X_umap"])
        around = (
            NearestNeighbors(n_neighbors=_AROUND + 1).fit(xy).kneighbors(xy[shown], return_distance=False)
        )
        votes = [np.bincount(types[row]).argmax() for row in around[:, 1 : _VOTERS + 1]]
        yield {
            "what": "pictures",
            "settings": name,
            "processor_seconds": seconds,
            "kept": float(overlap(around[:, 1:], expected).mean()),
            "votes": float(np.mean(np.array(votes) == types[shown])),
            "distances": _distances(z[shown[:1500]], xy[shown[:1500]]),
        }


def _distances(z: NDArray[np.float32], xy: NDArray[np.float32]) -> float:
    """Return Spearman's correlation of the distances between cells in the codes and in the picture."""
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr

    return float(spearmanr(pdist(z), pdist(xy)).statistic)
