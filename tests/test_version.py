"""The version is written in one place, ``src/scrae/__init__.py``; what people cite agrees with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from scrae import __version__

ROOT = Path(__file__).parent.parent


def test_the_package_takes_its_version_from_the_source() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in pyproject["project"]
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["hatch"]["version"]["path"] == "src/scrae/__init__.py"


def test_the_citation_names_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [__version__]


def test_the_conda_recipe_names_the_version_and_the_dependencies() -> None:
    recipe = (ROOT / "packaging" / "conda" / "meta.yaml").read_text(encoding="utf-8")
    assert re.findall(r'set version = "(.*)"', recipe) == [__version__]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {"torch": "pytorch", "igraph": "python-igraph", "matplotlib": "matplotlib-base"}
    wanted = {
        f"{names.get(name, name)} >={version}"
        for name, version in (requirement.split(">=") for requirement in project["dependencies"])
    }
    run = recipe.split("  run:\n")[1].split("test:\n")[0]
    found = set(re.findall(r"^    - (.*)$", run, re.MULTILINE)) - {"__unix"}
    assert found == wanted | {f"python {project['requires-python']}"}


def test_the_changelog_has_a_section_for_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.*?)\]", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert __version__ in headings
