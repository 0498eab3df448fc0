"""Gene selection on plain arrays, sparse throughout: scores, ranks and selected sets.

Every function takes cells x genes and returns one `GeneScores`. `m3drop`, `nbumi`, `deviance`,
`dispersion` and `seurat_v3` read their input block by block, so they also take `RowBlocks` over a file; `scmarker`
works in memory.
"""

from scrae.gene_selection._batches import combine_batches
from scrae.gene_selection._blocks import Counts, RowBlocks
from scrae.gene_selection._deviance import deviance
from scrae.gene_selection._dispersion import dispersion
from scrae.gene_selection._m3drop import m3drop
from scrae.gene_selection._nbumi import nbumi
from scrae.gene_selection._result import DispersionTrend, GeneFit, GeneScores, MichaelisMenten
from scrae.gene_selection._scmarker import scmarker
from scrae.gene_selection._seurat_v3 import seurat_v3

__all__ = [
    "Counts",
    "DispersionTrend",
    "GeneFit",
    "GeneScores",
    "MichaelisMenten",
    "RowBlocks",
    "combine_batches",
    "deviance",
    "dispersion",
    "m3drop",
    "nbumi",
    "scmarker",
    "seurat_v3",
]
