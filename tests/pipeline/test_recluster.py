"""Other clusters in the folder of a run: no file contradicts another."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from helpers.three_kinds import SMALL, three_kinds
from sklearn.metrics import adjusted_rand_score

import scrae
from scrae import ScraeError, ScraeWarning, pl
from scrae.config import ClusterConfig
from scrae.pipeline.recluster import read_names, recluster
from scrae.pl._save import RESOLUTION


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    adata = three_kinds(60, 24, n_marking=8, low=0.5, high=6.0)
    scrae.io.use_counts(adata)
    folder = tmp_path_factory.mktemp("made") / "out"
    scrae.run(adata, folder, SMALL, cluster=ClusterConfig(n_clusters=2), label_key="kind", device="cpu")
    (folder / "mine.txt").write_text("kept")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out"))


def agree(folder: Path, n_clusters: int) -> AnnData:
    """Check that all files of a run describe the same clusters, and return the result."""
    adata = read_h5ad(folder / "result.h5ad")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    table = pd.read_csv(folder / "clusters.csv", dtype=str)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert list(table["cluster"]) == list(adata.obs["scrae"])
    assert adata.obs["scrae"].nunique() == record["n_clusters"] == n_clusters
    assert adata.uns["scrae"]["clusters"]["n_clusters"] == n_clusters
    assert len(adata.uns["scrae"]["stability"]["jaccard"]) == n_clusters
    ari = adjusted_rand_score(adata.obs["kind"], adata.obs["scrae"])
    assert record["scores"]["ari"] == adata.uns["scrae"]["scores"]["ari"] == pytest.approx(ari)
    assert json.loads(adata.uns["scrae"]["settings"]) == record["config"]
    assert f"<dt>clusters</dt><dd>{n_clusters}</dd>" in page
    drawn = io.BytesIO()
    pl.cluster_sizes(adata).figure.savefig(drawn, format="png", dpi=RESOLUTION)
    assert (folder / "figures" / "cluster_sizes.png").read_bytes() == drawn.getvalue()
    return adata


def test_another_number_renews_every_file(folder: Path, made: Path) -> None:
    before = agree(folder, 2)
    adata = recluster(folder, cluster=ClusterConfig(n_clusters=3), command="scrae recluster out -k 3")
    after = agree(folder, 3)
    assert list(after.obs["scrae"]) == list(adata.obs["scrae"])
    assert np.array_equal(after.obsm["X_umap"], before.obsm["X_umap"])
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["config"]["cluster"]["n_clusters"] == 3
    assert record["reclustered"] == "scrae recluster out -k 3"
    assert record["command"] == "scrae.run"
    assert record["seconds"]["train"] > 0
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in made.iterdir()}
    assert (folder / "mine.txt").read_text() == "kept"
    assert scrae.load(folder / "model").genes == scrae.load(made / "model").genes
    agree(made, 2)


def test_a_cut_of_the_tree_becomes_the_clusters(folder: Path) -> None:
    before = agree(folder, 2).obs["scrae"]
    recluster(folder, cut=3)
    after = agree(folder, 3)
    assert (after.obs["scrae"].groupby(before.to_numpy(), observed=True).nunique() > 1).sum() == 1
    assert '"run":3' in (folder / "report.html").read_text(encoding="utf-8")
    recluster(folder, cut=2)
    assert adjusted_rand_score(agree(folder, 2).obs["scrae"], before) == 1
    with pytest.raises(ScraeError, match=r"expected 1 to \d+ clusters, found 30; for more"):
        recluster(folder, cut=30)
    agree(folder, 2)


def test_a_divided_cluster_is_in_every_file_until_the_clusters_are_found_anew(folder: Path) -> None:
    adata = recluster(folder, divide=("0", 2))
    names = ["0.0", "0.1", "1"]
    assert list(adata.obs["scrae"].cat.categories) == names
    assert set(pd.read_csv(folder / "clusters.csv", dtype=str)["cluster"]) == set(names)
    assert set(adata.uns["scrae"]["markers"]["cluster"]) <= set(names)
    assert set(adata.uns["scrae"]["markers"]["cluster"]) & {"0.0", "0.1"}
    assert "stability" not in adata.uns["scrae"]
    assert "0.1" in (folder / "report.html").read_text(encoding="utf-8")
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["n_clusters"] == 3
    recluster(folder, names={"0.1": "mine"})  # the division stays
    assert list(read_h5ad(folder / "result.h5ad").obs["scrae"].cat.categories) == names
    with pytest.warns(ScraeWarning, match="the division of cluster 0 was lost with the earlier clusters"):
        recluster(folder)
    agree(folder, 2)


def test_the_settings_of_the_run_give_its_clusters_again(folder: Path) -> None:
    before = list(read_h5ad(folder / "result.h5ad").obs["scrae"])
    recluster(folder)
    assert list(agree(folder, 2).obs["scrae"]) == before


def test_a_resolution_is_leiden_s(folder: Path) -> None:
    adata = recluster(folder, cluster=ClusterConfig(method="leiden", resolution=1.0))
    agree(folder, int(adata.uns["scrae"]["clusters"]["n_clusters"]))
    assert adata.uns["scrae"]["clusters"]["resolution"] == 1.0


def test_names_are_in_every_file_and_go_with_their_clusters(folder: Path) -> None:
    recluster(folder, names={"1": "T <cells>"})
    adata = agree(folder, 2)
    assert list(adata.obs["scrae_name"].cat.categories) == ["0", "T <cells>"]
    assert set(adata.obs["scrae_name"][adata.obs["scrae"] == "1"]) == {"T <cells>"}
    table = pd.read_csv(folder / "clusters.csv", dtype=str)
    assert list(table["name"]) == list(adata.obs["scrae_name"])
    assert "T &lt;cells&gt;" in (folder / "report.html").read_text(encoding="utf-8")
    recluster(folder, cluster=ClusterConfig(n_clusters=3))
    assert "scrae_name" not in agree(folder, 3).obs
    assert list(pd.read_csv(folder / "clusters.csv").columns) == ["cell", "cluster"]


def test_after_an_error_the_folder_is_as_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no font")

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ScraeError, match=r"clusters of this run \(0, 1\), found '7'"):
        recluster(folder, names={"7": "B"})
    monkeypatch.setattr(scrae.pl, "save_figures", broken)
    with pytest.raises(RuntimeError, match="no font"):
        recluster(folder, cluster=ClusterConfig(n_clusters=3))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScraeError, match=r"expected the folder of a finished run, found no result\.h5ad"):
        recluster(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster,label\n0,T\n", "expected the columns cluster and name, found cluster, label"),
        ("cluster,name\n0,T\n0,B\n", "expected each cluster once, found '0' twice"),
        ("", "expected a table of names, found No columns"),
    ],
)
def test_names_of_another_form_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(ScraeError, match=message):
        read_names(tmp_path / "names.csv")


def test_names_are_read(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text("cluster\tname\n0\tCD4 T\n3\t NK \n")
    assert read_names(tmp_path / "names.tsv") == {"0": "CD4 T", "3": "NK"}


def test_an_earlier_run_is_not_replaced_unasked(folder: Path) -> None:
    before = (folder / "run.json").read_bytes()
    with pytest.raises(
        ScraeError, match=r"a folder without results, found those of an earlier run; .*--overwrite"
    ):
        scrae.run(read_h5ad(folder / "result.h5ad"), folder, SMALL, overwrite=False)
    assert (folder / "run.json").read_bytes() == before
