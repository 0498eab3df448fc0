from __future__ import annotations

from typing import get_args

import pytest

from benchmarks.methods import parse_method
from scrae.config import GeneSelection, ModelConfig, PreprocessConfig, TrainConfig
from scrae.errors import ScraeError


def test_an_embedding_alone_is_clustered_by_kmeans_with_its_full_config():
    method = parse_method("pca15")
    assert method.config == {
        "embedding": {"method": "pca15", "genes": "seurat_v3", "n_top_genes": 2000, "n_components": 15},
        "clusterer": {"method": "kmeans", "n_init": 10},
    }


@pytest.mark.parametrize(
    ("name", "embedding", "genes", "clusterer"),
    [
        ("leiden", "pca50", "seurat_v3", "leiden"),
        ("leiden-k", "pca50", "seurat_v3", "leiden-k"),
        ("leiden-k@nbumi", "pca50", "nbumi", "leiden-k"),
        ("scvi:gmm", "scvi", "seurat_v3", "gmm"),
        ("scvi@m3drop:leiden-k", "scvi", "m3drop", "leiden-k"),
    ],
)
def test_names_name_genes_and_clusterers(name, embedding, genes, clusterer):
    method = parse_method(name)
    assert (method.name, method.embedding, method.clusterer) == (name, embedding, clusterer)
    assert method.embedding_config["genes"] == genes


def test_settings_change_by_name_on_their_side_of_the_colon():
    method = parse_method("pca15+n_components=7+n_top_genes=300:leiden+resolution=0.5")
    assert method.embedding_config == {"genes": "seurat_v3", "n_top_genes": 300, "n_components": 7}
    assert method.clusterer_config == {"n_neighbors": 15, "resolution": 0.5}
    assert parse_method("pca15").embedding_config["n_components"] == 15


def test_the_genes_of_scrae_are_those_of_its_default_in_kind_and_number():
    config = parse_method("pca15@scrae").embedding_config
    default = PreprocessConfig()
    assert (config["genes"], config["n_top_genes"]) == (default.gene_selection, default.n_top_genes)


@pytest.mark.parametrize("genes", get_args(GeneSelection))
def test_scrae_itself_takes_any_selection_and_number(genes):
    config = parse_method(f"scrae@{genes}+n_top_genes=720:scrae").embedding_config
    assert config == {
        **parse_method("scrae").embedding_config,
        "gene_selection": genes,
        "n_top_genes": 720,
    }


def test_a_number_beside_the_genes_of_scrae_counts():
    assert parse_method("pca15@scrae+n_top_genes=300").embedding_config["n_top_genes"] == 300


def test_own_methods_differ_from_the_default_by_their_prior_alone():
    configs = {name: parse_method(name).embedding_config for name in ("scrae", "ae", "aae")}
    assert [configs[name].pop("prior") for name in configs] == [ModelConfig().prior, "none", "normal"]
    assert configs["scrae"] == configs["ae"] == configs["aae"]
    assert configs["scrae"]["max_epochs"] == TrainConfig().max_epochs
    assert "seed" not in configs["scrae"]
    paper = parse_method("scrae-paper").embedding_config
    assert (paper["n_top_genes"], paper["batch_size"], paper["encoder_layers"]) == (720, 16, [512, 512])
    assert parse_method("scrae-cluster").clusterer == "scrae"


def test_errors_list_what_is_known():
    with pytest.raises(
        ScraeError, match=r"expected genes among scrae, seurat_v3, .*, found 'hvg' in 'scrae@hvg'"
    ):
        parse_method("scrae@hvg")
    with pytest.raises(
        ScraeError, match=r"expected a method among pca15, pca50, .*, found 'pca99' in 'pca99:gmm'"
    ):
        parse_method("pca99:gmm")
    with pytest.raises(
        ScraeError, match=r"expected a clusterer among kmeans, .*, found 'ward' in 'pca15:ward'"
    ):
        parse_method("pca15:ward")
    with pytest.raises(
        ScraeError, match=r"with a key among n_init, found 'n_start=3' in 'pca15:gmm\+n_start=3'"
    ):
        parse_method("pca15:gmm+n_start=3")
    with pytest.raises(
        ScraeError, match=r"expected KEY=VALUE .* found 'n_top_genes' in 'pca15\+n_top_genes'"
    ):
        parse_method("pca15+n_top_genes")
