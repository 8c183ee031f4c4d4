"""Lets an add-on read the attention of more decoder layers; until it is trained on, it scores as before."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from glimpseprune import save_addon
from glimpseprune.methods.glimpse.addon import load_addon
from glimpseprune.methods.glimpse.module import Glimpse

_ENTRY = "attn_fuser.attn_in_proj.weight"  # [width, layers * heads]


def read_more_layers(glimpse: Glimpse, layers: Sequence[int]) -> Glimpse:
    """Copy an add-on whose predictor reads other layers too, with weights of zero for them.

    Args:
        glimpse: the add-on.
        layers: decoder layers to read, those that it reads among them.

    Raises:
        ValueError: a layer that it reads is not among them.
    """
    config = glimpse.config
    missing = sorted(set(config.selected_layers) - set(layers))
    if missing:
        raise ValueError(f"expected the layers that the add-on reads among {list(layers)}, found no {missing}")
    state, heads = glimpse.state_dict(), config.base.num_attention_heads
    weights = dict(zip(config.selected_layers, state[_ENTRY].split(heads, 1), strict=True))
    none = torch.zeros_like(weights[config.selected_layers[0]])
    state[_ENTRY] = torch.cat([weights.get(layer, none) for layer in layers], 1)
    more = Glimpse(replace(config, selected_layers=tuple(layers)))
    more.load_state_dict(state)
    return more


def main() -> None:
    """Write the add-on that ``docpipe train glimpse --glimpse`` goes on from."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("addon", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, nargs="+", required=True)
    arguments = parser.parse_args()
    save_addon(read_more_layers(load_addon(arguments.addon), arguments.layers), arguments.out)


if __name__ == "__main__":
    main()
