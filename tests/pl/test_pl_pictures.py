from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from helpers.fabricated import BEST_EPOCH, N_EPOCHS
from matplotlib.colors import to_hex

from scrae import pl
from scrae.errors import ScraeError
from scrae.pl._draw import RAMP
from scrae.pl._genes import _read


class TestHistory:
    def test_every_loss_has_its_curve_and_the_kept_epoch(self, adata):
        history = adata.uns["scrae"]["history"]
        axes = pl.history(adata)
        assert [ax.get_title() for ax in axes] == [
            "Reconstruction", "Library size (KL)", "Critic", "Latent generator", "Encoder, adversarial",
            "Gradient penalty", "Learning rate",
        ]  # fmt: skip
        training, held_out, kept = axes[0].lines
        np.testing.assert_array_equal(training.get_ydata(), history["reconstruction"])
        np.testing.assert_array_equal(held_out.get_ydata(), history["validation"])
        np.testing.assert_array_equal(training.get_xdata(), np.arange(N_EPOCHS))
        assert list(kept.get_xdata()) == [BEST_EPOCH, BEST_EPOCH]

    def test_terms_that_were_not_used_have_no_panel(self, adata):
        history = dict(adata.uns["scrae"]["history"], validation=np.full(N_EPOCHS, np.nan))
        del history["critic"], history["epoch"]
        axes = pl.history(history)
        assert len(axes) == 6
        assert len(axes[0].lines) == 1
        assert [ax.get_title() for ax in pl.history(history, panels=["Learning rate"])] == ["Learning rate"]

    def test_without_history_the_message_says_what_to_do(self, adata):
        del adata.uns["scrae"]["history"]
        with pytest.raises(ScraeError, match="found none; train a model first"):
            pl.history(adata)


class TestGenes:
    def test_means_are_counted_where_they_were_not_kept(self, adata):
        adata.uns["scrae"]["gene_selection"] = {"method": "nbumi"}
        counts = adata.layers["counts"].toarray()
        points = _read(adata)
        np.testing.assert_allclose(points.mean, counts.mean(axis=0)[counts.any(axis=0)])
        assert points.statistic_name == "score"
        assert points.expected is None

    def test_names_of_the_best_genes_do_not_overlap(self, adata):
        ax = pl.gene_selection(adata, n_names=5)
        names = [text.get_text() for text in ax.texts]
        assert 2 <= len(names) <= 5
        assert names[0] == adata.var["scrae_rank"].idxmin()
        ax.figure.draw_without_rendering()
        places = [text.get_window_extent() for text in ax.texts]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(places, 2))

    def test_the_curve_of_m3drop(self, adata):
        points = _read(adata)
        np.testing.assert_allclose(points.expected, 0.9 / (0.9 + points.mean))
        ax = pl.gene_selection(adata)
        curve = ax.lines[0]
        assert ax.get_title() == "Gene selection: M3Drop"
        np.testing.assert_array_equal(curve.get_xdata(), np.sort(points.mean))
        other, chosen = ax.collections
        assert len(chosen.get_offsets()) == points.selected.sum() == 60
        assert len(other.get_offsets()) == len(points.mean) - 60

    def test_statistic_and_expectation_of_any_method(self, adata):
        trend = np.linspace(1, 500, adata.n_vars)
        adata.uns["scrae"]["gene_selection"] = {
            "method": "mine", "mean": trend, "statistic": 2 * trend, "statistic_name": "variance", "expected": trend,
        }  # fmt: skip
        points = _read(adata)
        assert points.statistic_name == "variance"
        np.testing.assert_array_equal(points.statistic, 2 * points.expected)
        assert pl.gene_selection(adata).get_yscale() == "log"

    def test_arrays_of_other_genes_are_not_used(self, adata):
        adata.uns["scrae"]["gene_selection"] = {
            "method": "seurat",
            "dispersion": np.ones(7),
            "mean": np.ones(7),
        }
        points = _read(adata)
        assert points.statistic_name == "score"
        np.testing.assert_array_equal(points.statistic, adata.var["scrae_score"][points.names.tolist()])

    def test_the_median_rank_over_batches(self, adata):
        mean = np.linspace(1, 30, adata.n_vars)
        adata.uns["scrae"]["gene_selection"] = {"method": "seurat", "batch_key": "donor", "mean": mean}
        adata.var["scrae_score"] = -np.arange(adata.n_vars, dtype=float)
        del adata.layers["counts"]
        adata.X = None
        points = _read(adata)
        np.testing.assert_array_equal(points.statistic, np.arange(adata.n_vars))
        np.testing.assert_array_equal(points.mean, mean)
        ax = pl.gene_selection(adata)
        assert ax.get_ylabel() == "median rank over the batches (0 is best)"
        assert ax.get_xlabel() == "log1p of the mean per cell"
        ax.figure.draw_without_rendering()
        labels = {label.get_text() for label in ax.get_xticklabels()}
        assert {"1", "2", "5", "10", "20"} <= labels  # few decades: no powers of ten

    def test_without_counts_and_means_the_message_says_what_to_do(self, adata):
        del adata.layers["counts"]
        adata.X = None
        adata.uns["scrae"]["gene_selection"] = {"method": "nbumi"}
        with pytest.raises(ScraeError, match=r"found neither; run scrae.pp.select_genes again"):
            pl.gene_selection(adata)

    def test_before_the_selection_the_message_says_what_to_do(self, adata):
        del adata.var["scrae_selected"]
        with pytest.raises(ScraeError, match=r"run scrae\.pp\.select_genes first"):
            pl.gene_selection(adata)


