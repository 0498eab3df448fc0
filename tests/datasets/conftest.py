"""A server for downloads; nothing comes from outside."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest
from helpers.served import Server, entry


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def tiny(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a set of one small file on the server, of which no checksum is known."""
    entry(monkeypatch, server.url)
    return "tiny"
