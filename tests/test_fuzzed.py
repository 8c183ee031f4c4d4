"""Whatever stands in the files that docpipe reads, it ends in a sentence or a sound result, never in a traceback.

Here a few inputs each, the same ones every time; `python benchmarks/fuzz.py --minutes 10` draws others for as long.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fuzzed import TARGETS

EXAMPLES = {"footers": 20, "files": 60, "schema": 100}


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_handed_in_is_sound_or_refused(name: str) -> None:
    @given(data=st.data())
    @settings(max_examples=EXAMPLES.get(name, 200), suppress_health_check=list(HealthCheck), database=None)
    def draw(data: st.DataObject) -> None:
        TARGETS[name](data)

    draw()