class TestQuality:
    def test_every_cell_is_counted_once(self, adata):
        axes = pl.quality(adata)
        assert [ax.get_xlabel() for ax in axes] == [
            "counts per cell", "detected genes per cell", "% mitochondrial counts",
        ]  # fmt: skip
        assert [ax.get_xscale() for ax in axes] == ["log", "log", "linear"]
        for ax in axes:
            assert ax.patches[0].get_data().values.sum() == adata.n_obs
        assert axes[2].lines[0].get_xdata()[0] == pytest.approx(100 * adata.obs["scrae_mito"].median())

    def test_cells_before_the_filters_are_an_outline(self, adata):
        before = {"edges": np.array([1.0, 10.0, 1e5]), "cells": np.array([3, adata.n_obs + 9])}
        adata.uns["scrae"]["before_filter"] = {"scrae_n_counts": before}
        (ax,) = pl.quality(adata, panels=["scrae_n_counts"])
        outline, kept = (patch.get_data() for patch in ax.patches)
        assert outline.values.tolist() == [3, adata.n_obs + 9]
        assert kept.values.sum() == adata.n_obs
        adata.uns["scrae"]["filter"]["n_cells_before"] = adata.n_obs
        assert len(pl.quality(adata, panels=["scrae_n_counts"])[0].patches) == 1

    def test_zeros_alone_are_left_out_and_missing_columns_are_named(self, adata):
        adata.obs["scrae_mito"] = 0.0
        assert len(pl.quality(adata)) == 2
        adata.obs = adata.obs[["scrae"]]
        with pytest.raises(
            ScraeError, match=r"one of scrae_n_counts, .* in obs, found none; run scrae\.pp\.filter"
        ):
            pl.quality(adata)


class TestDots:
    def test_area_is_the_share_and_shade_the_scaled_mean(self):
        share = pd.DataFrame([[1.0, 0.25], [0.0, 0.5]], index=["c0", "c1"], columns=["g$1", "g2"])
        ax = pl.dot_plot(share, pd.DataFrame([[4.0, 1.0], [0.0, 3.0]]))
        (dots,) = (part for part in ax.collections if hasattr(part, "get_sizes") and len(part.get_sizes()))
        assert dots.get_offsets().tolist() == [[0, 0], [1, 0], [1, 1]]
        np.testing.assert_allclose(dots.get_sizes() / dots.get_sizes()[0], [1, 0.25, 0.5])
        assert [to_hex(color) for color in dots.get_facecolors()] == [RAMP[10], RAMP[0], RAMP[10]]
        assert [text.get_text() for text in ax.get_xticklabels()] == ["g$1", "g2"]
        ax.figure.draw_without_rendering()


