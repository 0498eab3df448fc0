"""Where counts are found in an AnnData, and the slots that they get."""

from __future__ import annotations

from importlib.metadata import version

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from helpers.count_files import CELLS, counts, log_table, table
from scipy import sparse

from scrae.errors import ScraeError, ScraeWarning
from scrae.io import use_counts
from scrae.io.notes import add_note


def notes(adata):
    return adata.uns["scrae"]["notes"]


def assert_slots(adata, expected=None):
    expected = counts() if expected is None else expected
    for matrix in (adata.X, adata.layers["counts"]):
        assert type(matrix) is sparse.csr_matrix
        assert matrix.dtype == np.int32
        np.testing.assert_array_equal(matrix.toarray(), expected)
    assert not np.shares_memory(adata.X.data, adata.layers["counts"].data)


def test_counts_in_x():
    adata = table()
    assert use_counts(adata) is None
    assert_slots(adata)
    assert notes(adata) == ["Counts were found in X: 10 cells x 7 genes."]
    assert list(adata.obs["cell_type"]) == ["B", "T"] * 5


def test_counts_in_the_layer_counts():
    adata = log_table()
    adata.layers["counts"] = sparse.csc_matrix(counts(), dtype=np.float64)
    use_counts(adata)
    assert_slots(adata)
    assert notes(adata) == [
        "Counts were found in layers['counts']: 10 cells x 7 genes; they took the place of other values in X."
    ]


@pytest.mark.skipif(
    version("anndata").startswith("0.11."), reason="anndata 0.11 makes no AnnData of layers alone"
)
def test_counts_in_a_layer_while_there_is_no_x():
    adata = AnnData(layers={"counts": counts()})
    use_counts(adata)
    assert_slots(adata)
    assert notes(adata) == ["Counts were found in layers['counts']: 10 cells x 7 genes."]


def test_counts_in_raw_with_more_genes_in_another_order():
    order = [6, 2, 0, 4, 1, 3, 5]
    adata = log_table()[:, ["LYZ", "ACTB", "CD3D"]].copy()
    adata.raw = table()[:, order].copy()
    use_counts(adata)
    assert_slots(adata, counts()[:, [5, 0, 2]])
    assert notes(adata)[0].startswith(
        "Counts were found in raw (3 of its 7 genes: those of X): 10 cells x 3 genes"
    )


def test_counts_in_raw_without_some_genes_of_x_are_refused():
    adata = log_table()
    adata.raw = table()[:, ["LYZ", "ACTB"]].copy()
    with pytest.raises(
        ScraeError, match=r"its genes cannot be matched to those of X; give adata.raw.to_adata\(\)"
    ):
        use_counts(adata)


@pytest.mark.parametrize("place", ["X", "spliced", "raw"])
def test_a_place_can_be_named(place):
    adata = log_table()
    other = counts() + 1
    adata.layers["counts"] = counts()
    adata.layers["spliced"] = other
    adata.raw = AnnData(other, obs=adata.obs, var=adata.var)
    if place == "X":
        adata.X = other
    use_counts(adata, place)
    assert_slots(adata, other)


def test_a_named_layer_that_is_not_there():
    adata = table()
    adata.layers["spliced"] = counts()
    with pytest.raises(ScraeError, match="There is no layer 'unspliced'; there is 'X', 'spliced'"):
        use_counts(adata, "unspliced")
    with pytest.raises(ScraeError, match="there is no matrix at all"):
        use_counts(AnnData(obs=pd.DataFrame(index=["a"])), "raw")


def test_the_named_layer_holds_no_counts():
    adata = table()
    adata.layers["log"] = log_table().X
    with pytest.raises(
        ScraeError, match=r"layers\['log'\] holds a value that is not a whole number \(.*log-normalized"
    ):
        use_counts(adata, "log")


def test_log_values_only_are_refused_with_the_remedy():
    adata = log_table()
    with pytest.raises(ScraeError) as caught:
        use_counts(adata)
    text = str(caught.value)
    value = f"{adata.X[0, 0]!s}"
    assert text.startswith(
        f"X holds a value that is not a whole number ({value}) at cell {CELLS[0]!r}, gene 'ACTB';"
    )
    assert (
        "It looks like log-normalized values. Give the matrix of raw counts, from before normalization."
        in text
    )


