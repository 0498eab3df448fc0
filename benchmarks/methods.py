"""The names of methods: `EMBEDDING[@GENES][+KEY=VALUE...][:CLUSTERER[+KEY=VALUE...]]`.

An embedding alone is clustered by K-means, so that `scvi` is scVI with K-means and `scvi:gmm` the same codes
with a Gaussian mixture. `pca50@scrae:leiden-k` is Leiden at the true K on 50 components of the genes that scrae
chooses, and `pca50+n_top_genes=720` changes one setting. `scdeepcluster:self` takes the clusters that the method
gives itself. To add a method, add a row to `EMBEDDINGS` or
`CLUSTERERS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

from benchmarks import clusterers, embeddings, own
from benchmarks.peers import common, dra, saucie, scdeepcluster, scvae, sczidesk, wae
from scrae.config import ClusterConfig, GeneSelection, PreprocessConfig, Settings, preset
from scrae.errors import ScraeError

__all__ = ["CLUSTERERS", "EMBEDDINGS", "SHORT_NAMES", "EmbeddingMethod", "Method", "parse_method"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingMethod:
    """An embedding method and its defaults.

    Attributes
    ----------
    embed
        The function.
    defaults
        Its config; a method's name may change a value, never add a key.
    code
        Gives what the codes depend on beside data, seed and config, for instance a version. Cached codes of
        another `code` are not used.
    each_epoch
        For the protocol `paper`: codes of unseen cells after every epoch. None where a method cannot.
    clusters
        Whether it gives clusters of its own, for the clusterer `self`.
    """

    embed: embeddings.Embed
    defaults: dict[str, Any]
    code: Callable[[], str]
    each_epoch: embeddings.EmbedEachEpoch | None = None
    clusters: bool = False


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method as named on the command line.

    Attributes
    ----------
    name
        The name as written.
    embedding, clusterer
        Keys of `EMBEDDINGS` and `CLUSTERERS`.
    embedding_config, clusterer_config
        Every setting, the defaults too.
    """

    name: str
    embedding: str
    clusterer: str
    embedding_config: dict[str, Any]
    clusterer_config: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The full config as it stands in the record."""
        return {
            "embedding": {"method": self.embedding, **self.embedding_config},
            "clusterer": {"method": self.clusterer, **self.clusterer_config},
        }


def _version(package: str) -> Callable[[], str]:
    def code() -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            raise ScraeError(
                f"expected {package} to be installed, found none; install the bench extra"
            ) from None

    return code


_GENES = {"genes": "seurat_v3", "n_top_genes": 2000}
_GENES_720 = {"genes": "seurat", "n_top_genes": 720}
_SCVI = {  # scvi-tools' own defaults, written out for the record
    "n_hidden": 128,
    "n_latent": 10,
    "n_layers": 1,
    "dropout_rate": 0.1,
    "gene_likelihood": "zinb",
    "max_epochs": None,
    "batch_size": 128,
}


def _own(settings: Settings, **changes: Any) -> EmbeddingMethod:
    return EmbeddingMethod(
        embed=own.embed,
        defaults={**own.config_of(settings), **changes},
        code=own.code,
        each_epoch=own.embed_each_epoch,
    )


def _peer(
    train: common.Train,
    inputs: common.Inputs,
    *modules: str,
    genes: dict[str, Any],
    defaults: dict[str, Any],
    clusters: bool = False,
) -> EmbeddingMethod:
    return EmbeddingMethod(
        embed=common.embed_by(train, inputs),
        defaults={**genes, **defaults},
        code=common.code_of(*modules),
        each_epoch=common.each_epoch_by(train, inputs),
        clusters=clusters,
    )


_GRAPH = {"n_neighbors": 15}
_CLUSTER = {"cluster_method": ClusterConfig().method, "input_neighbours": True}

EMBEDDINGS: dict[str, EmbeddingMethod] = {
    "pca15": EmbeddingMethod(
        embed=embeddings.pca, defaults={**_GENES, "n_components": 15}, code=_version("scanpy")
    ),
    "pca50": EmbeddingMethod(
        embed=embeddings.pca, defaults={**_GENES, "n_components": 50}, code=_version("scanpy")
    ),
    "scvi": EmbeddingMethod(
        embed=embeddings.scvi,
        defaults={**_GENES, **_SCVI},
        code=_version("scvi-tools"),
        each_epoch=embeddings.scvi_each_epoch,
    ),
    "scrae": _own(preset("default")),
    "scrae-paper": _own(preset("paper")),
    "ae": _own(preset("default"), prior="none"),
    "aae": _own(preset("default"), prior="normal"),
    "wae": _peer(wae.train, common.standardised, "wae", genes=_GENES, defaults=wae.DEFAULTS),
    "saucie": _peer(
        saucie.train, common.normalised_logs, "saucie", genes=_GENES, defaults=saucie.DEFAULTS, clusters=True
    ),
    "dra": _peer(dra.train, common.unit_logs, "dra", genes=_GENES_720, defaults=dra.DEFAULTS),
    "scvae": _peer(scvae.train_gaussian, common.raw_counts, "scvae", genes=_GENES, defaults=scvae.DEFAULTS),
    "scvae-mixture": _peer(
        scvae.train_mixture, common.raw_counts, "scvae", genes=_GENES, defaults=scvae.DEFAULTS, clusters=True
    ),
    "scdeepcluster": _peer(
        scdeepcluster.train,
        common.standardised,
        "denoising",
        "scdeepcluster",
        genes=_GENES,
        defaults=scdeepcluster.DEFAULTS,
        clusters=True,
    ),
    "sczidesk": _peer(
        sczidesk.train,
        common.standardised,
        "denoising",
        "scdeepcluster",
        "sczidesk",
        genes={"genes": "seurat", "n_top_genes": 500},
        defaults=sczidesk.DEFAULTS,
        clusters=True,
    ),
}

CLUSTERERS: dict[str, tuple[clusterers.Cluster | None, dict[str, Any]]] = {  # None: the method's own
    "kmeans": (clusterers.kmeans, {"n_init": 10}),
    "gmm": (clusterers.gmm, {"n_init": 5}),
    "leiden": (clusterers.leiden, {**_GRAPH, "resolution": 1.0}),
    "leiden-k": (clusterers.leiden_k, _GRAPH),
    "scrae": (own.cluster, _CLUSTER | {"choose": False}),
    "scrae-auto": (own.cluster, _CLUSTER | {"choose": True}),  # K chosen without labels
    "self": (None, {}),
}

SHORT_NAMES = {
    "leiden": ("pca50", "leiden"),
    "leiden-k": ("pca50", "leiden-k"),
    "scrae-cluster": ("scrae", "scrae"),
    "scrae-auto": ("scrae", "scrae-auto"),
}


def parse_method(name: str) -> Method:
    """Read a method's name.

    Raises
    ------
    ScraeError
        If the embedding, the clusterer or a setting is unknown.
    """
    left, colon, right = name.partition(":")
    head, *changes = left.split("+")
    head, at, genes = head.partition("@")
    embedding, clusterer = SHORT_NAMES.get(head, (head, "kmeans"))
    clusterer_changes: list[str] = []
    if colon:
        clusterer, *clusterer_changes = right.split("+")
    if embedding not in EMBEDDINGS:
        known = ", ".join([*EMBEDDINGS, *SHORT_NAMES])
        raise ScraeError(f"expected a method among {known}, found {head!r} in {name!r}; correct --methods")
    if clusterer not in CLUSTERERS:
        raise ScraeError(
            f"expected a clusterer among {', '.join(CLUSTERERS)}, found {clusterer!r} in {name!r}; "
            "correct --methods"
        )
    if clusterer == "self" and not EMBEDDINGS[embedding].clusters:
        own_clusters = ", ".join(key for key, one in EMBEDDINGS.items() if one.clusters)
        raise ScraeError(
            f"expected a method with clusters of its own ({own_clusters}), found {name!r}; name a clusterer"
        )
    defaults = EMBEDDINGS[embedding].defaults
    if at:
        changes = _gene_changes(genes, "genes" if "genes" in defaults else "gene_selection", name) + changes
    return Method(
        name=name,
        embedding=embedding,
        clusterer=clusterer,
        embedding_config=_changed(defaults, changes, name),
        clusterer_config=_changed(CLUSTERERS[clusterer][1], clusterer_changes, name),
    )


def _gene_changes(genes: str, key: str, name: str) -> list[str]:
    """`@scrae` are the genes of scrae's default, in kind and number; any other name is one of its selections."""
    if genes == "scrae":
        default = PreprocessConfig()
        return [f"{key}={default.gene_selection}", f"n_top_genes={default.n_top_genes}"]
    known = get_args(GeneSelection)
    if genes not in known:
        raise ScraeError(
            f"expected genes among scrae, {', '.join(known)}, found {genes!r} in {name!r}; correct --methods"
        )
    return [f"{key}={genes}"]


def _changed(defaults: dict[str, Any], changes: list[str], name: str) -> dict[str, Any]:
    config = dict(defaults)
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or key not in config:
            raise ScraeError(
                f"expected KEY=VALUE with a key among {', '.join(config)}, found {change!r} in {name!r}; "
                "correct --methods"
            )
        config[key] = _value(value)
    return config


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
