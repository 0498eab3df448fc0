"""Pictures, drawn with matplotlib: each returns axes, none shows a window or touches pyplot's global state."""

from scrae.pl._embedding import embedding
from scrae.pl._genes import gene_selection
from scrae.pl._save import save_figures
from scrae.pl._tables import cluster_sizes, label_table
from scrae.pl._training import history

__all__ = ["cluster_sizes", "embedding", "gene_selection", "history", "label_table", "save_figures"]
