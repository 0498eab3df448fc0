"""Lists of marker genes of cell types: ours, and those of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import pandas as pd

from scrae.errors import ScraeError, did_you_mean

__all__ = ["MarkerList", "cell_types", "lists_for", "read_lists"]

MarkerList = dict[str, tuple[list[str], float]]
"""Type → its genes, and the weight of its score."""
_GENERAL = 0.5
"""Weight of types of the tissue "any", whose genes many special types express too."""


def cell_types(tissue: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Return the marker lists that come with the package.

    Parameters
    ----------
    tissue : str, sequence of str or None
        Only types of these tissues, and those that occur in all: blood, immune, nerve, endothelium, stroma, any.
        None = all types.

    Returns
    -------
    pandas.DataFrame
        A row for each type: ``type``, ``lineage``, ``tissue``, the gene symbols of ``human`` and ``mouse``, separated
        by spaces, and the ``doi`` of a study that describes the type by such genes.

    Raises
    ------
    ScraeError
        An unknown tissue.
    """
    with resources.files("scrae.tl").joinpath("cell_types.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, dtype=str)
    if tissue is None:
        return table
    chosen = [tissue] if isinstance(tissue, str) else list(tissue)
    known = sorted(set(table["tissue"]))
    if unknown := [name for name in chosen if name not in known]:
        raise ScraeError(
            f"tissue: expected one of {', '.join(known)}, found {unknown[0]!r}{did_you_mean(unknown[0], known)}"
        )
    everywhere = {"blood", "immune", "nerve", "endothelium", "stroma", "any"}
    return table[table["tissue"].isin({*chosen, *everywhere})].reset_index(drop=True)


def read_lists(path: str | Path) -> dict[str, list[str]]:
    """Read marker lists from a GMT file, or a csv or tsv with the columns type and gene.

    A cell of ``gene`` holds one gene, or several separated by spaces.

    Raises
    ------
    ScraeError
        The file cannot be read, or holds no list.
    """
    path = Path(path)
    try:
        if path.suffix == ".gmt":
            rows = [
                line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
            ]
            lists = {row[0]: [gene for gene in row[2:] if gene] for row in rows}
        else:
            table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str)
            if not {"type", "gene"} <= set(table.columns):
                raise ScraeError(
                    f"{path}: expected the columns type and gene, found {', '.join(map(str, table.columns))}"
                )
            table = table.dropna(subset=["type", "gene"])
            lists = {
                str(name): " ".join(genes).split()
                for name, genes in table.groupby("type", sort=False)["gene"]
            }
    except (OSError, UnicodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ScraeError(
            f"{path}: expected marker lists as GMT, or a csv with the columns type and gene, found "
            f"{' '.join(str(error).split())}"
        ) from error
    if not any(lists.values()):
        raise ScraeError(f"{path}: expected marker lists, found none")
    return lists


def lists_for(
    gene_names: pd.Index,
    markers: str | Path | Mapping[str, Sequence[str]] | None,
    tissue: str | Sequence[str] | None,
) -> MarkerList:
    """Return the lists to use, each gene once; ours in the species with more of ``gene_names``."""
    if markers is not None:
        if tissue is not None:
            raise ScraeError(
                "tissue selects from the lists of the package: leave it out, or leave out markers"
            )
        given = markers if isinstance(markers, Mapping) else read_lists(markers)
        return {str(name): (list(dict.fromkeys(genes)), 1.0) for name, genes in given.items()}
    table = cell_types(tissue)
    genes = {species: table[species].str.split() for species in ("human", "mouse")}
    known = {species: int(lists.explode().isin(gene_names).sum()) for species, lists in genes.items()}
    chosen = genes["mouse" if known["mouse"] > known["human"] else "human"]
    weights = table["tissue"].map(lambda name: _GENERAL if name == "any" else 1.0)
    return {
        name: (list(own), weight) for name, own, weight in zip(table["type"], chosen, weights, strict=True)
    }
