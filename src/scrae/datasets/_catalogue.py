"""The paper's ten data sets (its table 1): where each lies, and how its files become counts and labels.

Addresses are those in wide use for these sets. A checksum stands here only where one is known: git's own ids of files
at a commit, and the SHA-256 of one archive that three programs apart from each other have written down. The other
publishers give none, so that `scrae.datasets.fetch` says whose first download it trusts.
"""

from __future__ import annotations

from functools import partial

from scrae.datasets import _matrices, _tables
from scrae.datasets._entry import DataSet, SourceFile

__all__ = ["CATALOGUE"]


_GEO_PAGE = "https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi?acc="
_GEO_TERMS = "GEO sets no terms of its own; the submitters' rights stay."
_TENX_PAGE = "https://support.10xgenomics.com/single-cell-gene-expression/datasets"
_TENX_TERMS = "those on 10x Genomics' page of the set."
_SORTED = {
    "cd14_monocytes": "CD14+ monocytes",
    "b_cells": "CD19+ B cells",
    "cd34": "CD34+ cells",
    "regulatory_t": "CD4+/CD25+ regulatory T cells",
    "naive_t": "CD4+/CD45RA+/CD25- naive T cells",
    "memory_t": "CD4+/CD45RO+ memory T cells",
    "cd56_nk": "CD56+ natural killer cells",
    "naive_cytotoxic": "CD8+/CD45RA+ naive cytotoxic T cells",
}


def _of_geo(name: str) -> SourceFile:
    """Return a file of a GEO sample, whose accession begins its name."""
    sample = name.partition("_")[0]
    folder = f"https://ftp.ncbi.nlm.nih.gov/geo/samples/{sample[:-3]}nnn/{sample}/suppl"
    return SourceFile(name=name, url=f"{folder}/{name}")


def _of_tenx(sample: str, checksum: str | None = None) -> SourceFile:
    name = f"{sample}_filtered_gene_bc_matrices.tar.gz"
    url = f"https://cf.10xgenomics.com/samples/cell-exp/1.1.0/{sample}/{name}"
    return SourceFile(name=name, url=url, checksum=checksum)


def _of_github(repository: str, commit: str, path: str, checksum: str) -> SourceFile:
    return SourceFile(
        name=path.rpartition("/")[2],
        url=f"https://raw.githubusercontent.com/{repository}/{commit}/{path.replace(' ', '%20')}",
        checksum=checksum,
    )


_of_scdeepcluster = partial(_of_github, "ttgump/scDeepCluster", "ff7f29d003be7112c6a3dcab37c44d461423647d")
_SCDEEPCLUSTER_TERMS = "Apache 2.0 for the repository; the rights in the data are their publishers'."

