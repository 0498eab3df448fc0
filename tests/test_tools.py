"""The tools of a commit, of lint and of the workflows agree on their versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("tool", ["ruff", "codespell"])
def test_a_commit_is_checked_by_the_pinned_tools(tool: str) -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (of_hook,) = re.findall(rf"repo: \S+/{tool}(?:-pre-commit)?\n\s+rev: v(\S+)", hooks)
    assert re.findall(rf"^{tool}==(\S+)$", pinned, re.MULTILINE) == [of_hook]


def test_workflows_run_every_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^\s+python: \[(.*)\]$", workflow, re.MULTILINE)
    versions = re.findall(r'"([\d.]+)"', listed)
    assert project["requires-python"] == f">={versions[0]}"
    named = [line.rsplit(" ", 1)[1] for line in project["classifiers"] if ":: Python :: 3." in line]
    assert set(named) <= set(versions)
