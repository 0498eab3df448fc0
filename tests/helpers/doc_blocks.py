"""The code blocks of a page of Markdown, and the commands that a shell would start for one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROGRAMS = ("scrae", "python", "torchrun", "make", "pip")
_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n+)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(r"`((?:scrae|make|python -m) [^`\n]+)`")


class Block(NamedTuple):
    """A fenced block: where it begins, in what language, and why it is not run (empty: it is)."""

    page: Path
    line: int
    language: str
    text: str
    reason: str


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start("text")) + 1,
            found["language"],
            found["text"],
            found["reason"] or "",
        )
        for found in _FENCE.finditer(text)
    ]


def inline_commands(page: Path) -> list[str]:
    """Commands of ours in single backticks, outside fenced blocks."""
    return _INLINE.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))


def commands_of(script: str, folder: Path) -> Iterator[list[str]]:
    """Let bash read a script, with programs that only write down how they were called; give the calls in order."""
    bin_, calls = folder / "bin", folder / "calls"
    bin_.mkdir(exist_ok=True)
    calls.write_bytes(b"")
    for name in PROGRAMS:
        (bin_ / name).write_text(
            f'#!/bin/sh\nprintf "%s\\0" {name} "$@" >> "{calls}"; printf "\\n\\0" >> "{calls}"\n'
        )
        (bin_ / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"bash: {done.stderr}")
    words: list[str] = []
    for word in calls.read_bytes().decode().split("\0")[:-1]:
        if word == "\n":
            yield words
            words = []
        else:
            words.append(word)
