"""Every command and code block of the README and of docs/ runs, on small made data; long ones are parsed at least."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import typer
from anndata import AnnData
from helpers.doc_blocks import Block, blocks_of, commands_of, inline_commands
from scipy import sparse
from scipy.io import mmwrite

import scrae
from scrae.cli import app, main
from scrae.config import TrainConfig

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BLOCKS = {page: blocks_of(page) for page in PAGES}
UsageError: type[Exception] = typer.BadParameter.__mro__[
    1
]  # Typer carries a click of its own, or uses the real one
GENES = ["CD3D", "MS4A1", "LYZ", "NKG7", "MT-CO1", *(f"gene{i}" for i in range(295))]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def made_cells(n_cells: int, seed: int) -> AnnData:
    """Counts of three kinds of cells over 300 genes, from three donors."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n_cells) % 3
    rates = rng.gamma(0.6, 1.0, size=(3, len(GENES))) + 0.1
    adata = AnnData(sparse.csr_matrix(rng.poisson(rates[kind]).astype(np.float32)))
    adata.obs_names = [f"cell{seed}_{i}" for i in range(n_cells)]
    adata.var_names = GENES
    adata.obs["cell_type"] = pd.Categorical(np.array(["T", "B", "NK"])[kind])
    adata.obs["donor"] = pd.Categorical([f"donor{i % 5 % 3 + 1}" for i in range(n_cells)])
    return adata


def write_10x(adata: AnnData, path: Path) -> None:
    """A Cell Ranger h5, or the folder of three files where the path has no ending."""
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            group = file.create_group("matrix")
            group["data"], group["indices"] = adata.X.data.astype(np.int32), adata.X.indices
            group["indptr"], group["shape"] = adata.X.indptr, np.array(adata.shape[::-1])
            group["barcodes"] = np.array([cell.encode() for cell in adata.obs_names])
            for field in ("id", "name"):
                group[f"features/{field}"] = np.array([gene.encode() for gene in adata.var_names])
            group["features/feature_type"] = np.array([b"Gene Expression"] * adata.n_vars)
        return
    path.mkdir()
    mmwrite(path / "matrix.mtx", adata.X.T.astype(np.int32))
    (path / "barcodes.tsv").write_text("".join(f"{cell}\n" for cell in adata.obs_names))
    (path / "features.tsv").write_text(
        "".join(f"{gene}\t{gene}\tGene Expression\n" for gene in adata.var_names)
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files under the names that the pages use."""
    folder = tmp_path_factory.mktemp("files")
    cells = made_cells(200, 1)
    for path in ("cells.h5ad", "sample.h5ad", "large.h5ad"):
        cells.write_h5ad(folder / path)
    made_cells(90, 2).write_h5ad(folder / "new.h5ad")
    for number in (1, 2):
        write_10x(made_cells(120, number), folder / f"donor{number}.h5")
    (folder / "outs").mkdir()
    write_10x(cells, folder / "outs" / "filtered_feature_bc_matrix")
    write_10x(cells, folder / "outs" / "filtered_feature_bc_matrix.h5")
    return folder


@pytest.fixture
def place(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder with the files, where a page is run; trainings are of two epochs, and figures left out."""
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    whole = TrainConfig.epochs_for
    monkeypatch.setattr(TrainConfig, "epochs_for", lambda self, n_cells: min(2, whole(self, n_cells)))
    monkeypatch.setattr("scrae.pl.save_figures", lambda adata, folder, **_: folder.mkdir())
    monkeypatch.setattr("scrae.io.try_hdf5", lambda *files: None)
    return tmp_path


def names_of(page: Path) -> dict[str, Any]:
    """What a page about a detail takes as given: trained cells, their model and new cells."""
    text = "".join(block.text for block in BLOCKS[page] if block.language == "python")
    given: dict[str, Any] = {"scrae": scrae}
    if "datasets.pbmc()" in text:
        given["new"] = scrae.datasets.pbmc()
    elif "import scrae" not in text:
        adata = scrae.io.read("cells.h5ad")
        scrae.pp.filter(adata)
        scrae.pp.normalize(adata)
        scrae.pp.select_genes(adata, method="m3drop", n_top_genes=290)
        model = scrae.tl.train(adata)
        scrae.tl.cluster(adata)
        given |= {"adata": adata, "model": model, "new": scrae.io.read("new.h5ad")}
        given |= {"counts": adata.layers["counts"][:, :100]}
    return given


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_say_what_they_are(page: Path) -> None:
    known = {"python", "bash", "console", "text", "bibtex", "yaml"}
    odd = [block.line for block in BLOCKS[page] if block.language not in known and "{" not in block.language]
    assert odd == [], f"{name(page)}: lines {odd}: say ```bash, ```python, ```text or ```yaml"


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCKS[page]], ids=name)
@pytest.mark.filterwarnings("ignore::scrae.ScraeWarning")  # two epochs and made cells are unlike real ones
def test_blocks_run(page: Path, place: Path) -> None:
    namespace: dict[str, Any] | None = None
    for block in BLOCKS[page]:
        if block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, name(page), "exec")
            if not block.reason:
                namespace = names_of(page) if namespace is None else namespace
                exec(code, namespace)
        elif block.language in ("bash", "console"):
            for words in commands_of(block.text.replace("\n$ ", "\n").removeprefix("$ "), place):
                run(words, block)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_within_sentences_exist(page: Path, tmp_path: Path) -> None:
    for text in inline_commands(page):
        script = re.sub(r"[<>]", "", text)
        for words in commands_of(script, tmp_path):
            assert parsed(words, mentioned=True), f"{name(page)}: `{text}`"