def test_another_layer_with_counts_is_pointed_to():
    adata = log_table()
    adata.layers["lognorm"] = adata.X.copy()
    adata.layers["umis"] = counts()
    with pytest.raises(
        ScraeError,
        match=r"which rounds them. layers\['umis'\] holds counts: say layer='umis' \(--layer umis\).$",
    ):
        use_counts(adata)


def test_all_places_without_counts_are_named():
    adata = log_table()
    adata.layers["counts"] = adata.X.copy()
    adata.raw = adata.copy()
    with pytest.raises(ScraeError, match=r"^X holds .* Nor does counts or raw hold counts.$"):
        use_counts(adata)


def test_nothing_at_all():
    with pytest.raises(ScraeError, match=r"The data has no X, layers\['counts'\] or raw"):
        use_counts(AnnData(obs=pd.DataFrame(index=["a"]), var=pd.DataFrame(index=["g"])))


def test_two_different_counts_are_warned_of():
    adata = table()
    adata.layers["counts"] = counts() + np.eye(10, 7, dtype=int)
    with pytest.warns(
        ScraeWarning, match="X and layers\\['counts'\\] both hold counts, and differ; X was taken"
    ):
        use_counts(adata)
    assert_slots(adata)


def test_using_counts_twice_changes_nothing_more():
    adata = table()
    use_counts(adata)
    use_counts(adata)
    assert_slots(adata)


def test_a_view_is_used_and_its_parent_is_left_alone():
    parent = table()
    view = parent[2:6]
    use_counts(view)
    assert_slots(view, counts()[2:6])
    assert "scrae" not in parent.uns
    assert parent.X.dtype == np.float32


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_a_backed_anndata_is_used_and_its_file_is_left_alone(tmp_path, form):
    path = tmp_path / "a.h5ad"
    adata = table()
    adata.X = form(counts().astype(np.float32))
    adata.write_h5ad(path)
    before = path.read_bytes()
    backed = anndata.read_h5ad(path, backed="r")
    use_counts(backed)
    assert not backed.isbacked
    assert_slots(backed)
    assert path.read_bytes() == before


def test_a_backed_anndata_with_counts_in_raw(tmp_path):
    adata = log_table()
    adata.raw = table()
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    use_counts(backed)
    assert_slots(backed)
    assert backed.raw is None


def test_empty_and_repeated_names_are_changed_and_said():
    adata = table()
    adata.obs_names = ["c", "c", "", "c-1", "c", "d", "e", "f", "g", "h"]
    adata.var_names = ["A", "B", "", "ä b", "B", "", "G"]
    use_counts(adata)
    assert list(adata.obs_names) == ["c", "c-2", "cell_2", "c-1", "c-3", "d", "e", "f", "g", "h"]
    assert list(adata.var_names) == ["A", "B", "gene_2", "ä b", "B-1", "gene_5", "G"]
    assert notes(adata)[1:] == [
        "1 cell names were empty and became 'cell_2'.",
        "1 cell names occurred more than once and were made unique with -1, -2, ...: 'c'.",
        "2 gene names were empty and became 'gene_2', 'gene_5'.",
        "1 gene names occurred more than once and were made unique with -1, -2, ...: 'B'.",
    ]


def test_a_missing_name_counts_as_empty():
    adata = table()
    adata.var.index = pd.Index(["A", None, "C", np.nan, "E", "F", "G"], dtype=object)
    use_counts(adata)
    assert list(adata.var_names) == ["A", "gene_1", "C", "gene_3", "E", "F", "G"]


def test_features_other_than_genes_are_refused():
    adata = table()
    adata.var["feature_types"] = ["Gene Expression"] * 5 + ["Antibody Capture"] * 2
    with pytest.raises(
        ScraeError, match=r"features other than Gene Expression \('Antibody Capture'\); keep only genes"
    ):
        use_counts(adata)


def test_notes_survive_a_file_and_a_foreign_slot(tmp_path):
    adata = table()
    add_note(adata, "one")
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    add_note(again, "two")
    assert notes(again) == ["one", "two"]
    again.uns["scrae"] = "not ours"
    add_note(again, "three")
    assert notes(again) == ["three"]
