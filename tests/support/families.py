"""The shipped families as the family suite sees them: one entry each, and the suite runs on every one.

To join, a family brings a tiny random checkpoint and a :class:`TinyFamily` in a module of its own beside this one.
"""

from __future__ import annotations

from tests.support import tiny_llava, tiny_qwen2_5_vl, tiny_qwen3_vl
from tests.support.tiny_family import TinyFamily

FAMILIES: dict[str, TinyFamily] = {
    "qwen2_5_vl": tiny_qwen2_5_vl.FAMILY,
    "llava": tiny_llava.FAMILY,
    "qwen3_vl": tiny_qwen3_vl.FAMILY,
}
