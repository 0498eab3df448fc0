"""The check of the built site finds links that lead nowhere."""

from __future__ import annotations

from pathlib import Path

from check_site import broken


def test_missing_pages_and_anchors_are_found(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "picture.png").write_bytes(b"")
    (tmp_path / "index.html").write_text(
        '<a href="api/a%20b.html#here">1</a> <a href="#top">2</a> <img src="picture.png"> <a href="https://x.org">3</a>'
        '<a href="api/a%20b.html#gone">4</a> <a href="missing.html">5</a> <a href="#nowhere">6</a>'
    )
    (tmp_path / "api" / "a b.html").write_text('<h1 id="here"></h1> <a href="../index.html">7</a>')
    assert broken(tmp_path) == [
        "index.html: api/a%20b.html#gone",
        "index.html: missing.html",
        "index.html: #nowhere",
    ]
