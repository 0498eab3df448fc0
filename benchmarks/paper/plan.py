"""What the paper ran and what it published: systems, experiments, Tables 2 to 5 (Mondal et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterable

from scrae.errors import ScraeError

__all__ = [
    "EXPERIMENTS", "LATENT", "N_GENES", "SELECTIONS", "SELECTION_SETS", "SYSTEMS", "TABLE_2", "TABLE_3", "TABLE_4",
    "TABLE_5", "label_of", "method_names",
]  # fmt: skip

# The paper's name of each system, and the embedding here.
SYSTEMS = {
    "scRAE": "scrae-paper",
    "scRAE (default)": "scrae",
    "scziDesk": "sczidesk",
    "scVAE": "scvae",
    "scVAE (mixture)": "scvae-mixture",
    "scDeepCluster": "scdeepcluster",
    "DR-A": "dra",
    "SAUCIE": "saucie",
    "scVI": "scvi",
    "AE": "ae",
    "AAE": "aae",
    "WAE": "wae",
}

LATENT = (2, 10, 20)
N_GENES = (500, 600, 700, 800, 900, 1000)
SELECTIONS = {"seurat": "HVG", "scmarker": "SCMarker", "m3drop": "M3Drop"}
SELECTION_SETS = ("klein", "baron")

_COLUMNS = ("scRAE", "scziDesk", "scVAE", "scDeepCluster", "DR-A", "SAUCIE", "scVI")


def _row(*values: float) -> dict[str, float]:
    return dict(zip(_COLUMNS, values, strict=True))


# Mean NMI over the paper's ten sets, by latent dimensions.
TABLE_2 = {
    2: _row(0.6975, 0.6259, 0.5755, 0.5808, 0.6441, 0.4450, 0.6164),
    10: _row(0.7093, 0.6427, 0.5887, 0.6139, 0.6744, 0.4826, 0.6271),
    20: _row(0.7126, 0.6489, 0.6132, 0.6277, 0.6823, 0.4787, 0.6405),
}
# Mean NMI of Klein-2k and Baron-8k, by gene selection.
TABLE_3 = {
    "seurat": _row(0.7849, 0.7309, 0.6731, 0.7172, 0.7111, 0.6389, 0.7349),
    "scmarker": _row(0.8167, 0.7719, 0.6928, 0.7556, 0.7587, 0.7159, 0.7437),
    "m3drop": _row(0.8526, 0.7859, 0.7567, 0.7215, 0.7805, 0.6219, 0.7460),
}
# Seconds on the paper's machine, with a GTX 1080 Ti.
TABLE_4 = {
    "Klein-2k": _row(273, 181, 367, 156, 279, 150, 289),
    "Rosenberg-156k": _row(1785, 2689, 1956, 2317, 1927, 663, 2409),
}
# NMI of scRAE at two latent dimensions, by number of genes.
TABLE_5 = {
    name: dict(zip(N_GENES, values, strict=True))
    for name, values in {
        "klein": (0.8052, 0.8072, 0.8281, 0.8234, 0.8390, 0.8354),
        "han": (0.7346, 0.7422, 0.7409, 0.7417, 0.7288, 0.7467),
        "zeisel": (0.6814, 0.6962, 0.7338, 0.7207, 0.7186, 0.7009),
        "macosko": (0.4991, 0.4849, 0.5326, 0.5507, 0.4883, 0.5158),
    }.items()
}

EXPERIMENTS = ("latent", "selection", "genes")


def label_of(embedding: str) -> str:
    """The paper's name of an embedding; its own where the paper has none."""
    return {ours: theirs for theirs, ours in SYSTEMS.items()}.get(embedding, embedding)


def method_names(experiment: str, systems: Iterable[str], latent: Iterable[int]) -> list[str]:
    """Names of methods for `benchmarks.methods`, all on the genes that the paper took.

    Parameters
    ----------
    experiment
        `latent`: 720 genes by dispersion (Tables 2 and 4, figures 2 to 7). `selection`: the paper's three selections
        (Table 3, figure 8). `genes`: 500 to 1000 genes, for the first of the systems (Table 5).
    systems
        Keys or values of `SYSTEMS`.
    latent
        Latent dimensions.

    Raises
    ------
    ScraeError
        If an experiment or a system is unknown.
    """
    if experiment not in EXPERIMENTS:
        raise ScraeError(
            f"expected an experiment among {', '.join(EXPERIMENTS)}, found {experiment!r}; correct --what"
        )
    embeddings = [SYSTEMS.get(name, name) for name in systems]
    for name in embeddings:
        if name not in SYSTEMS.values():
            known = ", ".join(SYSTEMS.values())
            raise ScraeError(f"expected a system among {known}, found {name!r}; correct --systems")
    if experiment == "genes":
        genes = [("seurat", number) for number in N_GENES]
        embeddings = embeddings[:1]
    else:
        genes = [(name, 720) for name in (SELECTIONS if experiment == "selection" else ("seurat",))]
    return [
        f"{embedding}@{name}+n_top_genes={number}+n_latent={size}"
        for size in latent
        for name, number in genes
        for embedding in embeddings
    ]
