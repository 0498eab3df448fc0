"""Composition of the samples, and genes that differ between conditions."""

from __future__ import annotations

from typing import Any

import pandas as pd

from scrae.report._run import Run

__all__ = ["conditions_view", "count_genes"]

_FDR, _N_GENES = 0.05, 8


def count_genes(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each cluster the number of genes at 5 % FDR that are higher and lower, and the best ones.

    Parameters
    ----------
    table : pandas.DataFrame
        ``uns["scrae"]["differential_expression"]``.
    """
    rows = []
    for name, part in table.groupby("cluster", observed=True):
        found = part[part["fdr"] <= _FDR]
        higher = found["log2_fold_change"] > 0
        best = {"up": found["gene"][higher], "down": found["gene"][~higher]}
        rows.append(
            {"cluster": str(name), "n_genes": int(part["fdr"].notna().sum())}
            | {f"n_{side}": len(genes) for side, genes in best.items()}
            | {side: genes.head(_N_GENES).tolist() for side, genes in best.items()}
        )
    return rows


def conditions_view(run: Run) -> dict[str, Any] | None:
    """Return both tables of the section; None where no conditions were compared."""
    facts, composition = run.part("conditions"), run.facts.get("composition")
    if not facts or composition is None or not run.has_clusters:
        return None
    groups = composition[["condition", "sample"]].drop_duplicates().sort_values(["condition", "sample"])
    samples = list(groups.itertuples(index=False, name=None))
    known = composition.set_index(["cluster", "condition", "sample"])[["share", "low", "high"]]
    clusters = list(dict.fromkeys(composition["cluster"].astype(str)))
    shares = [
        {"name": name, "cells": [tuple(map(float, known.loc[(name, *sample)])) for sample in samples]}
        for name in clusters
    ]
    table = run.facts.get("differential_expression")
    return {
        "condition_key": str(facts["condition_key"]),
        "sample_key": str(facts["sample_key"]),
        "refused": str(facts["refused"]),
        "samples": samples,
        "conditions": [(name, len(part)) for name, part in groups.groupby("condition")],
        "shares": shares,
        "contrast": [str(name) for name in facts["contrast"]],
        "genes": [] if table is None else count_genes(table),
        "n_clusters": len(clusters),
    }
