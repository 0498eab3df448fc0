"""The rules of docs/architecture.md, read from the page and held against the source, without importing it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "scrae"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST = 350  # lines
MODULES, FOLDERS = 6, 11  # at the top of the package

# The global random state, and files that can run code when they are read.
FORBIDDEN_MODULES = {"random", "pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {
    "eval", "exec", "torch.manual_seed", "torch.seed", "torch.save", "torch.load", "torch.set_rng_state",
    "torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "np.load", "np.save", "pd.read_pickle",
}  # fmt: skip
SEEDED = {
    "default_rng",
    "Generator",
    "SeedSequence",
    "PCG64",
    "RandomState",
}  # of np.random: they take a seed
DRAWS = {"rand", "randn", "randint", "randperm", "bernoulli", "multinomial", "normal", "poisson"}
DRAWS |= {"rand_like", "randn_like", "randint_like"}
DRAWS_IN_PLACE = {"normal_", "uniform_", "bernoulli_", "random_", "exponential_", "log_normal_", "geometric_"}
DROPOUTS = {"dropout", "Dropout", "alpha_dropout", "AlphaDropout", "feature_dropout"}
NEED_RANDOM_STATE = {
    "KMeans",
    "MiniBatchKMeans",
    "PCA",
    "TruncatedSVD",
    "TSNE",
    "GaussianMixture",
    "train_test_split",
}


def layers() -> dict[str, int]:
    """The table of rooms: name to layer."""
    found = {}
    for line in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines():
        if row := re.match(r"\| (\d) \| ([^|]+) \|", line):
            found |= {name: int(row[1]) for name in re.findall(r"`(\w+)(?:\.py|/)`", row[2])}
    return found


LAYERS = layers()


def room(path: Path) -> str:
    """The room a file belongs to; the package's own face (``__init__``, ``__main__``) is ``scrae``."""
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "scrae" if first.startswith("__") else first


def imported(path: Path, package: tuple[str, ...] | None = None) -> Iterator[str]:
    """Full dotted names of all imports of a file, also those inside functions."""
    if package is None:
        package = ("scrae", *path.relative_to(SOURCE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def rooms_used(path: Path) -> set[str]:
    """The other rooms that a file imports."""
    names = (name.split(".") for name in imported(path) if name.split(".")[0] == "scrae")
    rooms = {parts[1] for parts in names if len(parts) > 1}
    return {r for r in rooms if r in LAYERS} - {room(path)}


def calls(path: Path) -> Iterator[tuple[int, str, set[str]]]:
    """Line, dotted name and keywords of every call."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), {str(keyword.arg) for keyword in node.keywords}


def test_the_page_names_every_room_and_no_other():
    assert {room(path) for path in FILES} - {"scrae"} <= set(LAYERS)
    assert LAYERS["errors"] == 0
    assert LAYERS["cli"] == max(LAYERS.values())
    assert len(LAYERS) == len({room(path) for path in FILES} - {"scrae"})
    assert len([path for path in FILES if path.parent == SOURCE]) <= MODULES
    assert len([path for path in SOURCE.iterdir() if (path / "__init__.py").exists()]) <= FOLDERS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
class TestFile:
    def test_imports_never_point_up(self, path: Path):
        own = LAYERS.get(room(path))
        if own is None:
            return  # the package's face shows the rooms of every layer
        up = sorted(other for other in rooms_used(path) if LAYERS[other] > own)
        assert up == []

    def test_no_room_goes_through_the_package_s_face(self, path: Path):
        names = {
            name for name in imported(path) if name.split(".")[0] == "scrae" and name.split(".")[1:2] != []
        }
        assert {name for name in names if name.split(".")[1] not in LAYERS} <= {"scrae.__version__"}

    def test_the_lowest_layer_imports_only_errors(self, path: Path):
        if LAYERS.get(room(path)) == 0:
            assert rooms_used(path) <= {"errors"}

    def test_anndata_and_scanpy_live_in_layer_3_and_above(self, path: Path):
        if LAYERS.get(room(path), 0) < 3:
            assert {name.split(".")[0] for name in imported(path)} & {"anndata", "scanpy"} == set()

    def test_is_short(self, path: Path):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST

    def test_leaves_the_global_random_state_alone_and_reads_no_pickles(self, path: Path):
        bad = [name for name in imported(path) if name.split(".")[0] in FORBIDDEN_MODULES]
        if path.name == "leiden.py":
            bad.remove("random")  # igraph's own generator, which is put back after each call
        bad += [f"line {line}: {name}" for line, name, keywords in calls(path) if _offends(name, keywords)]
        assert bad == []


def _offends(name: str, keywords: set[str]) -> bool:
    parent, _, last = name.rpartition(".")
    if name in FORBIDDEN_CALLS or "allow_pickle" in keywords:
        return True
    if parent in ("np.random", "numpy.random"):
        return last not in SEEDED
    if (parent == "torch" and last in DRAWS) or last in DRAWS_IN_PLACE:
        return "generator" not in keywords
    if parent.endswith("init") and last.endswith("_") and ("xavier" in last or "kaiming" in last):
        return "generator" not in keywords
    if last in DROPOUTS:
        return True
    return last in NEED_RANDOM_STATE and "random_state" not in keywords


def test_no_test_imports_another():
    tests = ROOT / "tests"
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(tests.rglob("*.py"))
        for name in imported(path, ())
        if any(part.startswith("test_") for part in name.split(".")[:-1])
    ]
    assert found == []


def test_the_folders_form_no_cycle():
    graph: dict[str, set[str]] = {name: set() for name in LAYERS}
    for path in FILES:
        if room(path) != "scrae":
            graph.setdefault(room(path), set()).update(rooms_used(path))
    order = ordered(graph)
    assert order.index("core") < order.index("tl") < order.index("pipeline") < order.index("cli")


def test_the_modules_form_no_cycle():
    """Also within a folder; ``__init__`` files, which only collect names, stand for what they import."""
    modules = {".".join(("scrae", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in FILES}
    graph = {
        name: {
            other for full in imported(path) for other in (full, full.rpartition(".")[0]) if other in modules
        }
        for name, path in modules.items()
        if path.name != "__init__.py"
    }
    order = ordered(graph)
    assert (
        order.index("scrae.core.networks") < order.index("scrae.core.model") < order.index("scrae.core.fit")
    )


def ordered(graph: dict[str, set[str]]) -> list[str]:
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize(
    "statement",
    [
        "np.random.seed(0)", "np.random.rand(3)", "torch.manual_seed(0)", "torch.randn(3)", "z.normal_()",
        "nn.Dropout(0.1)", "nn.init.xavier_uniform_(w)", "KMeans(3)", "torch.load(path)", "eval(text)",
        "np.load(path, allow_pickle=True)",
    ],
)  # fmt: skip
def test_the_check_of_randomness_can_fail(statement: str):
    call = ast.parse(statement, mode="eval").body
    assert _offends(ast.unparse(call.func), {keyword.arg for keyword in call.keywords})


def test_the_check_of_randomness_passes_what_takes_a_generator():
    assert not _offends("torch.randn", {"generator"})
    assert not _offends("np.random.default_rng", set())
    assert not _offends("KMeans", {"random_state"})
