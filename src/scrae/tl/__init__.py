"""From prepared counts to codes, clusters, scores and pictures' coordinates, and from codes back, on AnnData."""

from __future__ import annotations

from scrae.tl._cluster import cluster, score
from scrae.tl._decode import denoise, generate
from scrae.tl._map import map
from scrae.tl._project import project
from scrae.tl._train import count_data, embed, train

__all__ = ["cluster", "count_data", "denoise", "embed", "generate", "map", "project", "score", "train"]
