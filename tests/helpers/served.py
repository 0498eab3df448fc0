"""A server on this machine, a set of one small file on it, and commands run in this process."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scrae import datasets
from scrae.cli import main
from scrae.datasets import _tables

NAME = "one.csv"
TABLE = b"Actb,3,1\nSox2,0,2\n"
COUNTS = [[3, 0], [1, 2]]


class Server(ThreadingHTTPServer):
    """Serves `content` at every path."""

    content = TABLE
    cut_after: int | None = None  # bytes that are sent before the connection breaks
    cuts = 0  # answers that are cut; afterwards all are whole
    sends = "length"  # or "chunks"
    asked = 0  # requests

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{NAME}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # chunks need it

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        self.close_connection = True
        server.asked += 1
        body = server.content
        self.send_response(200)
        if server.sends == "length":
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        self.end_headers()
        self.wfile.write(body[: server.cut_after] if server.asked <= server.cuts else body)

    def log_message(self, *_: object) -> None:
        pass


def entry(
    monkeypatch: pytest.MonkeyPatch, url: str | None, checksum: str | None = None, name: str = NAME
) -> None:
    """Put a set of one small file into the catalogue."""
    made = replace(
        datasets.CATALOGUE["klein"], name="tiny", cells=2, genes=2, types=1,
        files=(datasets.SourceFile(name=name, url=url, checksum=checksum),),
        convert=partial(_tables.one_label_a_table, labels=("d0",)),
    )  # fmt: skip
    monkeypatch.setitem(datasets.CATALOGUE, "tiny", made)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[str, str]:
    """Run ``scrae datasets``; return what it says, and its status with what it says on standard error."""
    monkeypatch.setattr(sys, "argv", ["scrae", "datasets", *map(str, arguments)])
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main()
    return out.getvalue(), f"{ended.value.code}: {err.getvalue()}"
