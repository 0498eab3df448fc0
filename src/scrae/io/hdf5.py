"""HDF5 files: h5ad, 10x h5 and loom, recognized by their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io.genomes import refuse_several_genomes
from scrae.io.loom import read_loom, text_of
from scrae.io.names import some
from scrae.io.parts import read_h5ad_parts
from scrae.io.read_errors import reading

__all__ = ["read_hdf5"]

_OTHERS = {  # what marks a file, and what to say
    "barcode_idx": "a molecule_info file of Cell Ranger; give the filtered_feature_bc_matrix.h5 beside it",
    "assays": "an h5Seurat file; convert it to h5ad with SeuratDisk::Convert(..., dest = 'h5ad') and give that",
    "fragments": "a snap file of fragments; write a matrix of counts as h5ad",
}


def read_hdf5(path: Path) -> AnnData:
    """Read an h5ad, 10x h5 (v2 and v3 layout) or loom file; X is unchecked."""
    with reading(path, "HDF5"), h5py.File(path, "r") as file:
        kind = _kind(file, path)
    with reading(path, kind):
        if kind == "h5ad":
            return read_h5ad_parts(path)
        with h5py.File(path, "r") as file:
            return read_loom(file, path) if kind == "loom" else _read_10x(file, path)


def _kind(file: h5py.File, path: Path) -> str:
    if "mod" in file and "obs" in file:
        raise ScraeError(
            f"{path} is a MuData file with the modalities {some(file['mod'])}; write the RNA one as h5ad "
            "(mudata.read(path).mod[name].write_h5ad(...)) and give that."
        )
    if isinstance(file.get("matrix"), h5py.Dataset):
        return "loom"
    if "matrix" in file or any(_is_10x_v2(group) for group in file.values()):
        return "10x h5"
    if "obs" in file and "var" in file:
        return "h5ad"
    if words := next((words for key, words in _OTHERS.items() if key in file), None):
        raise ScraeError(f"{path} is {words}.")
    raise ScraeError(f"{path} is an HDF5 file but neither h5ad, 10x h5 nor loom; it holds {some(file)}.")


def _is_10x_v2(group: Any) -> bool:
    return isinstance(group, h5py.Group) and {"barcodes", "genes", "data", "indptr"} <= set(group)


def _read_10x(file: h5py.File, path: Path) -> AnnData:
    if "matrix" in file:
        group = file["matrix"]
        features = group["features"]
        columns = {"gene_ids": "id", "feature_types": "feature_type", "genome": "genome"}
        var = pd.DataFrame({ours: text_of(features[key]) for ours, key in columns.items() if key in features})
        genes = text_of(features["name" if "name" in features else "id"])
    else:
        genomes = [name for name, group in file.items() if _is_10x_v2(group)]
        if len(genomes) > 1:
            raise ScraeError(
                f"{path} holds {len(genomes)} genomes ({some(genomes)}); choose one with "
                "scanpy.read_10x_h5(path, genome=...), write it as h5ad and give that."
            )
        group = file[genomes[0]]
        var = pd.DataFrame({"gene_ids": text_of(group["genes"])})
        genes = text_of(group["gene_names"])
    n_genes, n_cells = (int(n) for n in group["shape"][()])
    # stored as genes x cells by columns, which is cells x genes by rows
    parts = (group["data"][()], group["indices"][()], group["indptr"][()])
    counts = sparse.csr_matrix(parts, shape=(n_cells, n_genes))
    var.index = pd.Index(genes)
    refuse_several_genomes(var, path)
    return AnnData(counts, obs=pd.DataFrame(index=pd.Index(text_of(group["barcodes"]))), var=var)
