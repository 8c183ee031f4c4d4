"""Decodes with graphs, and again where nothing can be recorded, because a step makes the host wait.

As a program, ``python -m tests.support.failed_recording BASE`` tells the tokens of both and the number of warnings, as
JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace

import torch

import glimpseprune as gp
from glimpseprune.decode.greedy import Choice, Greedy
from tests.support.pools import come_and_go

_choose = Greedy.choose


def reading(self: Greedy, logits: torch.Tensor, seen: torch.Tensor | None) -> Choice:
    assert logits.isfinite().all()  # for which the host waits
    return _choose(self, logits, seen)


def main(base: str) -> None:
    model = replace(gp.load(base, device="cuda", dtype="float32"), eos_token_ids=frozenset())
    before = [tokens for tokens, _ in come_and_go(model, 0, {}).values()]
    Greedy.choose = reading  # type: ignore[method-assign]
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        after = [tokens for tokens, _ in come_and_go(model, 0, {}).values()]
    count = len([one for one in noted if "expected to record a step" in str(one.message)])
    sys.stdout.write(json.dumps({"before": before, "after": after, "warnings": count}))


if __name__ == "__main__":
    main(*sys.argv[1:])
