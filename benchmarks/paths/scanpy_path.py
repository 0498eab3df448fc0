"""What `scrae run` is compared with: scanpy's usual path from counts to clusters, UMAP and markers.

Usage: python scanpy_path.py COUNTS.h5ad RESULT.h5ad
"""

import sys

import scanpy as sc

counts, result = sys.argv[1:]
adata = sc.read_h5ad(counts)
sc.pp.filter_cells(adata, min_genes=1)
sc.pp.filter_genes(adata, min_cells=10)
adata.layers["counts"] = adata.X.copy()
sc.pp.normalize_total(adata)
sc.pp.log1p(adata)
sc.pp.highly_variable_genes(adata, n_top_genes=2000)
sc.pp.pca(adata)
sc.pp.neighbors(adata)
sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)
sc.tl.umap(adata)
sc.tl.rank_genes_groups(adata, "leiden")
adata.write_h5ad(result)
