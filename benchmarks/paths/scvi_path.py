"""What `scrae run` is compared with: a default scVI model, and clusters and UMAP of its latent representation.

Usage: python scvi_path.py COUNTS.h5ad RESULT.h5ad, in an environment with scvi-tools
"""

import sys

import scanpy as sc
import scvi
import torch

counts, result = sys.argv[1:]
torch.set_num_threads(1)
adata = sc.read_h5ad(counts)
sc.pp.filter_cells(adata, min_genes=1)
sc.pp.filter_genes(adata, min_cells=10)
adata.layers["counts"] = adata.X.astype("float32")
sc.pp.normalize_total(adata)
sc.pp.log1p(adata)
sc.pp.highly_variable_genes(adata, n_top_genes=2000, subset=True)
scvi.model.SCVI.setup_anndata(adata, layer="counts")
model = scvi.model.SCVI(adata)
model.train(accelerator="cpu", enable_progress_bar=False)
adata.obsm["X_scVI"] = model.get_latent_representation()
sc.pp.neighbors(adata, use_rep="X_scVI")
sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)
sc.tl.umap(adata)
adata.write_h5ad(result)