def run(words: list[str], block: Block) -> None:
    """Run a command of ours; parse it where it is long, and those of the benchmarks always."""
    where = f"{name(block.page)}, line {block.line}: {' '.join(words)}"
    if words[0] != "scrae" or block.reason:
        assert parsed(words), where
        return
    before, sys.argv, status = sys.argv, words, None
    try:
        main()
    except SystemExit as exit_:
        status = exit_.code
    finally:
        sys.argv = before
    assert not status, where


def parsed(words: list[str], *, mentioned: bool = False) -> bool:
    """Whether a command exists with these options; one that is only mentioned may lack what it needs."""
    program, *arguments = words
    if program == "torchrun":
        return parsed(["python", *arguments[arguments.index("-m") :]])
    if words[:3] == ["python", "-m", "scrae"]:
        return parsed(["scrae", *words[3:]])
    if program == "scrae":
        return parsed_by(typer.main.get_command(app), arguments, mentioned=mentioned)
    if program == "make":
        return all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in arguments)
    if program == "pip":
        return arguments[0] == "install"
    if arguments[0] == "-m" and arguments[1] == "benchmarks":
        from benchmarks.cli import app as benchmarks

        return parsed_by(typer.main.get_command(benchmarks), arguments[2:], mentioned=mentioned)
    if arguments[0] == "-m" and arguments[1].startswith("benchmarks."):
        return hasattr(importlib.import_module(arguments[1]), "main")
    if arguments[0].endswith(".py"):
        return (ROOT / arguments[0]).is_file()
    return arguments[0] == "-m" and arguments[1] in ("pip", "pytest", "venv")


def parsed_by(command: Any, arguments: list[str], *, mentioned: bool) -> bool:
    """Whether Typer takes the arguments; what is shown in capitals stands for a value."""
    if not arguments:
        return mentioned
    if not hasattr(command, "commands"):
        if mentioned:
            options = {word for option in command.params for word in (*option.opts, *option.secondary_opts)}
            return all(word in options for word in arguments if word.startswith("-"))
        return bool(command.make_context("scrae", list(arguments)))
    first, *rest = arguments
    if first.startswith("-"):
        return first == "--help" or any(first in option.opts for option in command.params)
    return first in command.commands and parsed_by(command.commands[first], rest, mentioned=mentioned)


def test_a_wrong_command_does_not_pass() -> None:
    for words in (["scrae", "run", "x", "-o", "y", "--labels", "z"], ["scrae", "run", "x"]):
        with pytest.raises(UsageError):
            parsed(words)
    assert not parsed(["scrae", "fly"])
    assert parsed(["scrae", "run", "--resume"], mentioned=True)
    assert not parsed(["scrae", "run", "--resumed"], mentioned=True)
    assert not parsed(["scrae", "fly"], mentioned=True)
    assert not parsed(["scrae", "--fly"])
    assert not parsed(["torchrun", "--nproc-per-node", "2", "-m", "scrae", "fly"])
    assert not parsed(["make", "coffee"])
    assert not parsed(["python", "tests/long/nothing.py"])
    assert parsed(["scrae", "run", "x", "-o", "y", "--n-clusters", "3"])


def test_bash_reads_a_block_as_people_do(tmp_path: Path) -> None:
    script = (
        "M=$(for g in a b; do printf '%s,' $g; done)\nscrae run 'my cells' -o out \\\n  --x ${M%,}  # why\n"
    )
    script += "make demo\n"
    assert list(commands_of(script, tmp_path)) == [
        ["scrae", "run", "my cells", "-o", "out", "--x", "a,b"],
        ["make", "demo"],
    ]


def test_blocks_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```python\n1\n```\n<!-- not run: long -->\n```bash\nscrae x\n```\n`scrae info FILE`\n"
    )
    assert [(b.line, b.language, b.text, b.reason) for b in blocks_of(page)] == [
        (4, "python", "1\n", ""),
        (8, "bash", "scrae x\n", "long"),
    ]
    assert inline_commands(page) == ["scrae info FILE"]
    assert sum(len(blocks) for blocks in BLOCKS.values()) > 30
