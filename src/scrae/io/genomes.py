"""Genes of several genomes in one matrix, as in mixtures of species, whose clusters may then be the species."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from scrae.errors import ScraeError
from scrae.io.names import some

__all__ = ["refuse_several_genomes"]

_PREFIX = re.compile(
    r"(.+?)_+(?:ENS[A-Z]*G\d{6}|FBgn\d{7}|WBGene\d{8}).*|(GRC[a-z]+\d+|[a-z]{2}\d{1,2}|[a-z]{3}[A-Z][a-z]{2}\d+)[_-]+.*"
)
_SPECIES = re.compile(r"ENS([A-Z]*)G\d{6,}.*")
_LEAST_SHARE = 0.05  # of the genes, for a second species that no prefix tells


def refuse_several_genomes(var: pd.DataFrame, path: Path) -> None:
    """Raise ScraeError where the genes of a 10x matrix are of several genomes.

    Parameters
    ----------
    var : pandas.DataFrame
        Genes by name, with the columns ``gene_ids``, ``genome`` and ``feature_types`` if the file has them.
    path : pathlib.Path
        The file, for the message.
    """
    if "feature_types" in var:
        var = var[var["feature_types"].astype(str) == "Gene Expression"]
    genomes = {genome for genome in var.get("genome", ()) if genome and genome != "NA"}
    names = pd.Series(var.index.astype(str))
    ids = var["gene_ids"].astype(str) if "gene_ids" in var else names
    found = sorted(genomes) if len(genomes) > 1 else _prefixes(ids) or _prefixes(names) or _species(ids)
    if len(found) > 1:
        raise ScraeError(
            f"{path} holds {len(found)} genomes ({some(found)}), and clusters might only be the species; keep the "
            "genes and cells of one (Cell Ranger's gem_classification.csv tells them) and give an h5ad of these."
        )


def _prefixes(names: pd.Series) -> list[str]:
    """Assemblies that nearly all of the names begin with, as in ``GRCh38_ACTB``."""
    matches = [_PREFIX.fullmatch(name) for name in names]
    found = [match[1] or match[2] for match in matches if match]
    return sorted(set(found)) if len(found) > 0.9 * len(matches) else []


def _species(ids: pd.Series) -> list[str]:
    """Ensembl's codes of species, of identifiers without an assembly in front."""
    codes = pd.Series([f"ENS{m[1]}" for name in ids if (m := _SPECIES.fullmatch(name))], dtype=object)
    shares = codes.value_counts() / max(1, len(ids))
    return sorted(shares.index[shares >= _LEAST_SHARE])
