"""`python -m benchmarks speed whole`: what a user waits for, each tool as a whole process, from file to file.

The tools take turns in one run, so that a busy machine slows all of them, and processor seconds are compared.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.options import Busy, Output
from benchmarks.records import append, head, read

__all__ = ["whole", "whole_figure", "whole_table"]

PATHS = Path(__file__).parent / "paths"
LAUNCH = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 2**20 if sys.platform == "darwin" else 2**10
print(json.dumps({"status": done.returncode, "error": done.stderr[-300:], "seconds": time.perf_counter() - start,
                  "processor_seconds": used.ru_utime + used.ru_stime, "peak_memory_mb": used.ru_maxrss / unit}))
"""
"""Small, because a process starts with the peak memory of the one that starts it."""
COLORS = {"scanpy": "#4D4D4D", "scvi-tools": "#D55E00", "scrae": "#0072B2"}
SETS, GENES = "baron,zheng_facs", 20_000
Files = Annotated[list[Path], typer.Argument(help="Files of records.")]


def whole(
    data: Annotated[Path, typer.Option(help="Folder of h5ad files with counts in X.")],
    output: Output,
    work: Annotated[Path, typer.Option(help="Folder outside the repository for cells and results.")],
    cells: Annotated[str, typer.Option(help="Numbers of made cells, comma separated.")] = "1000,4000,20000",
    sets: Annotated[str, typer.Option(help="Real sets too, comma separated.")] = "zheng_facs",
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each tool.")] = 2,
    scvi_python: Annotated[
        Path | None, typer.Option(help="Python of an environment with scvi-tools.")
    ] = None,
    scvi_cells: Annotated[int, typer.Option(help="Most cells that scvi-tools gets.")] = 20_000,
    busy: Busy = False,
) -> None:
    """Run scanpy's path, scVI's and ours on the same files, one thread each, and record time and memory."""
    work.mkdir(parents=True, exist_ok=True)
    files = [data / f"{name}.h5ad" for name in sets.split(",") if name]
    files += [_made(data, work, int(number)) for number in cells.split(",") if number]
    for file in files:
        n_cells = _n_cells(file)
        result, folder = work / "result.h5ad", work / "run"
        tools: dict[str, list[Any]] = {
            "scanpy": [sys.executable, PATHS / "scanpy_path.py", file, result],
            "scrae": [sys.executable, "-m", "scrae", "run", file, "-o", folder, "--overwrite"],
        }
        if scvi_python is not None and n_cells <= scvi_cells:
            tools["scvi-tools"] = [scvi_python, PATHS / "scvi_path.py", file, result]
        found: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
        for turn in range(repeats):
            for tool, command in tools.items():
                if turn and tool == "scvi-tools":  # it takes longer than all others together
                    continue
                found[tool].append(_measure(command))
                typer.echo(f"{file.stem} {tool} {found[tool][-1]}")
        stages = json.loads((folder / "run.json").read_text())["seconds"]
        shutil.rmtree(folder)
        result.unlink(missing_ok=True)
        facts = {"what": "whole", "set": file.stem, "n_cells": n_cells, "tools": found, "stages": stages}
        append(output, {**head("speed", threads=1, device="cpu", busy=busy), **facts})


def _made(data: Path, work: Path, n_cells: int) -> Path:
    """Return a file of made cells, as `benchmarks scale` makes them; one that exists is used again."""
    from benchmarks.scale import read_profiles, write_cells

    file = work / f"made_{n_cells}.h5ad"
    if not file.exists():
        profiles = read_profiles([data / f"{name}.h5ad" for name in SETS.split(",")], GENES)
        write_cells(file, profiles, n_cells, seed=0)
    return file


def _n_cells(file: Path) -> int:
    import h5py

    with h5py.File(file) as opened:
        x = opened["X"]
        return int(x.attrs["shape"][0] if "shape" in x.attrs else x.shape[0])


def _measure(command: list[Any]) -> dict[str, Any]:
    """Run a command with one thread; its seconds, processor seconds and peak memory."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | dict.fromkeys(threads, "1")
    launched = [sys.executable, "-S", "-c", LAUNCH, *map(str, command)]
    found = json.loads(
        subprocess.run(launched, env=environment, capture_output=True, text=True, check=True).stdout
    )
    if found.pop("status"):
        raise typer.BadParameter(f"{command}: {found['error']}")
    del found["error"]
    return {name: round(value, 1) for name, value in found.items()}


def _latest(files: list[Path]) -> list[dict[str, Any]]:
    """Return the last record of each set, real sets first, then by the number of cells; medians of the turns."""
    records = {r["set"]: r for file in files for r in read(file) if r.get("what") == "whole"}
    for record in records.values():
        for tool, turns in record["tools"].items():
            record["tools"][tool] = {name: median(turn[name] for turn in turns) for name in turns[0]}
    return sorted(records.values(), key=lambda r: (r["set"].startswith("made"), r["n_cells"]))


def whole_table(files: Files) -> None:
    """Print the last record of each set as Markdown."""
    typer.echo(
        "| cells | tool | processor seconds | of scanpy's | peak MB | of scanpy's |\n|---|---|---:|---:|---:|---:|"
    )
    for record in _latest(files):
        base = record["tools"]["scanpy"]
        made = " made" if record["set"].startswith("made") else f" ({record['set']})"
        for tool in (tool for tool in COLORS if tool in record["tools"]):
            found = record["tools"][tool]
            time, memory = found["processor_seconds"], found["peak_memory_mb"]
            ratios = time / base["processor_seconds"], memory / base["peak_memory_mb"]
            row = f"{time:,.1f} | {ratios[0]:.2f} | {memory:,.0f} | {ratios[1]:.2f}"
            typer.echo(f"| {record['n_cells']:,}{made} | {tool} | {row} |")


def whole_figure(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write, png or svg.")],
) -> None:
    """Draw time and memory of the made cells against their number."""
    import numpy as np
    from matplotlib.figure import Figure

    from scrae.pl._draw import label_decades

    records = [record for record in _latest(files) if record["set"].startswith("made")]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    measures = {"processor_seconds": "processor seconds", "peak_memory_mb": "peak memory, MB"}
    for axes, (name, label) in zip(figure.subplots(1, 2), measures.items(), strict=True):
        for tool, color in COLORS.items():
            points = [(r["n_cells"], r["tools"][tool][name]) for r in records if tool in r["tools"]]
            if points:
                axes.loglog(*zip(*points, strict=True), "o-", color=color, ms=4, label=tool)
        axes.set(xlabel="cells", ylabel=label)
        sizes = [r["n_cells"] for r in records]
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        label_decades(axes.yaxis, np.array([tool[name] for r in records for tool in r["tools"].values()]))
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(output, dpi=150)
