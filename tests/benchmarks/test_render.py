from __future__ import annotations

import pytest

from benchmarks import render
from scrae.errors import ScraeError

TABLE = render.Table(title="NMI", header=["method", "klein"], rows=[["scrae", ".9 \\g<0>"]], note="A note.")


def test_tables_replace_what_stood_between_the_marks_and_nothing_else():
    page = "# Top\n<!-- tables -->\nold\n<!-- end of tables -->\nBottom, <!-- end of tables --> in a line\n"
    once = render.insert(page, [TABLE, TABLE])
    assert once.startswith(
        "# Top\n<!-- tables -->\n\n**NMI**\n\n| method | klein |\n|---|---:|\n| scrae | .9 \\g<0> |\n"
    )
    assert once.endswith("A note.\n\n<!-- end of tables -->\nBottom, <!-- end of tables --> in a line\n")
    assert "old" not in once
    assert render.insert(once, [TABLE, TABLE]) == once


def test_a_page_without_marks_is_refused():
    with pytest.raises(ScraeError, match="expected the lines <!-- tables --> and <!-- end of tables -->"):
        render.insert("# Top\n", [TABLE])
