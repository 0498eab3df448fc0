"""Notes in ``uns["scrae"]["notes"]``: sentences on what was found and changed."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from scrae.files import printable

__all__ = ["add_note", "remove_notes"]


def add_note(adata: AnnData, text: str) -> None:
    """Append one plain sentence to ``adata.uns["scrae"]["notes"]``, making the slot where it is missing."""
    ours = adata.uns.get("scrae")
    if not isinstance(ours, dict):
        ours = adata.uns["scrae"] = {}
    # after a round trip through a file the list is an array of strings
    ours["notes"] = [*(str(line) for line in np.atleast_1d(ours.get("notes", []))), printable(text)]


def remove_notes(adata: AnnData, start: str) -> None:
    """Remove the notes that begin with `start`, so that a step that runs again says only what holds now."""
    ours = adata.uns.get("scrae")
    if isinstance(ours, dict) and "notes" in ours:
        ours["notes"] = [
            str(line) for line in np.atleast_1d(ours["notes"]) if not str(line).startswith(start)
        ]
