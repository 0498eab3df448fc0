"""Phrases of tests/phrases.txt appear nowhere in the source, the report's templates and the documentation.

``python tests/test_wording.py`` prints every place where one does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "src/scrae", ".github")
TEXT = {".py", ".md", ".ipynb", ".html", ".js", ".css", ".yml"}
ALIAS = "# old name"  # marks a line that keeps a deprecated name on purpose


class Phrase(NamedTuple):
    """What must not be written, and what to write instead."""

    pattern: re.Pattern[str]
    suggestion: str


def phrases_of(text: str) -> list[Phrase]:
    """Read a list of phrases; a space in an expression stands for any white space."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pairs = [line.rsplit(" -> ", 1) for line in lines]
    return [Phrase(re.compile(regex.replace(" ", r"\s+"), re.IGNORECASE), better) for regex, better in pairs]


def texts() -> Iterator[tuple[str, str]]:
    """Names, relative to the repository, and texts of all files to check."""
    for page in map(ROOT.joinpath, PAGES):
        for path in sorted(page.rglob("*")) if page.is_dir() else [page]:
            if path.suffix in TEXT and path.is_file():
                yield path.relative_to(ROOT).as_posix(), text_of(path)


def text_of(path: Path) -> str:
    """What a person wrote in a file: the cells of a notebook, and of the changelog what is not released yet."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return unreleased(text) if path.name == "CHANGELOG.md" else text


def unreleased(changelog: str) -> str:
    """Keep the part of a changelog above its first release; line numbers stay."""
    release = re.search(r"^## \[(?!Unreleased)", changelog, re.MULTILINE)
    return changelog[: release.start()] if release else changelog


def findings(text: str, phrases: list[Phrase]) -> list[str]:
    """One line for each phrase in a text: line number, what was found, what to write."""
    lines = text.splitlines()
    found = []
    for pattern, better in phrases:
        for match in pattern.finditer(text):
            number = text.count("\n", 0, match.start()) + 1
            if ALIAS not in lines[number - 1]:
                found.append((number, f'{number}: "{" ".join(match[0].split())}": write "{better}"'))
    return [message for _, message in sorted(found)]


PHRASES = phrases_of((TESTS / "phrases.txt").read_text(encoding="utf-8"))
TEXTS = dict(texts())


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_no_phrase_comes_back(name: str) -> None:
    found = findings(TEXTS[name], PHRASES)
    assert not found, "\n".join(["", *(f"{name}:{line}" for line in found)])


def test_phrases_are_found() -> None:
    phrases = phrases_of("# comment\n\n\\bat hand\\b -> available\ncolour -> color\n")
    text = "It is at\nhand.\nColour and hand\ncolour = color  # old name\nat handles\n"
    assert findings(text, phrases) == [
        '1: "at hand": write "available"',
        '3: "Colour": write "color"',
    ]


def test_old_entries_of_the_changelog_stay() -> None:
    changelog = "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.1.0]\n\n- at hand\n"
    assert unreleased(changelog) == "# Changelog\n\n## [Unreleased]\n\n- new\n\n"


if __name__ == "__main__":
    for name, text in TEXTS.items():
        for line in findings(text, PHRASES):
            print(f"{name}:{line}")
