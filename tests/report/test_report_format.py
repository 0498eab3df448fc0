from __future__ import annotations

import numpy as np
import pytest

from scrae.report._format import duration, number, setting, with_commands


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"), (0.8123, "0.812"), (0, "0"), (3.1e-5, "3.1e-05"), (1234.6, "1,235"), (np.nan, "–"),
        (-2.5, "-2.5"),
    ],
)  # fmt: skip
def test_numbers(value: float, text: str):
    assert number(value) == text


def test_commands_in_sentences():
    assert str(with_commands("Use `scrae a <b>` & c.")) == "Use <code>scrae a &lt;b&gt;</code> &amp; c."
    assert str(with_commands("one ` <b>")) == "one ` &lt;b&gt;"


def test_durations_and_settings():
    assert [duration(seconds) for seconds in (4.21, 185, 7800)] == ["4.2 s", "3 min 5 s", "2 h 10 min"]
    assert [setting(value) for value in (None, True, [256, 0.5], 1e-3, "a")] == [
        "–",
        "yes",
        "256, 0.5",
        "0.001",
        "a",
    ]
