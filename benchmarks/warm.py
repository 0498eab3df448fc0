"""What the server loads once, before it forks a process for each run: imports, and code that numba compiles.

A fork after a pool of threads was started can hang, so the compiling is done with one thread, and numba gets the
threads that survive a fork.
"""

from __future__ import annotations

import os
import warnings

os.environ["NUMBA_THREADING_LAYER"] = "workqueue"

import numpy as np
import scanpy as sc
from anndata import AnnData
from threadpoolctl import threadpool_limits

import benchmarks.methods

__all__: list[str] = []


def _compile() -> None:
    codes = AnnData(np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32))
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        sc.pp.neighbors(codes, use_rep="X", random_state=0, transformer="sklearn")
        sc.tl.leiden(codes, flavor="igraph", n_iterations=2, directed=False, random_state=0)


assert benchmarks.methods.EMBEDDINGS
_compile()
