"""Categories of ``obs`` and their colors: one palette suitable for color-blind readers, stored in the AnnData."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.colors import is_color_like, to_hex

from scrae.errors import ScraeError, did_you_mean

__all__ = ["LABEL_PALETTE", "MISSING", "PALETTE", "category_colors", "category_column", "is_category"]

MISSING = "#a3a7ad"
"""Color of cells without a category."""

# Okabe and Ito's colors, then greedily the sRGB color (Oklab lightness 0.46 to 0.86, chroma below 0.17, so that
# it stands out on white and on black) farthest from all before it: the smaller of its Oklab distance in normal
# vision and 1.7 times that under deuteranopia and protanopia (Machado et al. 2009).
PALETTE: tuple[str, ...] = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#d9c936", "#873c5a", "#00f0c3",
    "#695a00", "#8778e1", "#96b487", "#b4d2ff", "#786987", "#693ca5", "#f0c396", "#a55a4b", "#ff87c3",
    "#e15a69", "#b4964b", "#78c35a", "#5a96ff", "#4b5a78", "#00c3c3", "#78872d", "#5a8787", "#4b5ac3",
    "#5a87c3", "#874b96", "#c396a5", "#e196ff", "#784b3c", "#e1b4e1", "#f0a5a5", "#ff965a", "#a5d278",
    "#1e783c", "#b487d2", "#69a587", "#b44b69", "#a5785a", "#965ac3", "#7896b4", "#4bd2e1", "#8778a5",
    "#e1871e", "#a55a00", "#a53c1e", "#00a5e1", "#96d2c3", "#e17878", "#2d78d2", "#87e1a5", "#a54ba5",
    "#963c78", "#78a50f", "#b4e15a", "#69c3a5", "#c3784b", "#d25a96", "#e1b40f", "#964b5a", "#b469c3",
    "#b4c387", "#a5b4d2", "#a56978", "#00c3ff", "#006996", "#5a4b96", "#87e1e1", "#4b87f0", "#783c87",
    "#f0784b", "#9696f0", "#4bb4c3", "#1e8796", "#3c9696", "#3c4bb4", "#96a5b4", "#a5b43c",
)  # fmt: skip


# Tol's "muted" scheme for color-blind readers (personal.sron.nl/~pault), so that labels do not look like clusters.
LABEL_PALETTE: tuple[str, ...] = (
    "#cc6677", "#332288", "#ddcc77", "#117733", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499",
    *PALETTE[9:],
)  # fmt: skip


def is_category(column: pd.Series) -> bool:
    """Return whether a column of ``obs`` is categorical, text or boolean rather than numeric.

    Parameters
    ----------
    column : pandas.Series
        Column of ``obs``.

    Returns
    -------
    bool
        Whether it names groups.

    Examples
    --------
    >>> scrae.pl.is_category(adata.obs["scrae"])
    True
    """
    return (
        isinstance(column.dtype, pd.CategoricalDtype)
        or not pd.api.types.is_numeric_dtype(column.dtype)
        or pd.api.types.is_bool_dtype(column.dtype)
    )


def category_column(adata: AnnData, key: str) -> pd.Categorical:
    """Return ``adata.obs[key]`` as a categorical with text names.

    Parameters
    ----------
    adata : AnnData
        Annotated cells.
    key : str
        Column of ``obs``.

    Returns
    -------
    pandas.Categorical
        One value per cell; cells without a value have code -1.

    Raises
    ------
    ScraeError
        If ``obs`` has no such column.
    """
    if key not in adata.obs:
        known = ", ".join(map(str, adata.obs.columns)) or "none"
        raise ScraeError(
            f"expected a column of obs, found no {key!r}; the columns are: {known}{did_you_mean(key, adata.obs)}"
        )
    column = adata.obs[key]
    if isinstance(column.dtype, pd.CategoricalDtype):
        return pd.Categorical(column.cat.rename_categories([str(name) for name in column.cat.categories]))
    text = column.astype("string").to_numpy(dtype=object, na_value=None)
    return pd.Categorical(text)


def category_colors(adata: AnnData, key: str) -> list[str]:
    """Return one color per category of ``obs[key]``, and store them where scanpy expects them.

    Stored colors are kept if there are enough of them. Clusters (``"scrae"``) and other columns have different
    palettes, at least for the first nine categories. Beyond 80 categories colors repeat.

    Parameters
    ----------
    adata : AnnData
        Annotated cells. Slots written: ``uns[f"{key}_colors"]``.
    key : str
        Column of ``obs``.

    Returns
    -------
    list of str
        ``#rrggbb`` for each category, in order.

    Raises
    ------
    ScraeError
        If ``obs`` has no such column.

    Examples
    --------
    >>> colors = scrae.pl.category_colors(adata, "scrae")
    >>> len(colors) == len(adata.obs["scrae"].cat.categories)
    True
    """
    n_categories = len(category_column(adata, key).categories)
    slot = f"{key}_colors"
    stored: Iterable[object] = np.atleast_1d(adata.uns[slot]).tolist() if slot in adata.uns else ()
    colors = [to_hex(str(color)) for color in stored if is_color_like(color)]
    if len(colors) < n_categories:
        palette = PALETTE if key == "scrae" else LABEL_PALETTE
        colors = [palette[i % len(palette)] for i in range(n_categories)]
        adata.uns[slot] = colors
    return colors[:n_categories]
