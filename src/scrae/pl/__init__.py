"""Plots made with matplotlib: every function returns its axes, opens no window and leaves pyplot's state unchanged."""

from scrae.pl._cells import quality
from scrae.pl._colors import category_colors, category_column, is_category
from scrae.pl._embedding import BASES, embedding
from scrae.pl._genes import gene_selection
from scrae.pl._markers import markers
from scrae.pl._qc import qc
from scrae.pl._save import save_figures
from scrae.pl._svg import inline_svg
from scrae.pl._tables import cluster_sizes, cross_table, dot_plot, label_table
from scrae.pl._training import history
from scrae.pl._tree import cluster_tree

__all__ = [
    "BASES",
    "category_colors",
    "category_column",
    "cluster_sizes",
    "cluster_tree",
    "cross_table",
    "dot_plot",
    "embedding",
    "gene_selection",
    "history",
    "inline_svg",
    "is_category",
    "label_table",
    "markers",
    "qc",
    "quality",
    "save_figures",
]
