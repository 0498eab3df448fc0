"""Warnings about the result; each rule is one function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scrae.pl import category_column
from scrae.report._batches import batch_notes
from scrae.report._method import ROUGH, disagreement
from scrae.report._run import Run
from scrae.report._stability import DOUBTFUL, cluster_stability

__all__ = ["advice"]

SMALL_CLUSTER = 10  # cells
HIGH_MITO = 0.2
POOR_ARI = 0.5
_CONSTANT = 1e-5  # of the largest code: float32 rounding


def advice(run: Run) -> list[str]:
    """Return the sentences of all rules that apply, then the warnings recorded by the run.

    Commands are between backticks; OUT stands for the folder of the run.
    """
    rules: tuple[Callable[[Run], list[str]], ...] = (
        _stale, _lost_cells, _unfiltered, _training, _collapsed_codes, _number_of_clusters,
        _collapsed_clusters, _small_clusters, _unstable_clusters, _poor_clusters, _doublets, _batches, _other_labels,
    )  # fmt: skip
    return [sentence for rule in rules for sentence in rule(run)] + run.texts("warnings")


def _stale(run: Run) -> list[str]:
    """The clusters of result.h5ad were changed after the run."""
    recorded = run.record.get("n_clusters")
    if run.has_clusters and recorded and int(recorded) != len(category_column(run.adata, "scrae").categories):
        return [
            f"The clusters in result.h5ad are not those of the run, which had {int(recorded)}: clusters.csv, "
            "figures and run.json describe other clusters. To renew all together: `scrae recluster OUT`."
        ]
    return []


def _unfiltered(run: Run) -> list[str]:
    """Cells of low quality that no threshold removed."""
    mito, thresholds = run.column("scrae_mito"), run.part("filter")
    if mito is None or not thresholds or thresholds.get("max_mito") is not None:
        return []
    high = int((mito > HIGH_MITO).sum())
    if high < 0.01 * len(mito):
        return []
    return [
        f"{high:,} of {len(mito):,} cells have more than {100 * HIGH_MITO:.0f} % mitochondrial counts, and no limit "
        f"was set. To leave out such cells: `scrae run INPUT -o OUT_filtered --max-mito {HIGH_MITO}`."
    ]


def _other_labels(run: Run) -> list[str]:
    ari = run.part("scores").get("ari")
    if run.label_key is None or ari is None or float(ari) >= POOR_ARI:
        return []
    n_labels = len(category_column(run.adata, run.label_key).categories)
    return [
        f"The clusters and the labels differ (ARI {float(ari):.2f}); either may be wrong, see “Agreement with the "
        f"labels”. For as many clusters as labels: `scrae recluster OUT -k {n_labels}`."
    ]


def _lost_cells(run: Run) -> list[str]:
    before = (run.record.get("input") or {}).get("n_cells") or 0
    lost = before - run.adata.n_obs
    if before and lost > 0.3 * before:
        share = f"{lost:,} of {before:,} cells ({100 * lost / before:.0f} %)"
        return [f"The filters removed {share}. Check the thresholds under “Quality control”."]
    return []


def _training(run: Run) -> list[str]:
    sentences = []
    for term, values in run.part("history").items():
        values = np.asarray(values, dtype=np.float64)
        if len(values) > 1 and np.isfinite(values[0]) and not np.isfinite(values[-1]):
            sentences.append(f"The loss “{term}” became non-finite during training; do not use this result.")
    best, epochs = (int(run.part("train").get(name, 0)) for name in ("best_epoch", "epochs"))
    held_out = np.asarray(run.part("history").get("validation", np.nan), dtype=np.float64)
    at_limit = epochs == run.setting("train", "max_epochs") and run.setting("train", "schedule") == "constant"
    if at_limit and best >= epochs - 1 and np.isfinite(held_out).any():
        sentences.append(
            f"Training ended at its limit of {epochs} epochs while the held-out loss was still falling. "
            "More epochs may give a better model."
        )
    return sentences


def _collapsed_codes(run: Run) -> list[str]:
    """A latent dimension that is constant over the cells carries no information."""
    codes = np.asarray(run.adata.obsm.get("X_scrae", np.empty((0, 0))), dtype=np.float64)
    if len(codes) < 2:
        return []
    spread = codes.std(axis=0)
    constant = int((spread <= _CONSTANT * np.abs(codes).max()).sum())
    if constant == codes.shape[1]:
        return ["All cells have the same latent representation: training failed. Do not use this result."]
    if constant:
        return [
            f"{constant} of {codes.shape[1]} latent dimensions are constant over all cells and carry no information."
        ]
    return []


def _collapsed_clusters(run: Run) -> list[str]:
    if not run.has_clusters:
        return []
    n_clusters, n_filled = len(category_column(run.adata, "scrae").categories), len(_members(run))
    empty = n_clusters - n_filled
    sentences = [f"{empty} of {n_clusters} clusters hold no cells."] if empty else []
    if n_filled == 1 and run.setting("cluster", "n_clusters") != 1:
        sentences.append(
            "All cells are in one cluster: they may be of one type, or the latent space collapsed."
        )
    return sentences


def _number_of_clusters(run: Run) -> list[str]:
    clusters = run.part("clusters")
    chosen = clusters.get("n_clusters")
    runs = np.atleast_1d(np.asarray(clusters.get("runs", ()), dtype=np.int64))
    if chosen is None or not len(runs) or disagreement(int(chosen), runs.tolist()) <= ROUGH:
        return []
    return [
        f"The number of clusters is uncertain: runs of Leiden give {runs.min()} to {runs.max()}. "
        "See “Number of clusters”, or set it: `scrae recluster OUT -k N`."
    ]


def _small_clusters(run: Run) -> list[str]:
    small = [name for name, cells in _members(run) if len(cells) < SMALL_CLUSTER]
    return [f"{_have(small)} fewer than {SMALL_CLUSTER} cells: interpret with caution."] if small else []


def _unstable_clusters(run: Run) -> list[str]:
    names = [name for name, value in cluster_stability(run).items() if value < DOUBTFUL]
    words = "an unstable border: reclustering assigns some cells to other clusters. See “Cluster stability”."
    return [f"{_have(names)} {words}"] if names else []


def _poor_clusters(run: Run) -> list[str]:
    """Clusters that look like damaged cells or empty droplets."""
    sentences = []
    if (mito := run.column("scrae_mito")) is not None:
        high = [name for name, cells in _members(run) if np.nanmedian(mito[cells]) > 0.2]
        if high:
            sentences.append(
                f"{_have(high)} more than 20 % mitochondrial counts in the median cell: possibly damaged cells."
            )
    if (total := run.column("scrae_n_counts")) is not None:
        usual = float(np.nanmedian(total))
        low = [name for name, cells in _members(run) if np.nanmedian(total[cells]) < usual / 4]
        if low:
            sentences.append(
                f"{_have(low)} less than a quarter of the median counts per cell: possibly debris or empty droplets."
            )
    return sentences


def _doublets(run: Run) -> list[str]:
    """Clusters that look like the sum of two others."""
    return [
        f"Cluster {row['cluster']} looks like doublets of clusters {row['first']} and {row['second']}: "
        f"{100 * row['together']:.0f} % of its cells express markers of both ({row['genes'].replace(' ', ', ')}, ...), "
        f"against {100 * row['apart']:.0f} % of the cells of these; {100 * row['called']:.0f} % are called doublets. "
        "To leave out such cells: `scrae run INPUT -o OUT_singlets --drop-doublets`."
        for row in run.rows("doublets")
        if row["doublets"]
    ]


def _batches(run: Run) -> list[str]:
    """Columns of ``obs`` along which the clusters are divided."""
    if not run.has_clusters:
        return []
    return batch_notes(run.adata, label_key=run.label_key, batch_key=run.record.get("batch_key"))


def _members(run: Run) -> list[tuple[str, NDArray[np.int64]]]:
    """Return name and cells of each cluster that has any."""
    if not run.has_clusters:
        return []
    column = category_column(run.adata, "scrae")
    members = [(name, np.flatnonzero(column.codes == code)) for code, name in enumerate(column.categories)]
    return [(name, cells) for name, cells in members if len(cells)]


def _have(names: list[str]) -> str:
    """Begin a sentence about clusters: ``Clusters 3 and 5 have``."""
    if len(names) == 1:
        return f"Cluster {names[0]} has"
    if len(names) > 6:
        return f"{len(names)} clusters ({', '.join(names[:4])} and {len(names) - 4} more) have"
    return f"Clusters {', '.join(names[:-1])} and {names[-1]} have"
