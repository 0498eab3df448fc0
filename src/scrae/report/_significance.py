"""The test of the clusters, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scrae.report._run import Run

__all__ = ["assess_clusters", "significance_view", "summarize_test"]

_WORDS = {
    "real": "real: a gap separates it from its neighbors",
    "continuous": "continuous: it differs from its neighbors without a gap; K is a choice",
    "not supported": "not supported: no more than one population with its neighbors",
    "alone": "the only cluster",
}
_SPLIT = "; holds more than one population: divide it"


def assess_clusters(facts: Mapping[str, Any]) -> dict[str, str]:
    """Describe each cluster by its test.

    Parameters
    ----------
    facts : mapping
        ``uns[key]["significance"]``, see :func:`scrae.tl.significance`.

    Returns
    -------
    dict of str to str
        Cluster → the verdict and what it means.
    """
    names, verdicts, split = (
        np.atleast_1d(np.asarray(facts[key])) for key in ("names", "cluster_verdict", "split_p")
    )
    return {
        str(name): _WORDS[str(verdict)] + (_SPLIT if p <= float(facts["alpha"]) else "")
        for name, verdict, p in zip(names, verdicts, split, strict=True)
    }


def significance_view(run: Run) -> dict[str, Any] | None:
    """Return the verdict of each cluster; None where these clusters were not tested."""
    facts = run.part("significance")
    if not facts or not run.has_clusters:
        return None
    words = assess_clusters(facts)
    if set(words) != set(run.adata.obs["scrae"].astype(str)):
        return None
    return {
        "words": words,
        "summary": summarize_test(facts),
        "n_split": sum(text.endswith(_SPLIT) for text in words.values()),
        "alpha": float(facts["alpha"]),
    }


def summarize_test(facts: Mapping[str, Any]) -> str:
    """Return one sentence about all clusters, from ``uns[key]["significance"]``."""
    verdicts = [str(verdict) for verdict in np.atleast_1d(np.asarray(facts["cluster_verdict"]))]
    n, real = len(verdicts), verdicts.count("real")
    if verdicts == ["alone"]:
        divided = float(np.atleast_1d(facts["split_p"])[0]) <= float(facts["alpha"])
        number = "more than one" if divided else "no second"
        return f"There is one cluster, and the test finds {number} population in it."
    if not real and "continuous" in verdicts:
        return "Continuous: K is a choice. The cells differ, but no gap divides them into clusters."
    if not real:
        return "The test finds one population: no cluster is supported."
    rest = [f"{count} {name}" for name in ("continuous", "not supported") if (count := verdicts.count(name))]
    verb = "is" if real == 1 else "are"
    return f"{real} of {n} clusters {verb} separated by a gap" + (f"; {' and '.join(rest)}." if rest else ".")