_TEN = (
    DataSet(
        name="klein",
        paper="Klein-2k",
        accession="GSE65525",
        page=f"{_GEO_PAGE}GSE65525",
        files=(
            _of_geo("GSM1599494_ES_d0_main.csv.bz2"),
            _of_geo("GSM1599497_ES_d2_LIFminus.csv.bz2"),
            _of_geo("GSM1599498_ES_d4_LIFminus.csv.bz2"),
            _of_geo("GSM1599499_ES_d7_LIFminus.csv.bz2"),
        ),
        convert=partial(_tables.one_label_a_table, labels=("d0", "d2", "d4", "d7")),
        cells=2717,
        genes=24175,
        types=4,
        citation="Klein et al., Cell 161 (2015), doi:10.1016/j.cell.2015.04.044",
        terms=_GEO_TERMS,
        remark="Labels are days after the withdrawal of LIF.",
    ),
    DataSet(
        name="han",
        paper="Han-2k",
        accession="GSE108097",
        page=f"{_GEO_PAGE}GSE108097",
        files=(
            _of_scdeepcluster(
                "scRNA-seq data/mouse_bladder_cell.h5", "git:59d5c178d1c8078ad3410d049983301e66e6fde9"
            ),
        ),
        convert=_matrices.labelled_hdf5,
        cells=2746,
        genes=19079,
        types=16,
        citation="Han et al., Cell 172 (2018), doi:10.1016/j.cell.2018.02.001",
        terms=_SCDEEPCLUSTER_TERMS,
        remark="The bladder of the Mouse Cell Atlas, as the authors of scDeepCluster publish it: types are numbers, "
        "genes have no names.",
    ),
    DataSet(
        name="zeisel",
        paper="Zeisel-3k",
        accession="GSE60361",
        page="http://linnarssonlab.org/cortex",
        files=(
            SourceFile(
                name="expression_mRNA_17-Aug-2014.txt",
                url="https://storage.googleapis.com/linnarsson-lab-www-blobs/blobs/cortex/expression_mRNA_17-Aug-2014.txt",
            ),
        ),
        convert=_tables.strt,
        cells=3005,
        genes=19972,
        types=9,
        citation="Zeisel et al., Science 347 (2015), doi:10.1126/science.aaa1934",
        terms=_GEO_TERMS,
        remark="Labels are the nine groups; obs has the seven and forty-seven classes too (level1class, level2class).",
    ),
    DataSet(
        name="segerstolpe",
        paper="Segerstolpe-3k",
        accession="E-MTAB-5061",
        page="https://www.ebi.ac.uk/biostudies/arrayexpress/studies/E-MTAB-5061",
        files=(
            SourceFile(name="pancreas_refseq_rpkms_counts_3514sc.txt", url=None),
            SourceFile(name="E-MTAB-5061.sdrf.txt", url=None),
        ),
        convert=_tables.rpkms_and_counts,
        cells=3514,
        genes=25525,
        types=13,
        citation="Segerstolpe et al., Cell Metabolism 24 (2016), doi:10.1016/j.cmet.2016.08.020",
        terms="those of ArrayExpress and of the submitters.",
        remark="Reads of Smart-seq2, not molecules. Labels are those of the SDRF table, so wells without a type are a "
        "type of their own ('not applicable'); which ones the paper left out or merged is not known. Spike-ins "
        "(ERCC) are kept. The publisher's table is in E-MTAB-5061.processed.1.zip.",
    ),
    DataSet(
        name="cao",
        paper="Cao-4k",
        accession="GSE98561",
        page=f"{_GEO_PAGE}GSE98561",
        files=(
            _of_scdeepcluster(
                "scRNA-seq data/worm_neuron_cell.h5",
                "sha256:4f2a3c4b8492bcd11d957a8a74098ba258c271d714718c175854a7c44b1e31e6",
            ),
        ),
        convert=_matrices.labelled_hdf5,
        cells=4186,
        genes=11955,
        types=10,
        citation="Cao et al., Science 357 (2017), doi:10.1126/science.aam8940",
        terms=_SCDEEPCLUSTER_TERMS,
        remark="The neurons, as the authors of scDeepCluster publish them, with 13488 genes: types are numbers, genes "
        "have no names.",
    ),
    DataSet(
        name="baron",
        paper="Baron-8k",
        accession="GSE84133",
        page=f"{_GEO_PAGE}GSE84133",
        files=tuple(_of_geo(f"GSM{2230756 + n}_human{n}_umifm_counts.csv.gz") for n in (1, 2, 3, 4)),
        convert=_tables.annotated_cells,
        cells=8569,
        genes=20125,
        types=14,
        citation="Baron et al., Cell Systems 3 (2016), doi:10.1016/j.cels.2016.08.011",
        terms=_GEO_TERMS,
    ),
    DataSet(
        name="macosko",
        paper="Macosko-44k",
        accession="GSE63472",
        page=f"{_GEO_PAGE}GSE63472",
        files=(
            SourceFile(
                name="GSE63472_P14Retina_merged_digital_expression.txt.gz",
                url="https://ftp.ncbi.nlm.nih.gov/geo/series/GSE63nnn/GSE63472/suppl/"
                "GSE63472_P14Retina_merged_digital_expression.txt.gz",
            ),
            SourceFile(
                name="retina_clusteridentities.txt",
                url="http://mccarrolllab.org/wp-content/uploads/2015/05/retina_clusteridentities.txt",
            ),
        ),
        convert=_tables.table_and_clusters,
        cells=44808,
        genes=23288,
        types=39,
        citation="Macosko et al., Cell 161 (2015), doi:10.1016/j.cell.2015.05.002",
        terms=_GEO_TERMS,
        remark="Labels are the numbers of the 39 clusters. The published table has more genes than the paper used.",
    ),
    DataSet(
        name="zheng68k",
        paper="Zheng-68k",
        accession="SRP073767",
        page=_TENX_PAGE,
        files=(
            _of_tenx(
                "fresh_68k_pbmc_donor_a",
                "sha256:3f35f37ff344bc9b32f97cd003ac986ebb9b5d7f31006c53dff4cb38da267931",
            ),
            _of_github(
                "10XGenomics/single-cell-3prime-paper",
                "48c22117e5d8341903720f2bd66847ca5a7246c5",
                "pbmc68k_analysis/68k_pbmc_barcodes_annotation.tsv",
                "git:4126673ed40fc950e448870369fc6a03e04cc9b6",
            ),
        ),
        convert=_matrices.tenx_and_annotation,
        cells=68579,
        genes=32738,
        types=10,
        citation="Zheng et al., Nature Communications 8 (2017), doi:10.1038/ncomms14049",
        terms=_TENX_TERMS,
        remark="Labels are the sorted population whose mean a cell resembles most; the file has dendritic cells beside "
        "ten populations.",
    ),
    DataSet(
        name="zheng73k",
        paper="Zheng-73k",
        accession="SRP073767",
        page=_TENX_PAGE,
        files=tuple(_of_tenx(sample) for sample in _SORTED),
        convert=partial(_matrices.one_label_a_tenx, labels=tuple(_SORTED.values())),
        cells=73233,
        genes=32738,
        types=8,
        citation="Zheng et al., Nature Communications 8 (2017), doi:10.1038/ncomms14049",
        terms=_TENX_TERMS,
        remark="Labels are sort gates. The paper does not say which eight of ten sorted populations it took; helper "
        "and cytotoxic T cells are left out here, since the other eight sum to its 73233 cells.",
    ),
    DataSet(
        name="rosenberg",
        paper="Rosenberg-156k",
        accession="GSE110823",
        page=f"{_GEO_PAGE}GSE110823",
        files=(_of_geo("GSM3017261_150000_CNS_nuclei.mat.gz"),),
        convert=_matrices.matlab,
        cells=156049,
        genes=26894,
        types=73,
        citation="Rosenberg et al., Science 360 (2018), doi:10.1126/science.aam8999",
        terms=_GEO_TERMS,
    ),
)

CATALOGUE = {entry.name: entry for entry in _TEN}
