"""``info``: what a file or folder holds, and what to run on it. Heavy imports wait inside the functions."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scrae.cli.options import takes
from scrae.config import Settings
from scrae.errors import ScraeError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = ["info"]

_MOST_GROUPS = 200


@takes("layer", "transpose", "mito_prefix", "round")
def info(
    file: Annotated[
        Path,
        typer.Argument(
            help="h5ad, 10x h5, 10x mtx folder, loom, zarr, csv or tsv (.gz); or the folder of a run or a model."
        ),
    ],
    *,
    settings: Settings,
) -> None:
    """Show what a file or folder holds, and what to run on it."""
    if (file / "run.json").is_file():
        lines = _of_run(file)
    elif (file / "weights.safetensors").is_file():
        lines = _of_model(file)
    else:
        from scrae import io

        io.try_hdf5(file)
        adata = io.read(
            file,
            layer=settings.layer,
            min_counts=0,
            transpose=settings.transpose,
            round=settings.round,
        )
        lines = _of_cells(adata, file, settings)
    for line in lines:
        typer.echo(line)


def _of_run(folder: Path) -> Iterator[str]:
    try:
        record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        scores = record["scores"] or {}
        yield (
            f"{folder}: a run of scrae {record['version']}: {record['n_cells']} cells, "
            f"{record['n_clusters']} clusters, {record['epochs']} epochs ({record['stopped_because']})"
        )
        yield from (f"  {name} {value:.3f} against {record['label_key']}" for name, value in scores.items())
        yield f"  made by: {record['command']}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScraeError(
            f"{folder / 'run.json'}: expected the record of a run, found something else"
        ) from error
    yield f"\nLook: {folder / 'report.html'}"
    yield f"New cells: scrae embed NEW.h5ad --model {_quoted(folder)} -o new_codes.h5ad"


def _of_model(folder: Path) -> Iterator[str]:
    from scrae.core.model_io import load

    model = load(folder, device="cpu")
    yield (
        f"{folder}: a model of scrae: {len(model.genes)} genes ({', '.join(model.genes[:3])}, ...), "
        f"{model.config.n_latent} latent dimensions, prior {model.config.prior}"
    )
    yield f"\nNew cells: scrae embed NEW.h5ad --model {_quoted(folder)} -o new_codes.h5ad"


def _of_cells(adata: AnnData, file: Path, settings: Settings) -> Iterator[str]:
    import numpy as np

    from scrae.io.empty_droplets import mostly_empty
    from scrae.pp._filter import cell_statistics
    from scrae.pp._gene_kinds import mitochondrial
    from scrae.pp._outliers import mad_summary, outliers

    transpose, mito_prefix = settings.transpose, settings.preprocess.mito_prefix
    counts = adata.layers["counts"]
    totals = np.asarray(counts.sum(axis=1, dtype=np.int64)).ravel()
    yield f"{file}: {adata.n_obs} cells x {adata.n_vars} genes, {counts.nnz / (adata.n_obs * adata.n_vars):.1%} nonzero"
    yield f"  a cell has {np.median(totals):g} counts of {np.median(counts.getnnz(axis=1)):g} genes (medians)"
    mito = mitochondrial(adata.var_names, mito_prefix)
    if mito.any():
        share = np.asarray(counts[:, mito].sum(axis=1)).ravel() / np.maximum(totals, 1)
        yield f"  mitochondrial share: median {np.median(share):.1%}, above 20 % in {int((share > 0.2).sum())} cells"
    columns = cell_statistics([counts], adata.var_names, mito_prefix)
    sample_key = "sample" if "sample" in adata.obs else next(iter(_batches(adata)), None)
    samples = None if sample_key is None else adata.obs[sample_key]
    if outliers(columns, samples).any():
        within = "" if sample_key is None else f" within obs {sample_key!r}"
        yield f"  {mad_summary(columns, samples)}{within}; scrae run --qc mad drops them"
    yield from (f"- {line}" for line in adata.uns["scrae"]["notes"])
    yield from (f"  obs {name!r}: {_describe(column)}" for name, column in adata.obs.items())
    options = (
        " --transpose" * transpose + " --round" * settings.round + " --min-counts 500" * mostly_empty(totals)
    )
    if settings.layer is not None:
        options += f" --layer {_quoted(settings.layer)}"
    if mito_prefix is not None:
        options += f" --mito-prefix {_quoted(mito_prefix)}"
    yield ""
    if mostly_empty(totals):
        yield "Most barcodes are nearly empty, as in an unfiltered 10x matrix: give the filtered one, or a threshold."
    yield from _advice(adata, _quoted(file), options)


def _describe(column: pd.Series) -> str:
    """What a column of obs holds, in one line."""
    import pandas as pd

    numbers = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    known = column.dropna()
    missing = f", {len(column) - len(known)} missing" if len(known) < len(column) else ""
    values = known.nunique()
    if not values:
        return "no values"
    if values > _MOST_GROUPS or (numbers and values > 20):
        extent = f"numbers from {known.min():g} to {known.max():g}" if numbers else f"e.g. {known.iloc[0]}"
        return f"{values} different values, {extent}{missing}"
    sizes = known.astype(str).value_counts()
    shown = ", ".join(f"{name} ({size})" for name, size in sizes.iloc[:4].items())
    return f"{values} different values: {shown}{', ...' * (values > 4)}{missing}"


def _advice(adata: AnnData, file: str, options: str) -> Iterator[str]:
    """Which commands to try on the cells, the most likely first."""
    label, batches = _label(adata), _batches(adata)
    by_label = f" --label-key {_quoted(label)}" if label else ""
    if "X_scrae" in adata.obsm:
        yield "It holds codes of scrae, so the later steps can be done again:"
        yield f"  scrae cluster {file} -o clustered.h5ad"
        yield f"  scrae plot {file} -o figures{by_label}"
        return
    if "scrae_selected" in adata.var:
        yield f"Its genes are selected. Try: scrae train {file} -o model"
        return
    yield f"Try: scrae run {file} -o out{options}{by_label}"
    if batches:
        named = ", ".join(map(repr, batches))
        yield f"obs {named} may be batches. If types of cells are the same in all batches, correct for them:"
        yield f"  scrae run {file} -o out_batch{options}{by_label} --batch-key {_quoted(batches[0])}"


def _groups(adata: AnnData) -> list[str]:
    """Return the columns of groups of cells."""
    return [
        str(name)
        for name, column in adata.obs.items()
        if 1 < column.nunique() <= min(_MOST_GROUPS, len(column) // 2)
        and not str(name).startswith("scrae")
        and (column.dtype.kind not in "iuf" or column.nunique() <= 20)
    ]


def _batches(adata: AnnData) -> list[str]:
    """Return the columns of groups whose names suggest batches and that have a value for every cell."""
    from scrae.io.roles import names_batches

    return [name for name in _groups(adata) if names_batches(name) and adata.obs[name].notna().all()]


def _label(adata: AnnData) -> str | None:
    """Return the first column of groups whose name suggests labels; None where there is none.

    Where no name does, the first column of groups is taken that is neither batches nor another clustering.
    """
    from scrae.io.roles import names_batches, names_clusters, names_labels

    groups = _groups(adata)
    named = [name for name in groups if names_labels(name)]
    others = [name for name in groups if not names_batches(name) and not names_clusters(name)]
    return next(iter(named + others), None)


def _quoted(text: object) -> str:
    return shlex.quote(str(text))
