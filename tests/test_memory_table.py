"""What docs/gpu.md says of memory is what the published sizes come to."""

from __future__ import annotations

import re

import pytest

from tests.support.markdown import ROOT
from tests.support.published_shapes import PUBLISHED, published_model

BYTES = 2  # bfloat16
_ROW = re.compile(
    r"^\| (\d+B) \| ([\d.]+) \| ([\d,]+) \| (\d+) \| (\d+) \| ([\d.]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.M
)
_CARDS_GB = (24, 40, 80)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_memory_of_each_size(name: str) -> None:
    model = published_model(name)
    weights = sum(parameter.numel() for parameter in model.base.parameters()) * BYTES
    shape = model.backbone.shape
    token = 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * BYTES
    rows = [row[1:] for row in _ROW.findall((ROOT / "docs/gpu.md").read_text()) if row[0] == name]
    assert [row[1] for row in rows] == ["5,040", "16,384"]
    for told, tokens, whole, kept, prefill, *cards in rows:
        count = int(tokens.replace(",", ""))
        assert float(told) == round(weights / 1e9, 1)
        assert (int(whole), int(kept)) == (round(count * token / 1e6), round(int(0.111 * count) * token / 1e6))
        for card, fits in zip(_CARDS_GB, cards, strict=True):
            room = 0.9 * card * 1e9 - weights - float(prefill) * 1e9  # which is rounded
            most, kept_most = room / (count * token), room / (int(0.111 * count) * token)
            slack = 0.06e9 / room if room > 0 else 0.0
            if fits == "no":
                assert most < 1 + slack
            else:
                assert [int(part) for part in fits.split(" / ")] == [
                    pytest.approx(most, rel=slack, abs=1),
                    pytest.approx(kept_most, rel=slack + 1 / kept_most),
                ]
