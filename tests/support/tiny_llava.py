"""A tiny random LLaVA-1.5 in the layout of the ``llava-hf`` checkpoints, and the stock model's own parts.

Sizes are tiny; the layout, the special tokens, the chat template and the image processor are those of
``llava-hf/llava-1.5-7b-hf``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import LlamaTokenizer, LlavaConfig, LlavaForConditionalGeneration

from glimpseprune.methods.glimpse.addon_config import BaseShape
from tests.support.tiny_family import Inputs, StockImage, TinyFamily

ROWS, PATCH = 6, 14
SIDE_PX, TOKENS = ROWS * PATCH, ROWS * ROWS
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}"
    "{% endfor %}{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def make_tokenizer() -> LlamaTokenizer:
    """A Llama vocabulary without merges: ASCII letters, bytes for the rest, and the special tokens at its end."""
    letters = ["▁", *map(chr, range(33, 127)), "\n"]
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    tokenizer = LlamaTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], chat_template=CHAT_TEMPLATE)
    # The real tokenizer.json has this too: a prompt begins with <s>, whatever class of transformers reads the file.
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"], "pad_token": "<pad>"})
    return tokenizer


def tiny_config(tokenizer: LlamaTokenizer, layers: int = 4) -> LlavaConfig:
    return LlavaConfig(
        text_config={
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "vocab_size": len(tokenizer) + 6,  # as in the real ones, more than the tokenizer has
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
        },
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": SIDE_PX,
            "patch_size": PATCH,
            "projection_dim": 32,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=TOKENS,
    )


def make_tiny_llava(folder: Path) -> Path:
    """Write a checkpoint folder; same bytes every time."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(tiny_config(tokenizer))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # wide enough to spread the answers
                parameter.normal_(std=parameter[0].numel() ** -0.5)
        model.model.language_model.embed_tokens.weight.normal_()
        model.model.vision_tower.embeddings.position_embedding.weight.normal_(std=0.5)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "crop_size": {"height": SIDE_PX, "width": SIDE_PX},
        "size": {"shortest_edge": SIDE_PX},
        "image_mean": MEAN,
        "image_std": STD,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


def item(images: int, text: int, seed: int) -> Inputs:
    """One unpadded item: text, ``images`` images and ``text`` more tokens."""
    generator = torch.Generator().manual_seed(seed)
    tokenizer = make_tokenizer()
    image = tokenizer.convert_tokens_to_ids("<image>")
    ids = [1, *torch.randint(3, 259, (3,), generator=generator).tolist()]
    for _ in range(images):
        ids += [*[image] * TOKENS, 259]
    ids += torch.randint(3, 259, (text,), generator=generator).tolist()
    return {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        "pixel_values": torch.randn(images, 3, SIDE_PX, SIDE_PX, generator=generator),
    }


ITEMS: Sequence[Inputs] = [item(1, text, seed) for text, seed in ((11, 1), (30, 2), (7, 3), (18, 4))]


def stock_inputs(model: Any, inputs: Inputs) -> Inputs:
    return {name: value for name, value in inputs.items() if value.numel()}


def positions(model: Any, inputs: Inputs) -> Tensor:
    return torch.arange(inputs["input_ids"].shape[1])[None]


def rope(model: Any, positions: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = model.model.language_model.rotary_emb(torch.zeros(1), positions)
    return cos, sin


def images(model: Any, inputs: Inputs, layers: tuple[int, ...]) -> list[StockImage]:
    """The stock model's own image features, and the tower's hidden states without the class token."""
    found = []
    for pixels in inputs["pixel_values"]:
        tokens = model.model.get_image_features(pixel_values=pixels[None]).pooler_output[0]
        hidden = model.model.vision_tower(pixels[None], output_hidden_states=True).hidden_states
        found.append(StockImage(tokens, [hidden[layer][0, 1:] for layer in layers], ROWS, ROWS))
    return found


def page() -> tuple[Tensor, tuple[int, int]]:
    """The first item's image, cut into patches with a loop."""
    pixels = ITEMS[0]["pixel_values"][0]
    cells = [(row, column) for row in range(ROWS) for column in range(ROWS)]
    cut = [pixels[:, r * PATCH : (r + 1) * PATCH, c * PATCH : (c + 1) * PATCH].reshape(-1) for r, c in cells]
    return torch.stack(cut), (ROWS, ROWS)


def published(config: Any, addon: dict[str, Any]) -> dict[str, Any]:
    """The published code's LLaVA is a Llama with a tower from elsewhere, and has no windows and no other norm."""
    text, vision = config.text_config.to_dict(), config.vision_config
    said = {name: value for name, value in addon.items() if name not in ("attn_fuse_global", "le_norm_type")}
    tower = {"mm_vision_tower": "openai/clip-vit-large-patch14-336", "mm_hidden_size": vision.hidden_size}
    return {**text, **said, **tower, "mm_vision_select_layer": -2, "model_type": "llava_llama_gp"}


FAMILY = TinyFamily(
    make_checkpoint=make_tiny_llava,
    addon={"base": BaseShape(64, 4, 4, 32, 4), "window": 0, "rms_norm_eps": 1e-5, "use_attention_logits": False},
    items=ITEMS,
    two_images=item(2, text=9, seed=5),
    no_image=item(0, text=12, seed=6),
    page=page,
    stock_inputs=stock_inputs,
    positions=positions,
    rope=rope,
    images=images,
    failing_module=lambda model: model.model.vision_tower.encoder.layers[1].mlp,
    published=published,
)
