"""The command line's reference, read from the program when the site is made: ``{cli-reference}``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.main import get_command

from scrae.cli import app as program


def markdown() -> Iterator[str]:
    """Return the reference as lines of Markdown, a section a command."""
    group: Any = get_command(program)
    context = typer.Context(group, info_name="scrae", **group.context_settings)
    yield from _options(group, context)
    yield from _commands(group, context)


def _commands(group: Any, context: typer.Context) -> Iterator[str]:
    for name, command in group.commands.items():
        within = typer.Context(command, info_name=name, parent=context)
        usage = " ".join([within.command_path, *command.collect_usage_pieces(within)])
        yield from ("", f"## {within.command_path}", "", _line(command.help), "", "```text", usage, "```")
        yield from _options(command, within)
        if hasattr(command, "commands"):
            yield from _commands(command, within)


def _options(command: Any, context: typer.Context) -> Iterator[str]:
    yield from ("", "| argument or option | meaning |", "|---|---|")
    for parameter in command.get_params(context):
        if record := parameter.get_help_record(context):
            yield f"| `{_line(record[0])}` | {_line(record[1])} |"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


class CliReference(SphinxDirective):
    """Puts the reference in its place."""

    def run(self) -> list[nodes.Node]:
        """Return the parsed reference."""
        return self.parse_text_to_nodes("\n".join(markdown()), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("cli-reference", CliReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
