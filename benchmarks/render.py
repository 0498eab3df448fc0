"""Tables of text, for the terminal and as Markdown."""

from __future__ import annotations

import re
from typing import NamedTuple

import rich.table
from rich import box
from rich.console import Console

from scrae.errors import ScraeError

__all__ = ["Table", "insert", "markdown", "show"]

_BEGIN, _END = "<!-- tables -->", "<!-- end of tables -->"


class Table(NamedTuple):
    """A table whose cells are text already; the first column is left-aligned, the others right.

    Attributes
    ----------
    title
        One line.
    header
        One name for each column.
    rows
        Rows of as many cells as the header has.
    note
        What a reader must know, "" for nothing.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str


def show(table: Table, console: Console) -> None:
    """Print a table for reading in a terminal."""
    drawn = rich.table.Table(
        title=table.title,
        caption=table.note or None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE,
    )
    for i, name in enumerate(table.header):
        drawn.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*row)
    console.print(drawn)


def markdown(table: Table) -> str:
    """The table as Markdown, with its title in bold and its note below."""
    lines = [
        f"**{table.title}**",
        "",
        "| " + " | ".join(table.header) + " |",
        "|" + "|".join("---:" if i else "---" for i in range(len(table.header))) + "|",
        *("| " + " | ".join(row) + " |" for row in table.rows),
    ]
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines) + "\n"


def insert(page: str, tables: list[Table]) -> str:
    """The page with the tables between its two marks, in place of what was there.

    Raises
    ------
    ScraeError
        If the page has not both marks, each on a line of its own.
    """
    text = "\n".join([_BEGIN, "", *map(markdown, tables), _END])
    page, found = re.subn(
        f"^{_BEGIN}$.*?^{_END}$", lambda _: text, page, count=1, flags=re.DOTALL | re.MULTILINE
    )
    if not found:
        raise ScraeError(f"expected the lines {_BEGIN} and {_END} in the page, found none; add them")
    return page
