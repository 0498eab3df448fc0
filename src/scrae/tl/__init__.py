"""Training, embedding, clustering, projection, scores and decoding of cells, on AnnData."""

from __future__ import annotations

from scrae.tl._annotate import annotate
from scrae.tl._cell_types import cell_types
from scrae.tl._cluster import cluster, score
from scrae.tl._codes import neighbors
from scrae.tl._conditions import composition, differential_expression, pseudobulk
from scrae.tl._counts import count_data
from scrae.tl._decode import denoise, generate
from scrae.tl._deprecated import neighbours as neighbours  # old name
from scrae.tl._doublets import doublet_clusters, doublets
from scrae.tl._map import map
from scrae.tl._markers import markers
from scrae.tl._project import project
from scrae.tl._significance import significance
from scrae.tl._stability import agreement, stability, train_again
from scrae.tl._train import embed, train
from scrae.tl._tree import cluster_levels, cluster_tree, cut_tree, subcluster

__all__ = [
    "agreement",
    "annotate",
    "cell_types",
    "cluster",
    "cluster_levels",
    "cluster_tree",
    "composition",
    "count_data",
    "cut_tree",
    "denoise",
    "differential_expression",
    "doublet_clusters",
    "doublets",
    "embed",
    "generate",
    "map",
    "markers",
    "neighbors",
    "project",
    "pseudobulk",
    "score",
    "significance",
    "stability",
    "subcluster",
    "train",
    "train_again",
]
