"""Every link between pages of the built site leads somewhere: ``python tests/check_site.py build/docs``."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and what links can lead to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids = {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect ``href``, ``src`` and ``id``."""
        for name, value in attrs:
            if (
                name in ("href", "src")
                and value
                and not urlsplit(value).scheme
                and not value.startswith("//")
            ):
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.ids.add(value)


def broken(folder: Path) -> list[str]:
    """One line for each link to a file or an anchor that does not exist."""
    pages = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            ids = pages[target].ids if target in pages else None
            if not target.exists() or (ids is not None and unquote(parts.fragment) not in ids):
                found.append(f"{path.relative_to(folder.resolve())}: {link}")
    return found


if __name__ == "__main__":
    if lines := broken(Path(sys.argv[1])):
        sys.exit("\n".join(["Links that lead nowhere:", *sorted(set(lines))]))