class TestTables:
    def small(self, adata):
        adata = adata[:6].copy()
        adata.obs["scrae"] = pd.Categorical(["0", "0", "0", "1", "1", "1"])
        adata.obs["label"] = pd.Categorical(["b", "b", "a", "a", "a", None], categories=["a", "b", "unused"])
        return adata

    def test_labels_against_clusters(self, adata):
        table = pl.cross_table(self.small(adata), "label")
        assert table.index.tolist() == ["b", "a"]  # so that the largest shares lie on the diagonal
        assert table.columns.tolist() == ["0", "1"]
        assert table.to_numpy().tolist() == [[2, 0], [1, 2]]

    def test_labels_of_one_cluster_stand_together(self, adata):
        adata = adata[:8].copy()
        adata.obs["scrae"] = pd.Categorical(list("00000112"), categories=["0", "1", "2"])
        adata.obs["label"] = pd.Categorical(["CD4", "CD4", "CD8", "CD8", "CD8", "B", "B", "CD4"])
        assert pl.cross_table(adata, "label").index.tolist() == ["CD8", "CD4", "B"]

    def test_rows_sum_to_100(self, adata):
        ax = pl.label_table(self.small(adata), "label")
        np.testing.assert_allclose(ax.images[0].get_array(), [[100, 0], [100 / 3, 200 / 3]])
        assert [text.get_text() for text in ax.texts] == ["100", "33", "67"]
        assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "a"]

    def test_sizes(self, adata):
        ax = pl.cluster_sizes(adata)
        sizes = adata.obs["scrae"].value_counts().sort_index().tolist()
        assert [bar.get_width() for bar in ax.patches] == sizes
        assert [text.get_text() for text in ax.texts] == [f" {size}" for size in sizes]


class TestSave:
    def test_everything_that_applies(self, adata, tmp_path):
        adata.obsm["X_scrae_2d"] = adata.obsm["X_pca_scrae"]
        paths = pl.save_figures(adata, tmp_path / "figures", label_key="cell_type")
        names = [
            f"{basis}_{what}"
            for basis in ("pca", "tsne", "umap", "latent")
            for what in ("clusters", "labels")
        ]
        names += [
            "cluster_sizes",
            "label_table",
            "marker_dots",
            "marker_heatmap",
            "history",
            "gene_selection",
            "quality",
        ]
        assert [path.name for path in paths] == [f"{name}.{end}" for name in names for end in ("png", "svg")]
        assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(
            path.name for path in paths
        )
        for path in paths:
            if path.suffix == ".png":
                assert path.read_bytes().startswith(b"\x89PNG")
            else:
                assert ElementTree.parse(path).getroot().tag.endswith("svg")

    def test_the_text_of_an_svg_is_text_and_the_file_is_the_same_twice(self, adata, tmp_path):
        for name in ("pca_scrae", "tsne", "umap"):
            del adata.obsm[f"X_{name}"]
        del adata.uns["scrae"]["history"], adata.uns["scrae"]["markers"], adata.obs["scrae_n_counts"]
        first, second = (pl.save_figures(adata, tmp_path / folder) for folder in ("a", "b"))
        assert [path.name for path in first] == [
            "cluster_sizes.png",
            "cluster_sizes.svg",
            "gene_selection.png",
            "gene_selection.svg",
        ]
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
        assert "drop-out rate" in first[3].read_text(encoding="utf-8")

    def test_a_two_dimensional_latent_is_a_picture_itself(self, adata, tmp_path):
        adata.obsm.clear()
        adata.obsm["X_scrae"] = np.ones((adata.n_obs, 2), dtype=np.float32)
        paths = pl.save_figures(adata, tmp_path)
        assert paths[0] == tmp_path / "latent_clusters.png"
