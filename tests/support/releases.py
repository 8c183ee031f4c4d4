"""Checkpoints in the layouts in which Qwen2.5-VL was released: real names, special tokens and settings, tiny weights.

The sizes are those of ``tests/parity``, whose add-on, in the published layout, therefore fits.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

PARITY = Path(__file__).parents[1] / "parity"
WORDS = 151_643  # tokens of the vocabulary before the special ones
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
    "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
)  # fmt: skip
PLAIN = SPECIAL[14:]  # they are added, but not special
CHAT_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}"
    "<|im_end|>\n{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in "
    "content or 'image_url' in content %}{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}"
    "Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>{% elif content['type'] == "
    "'video' or 'video' in content %}{% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}Video "
    "{{ video_count.value }}: {% endif %}<|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in content %}"
    "{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "<|im_start|>assistant\n{% endif %}"
)
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEXT = {
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "max_position_embeddings": 128000,
    "max_window_layers": 28,
    "num_attention_heads": 4,
    "num_hidden_layers": 6,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "use_cache": True,
    "use_sliding_window": False,
}
_VISION = {
    "depth": 4,
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 4,
    "in_chans": 3,
    "out_hidden_size": 64,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "spatial_patch_size": 14,
    "window_size": 56,  # the add-on's; 112 in the releases
    "fullatt_block_indexes": [1, 3],
    "tokens_per_second": 2,
    "temporal_patch_size": 2,
}
_IDS = {
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "vision_token_id": 151654,
    "image_token_id": 151655,
    "video_token_id": 151656,
}
_GENERATION = {
    "bos_token_id": 151643,
    "pad_token_id": 151643,
    "do_sample": True,
    "eos_token_id": [151645, 151643],
    "repetition_penalty": 1.05,
    "temperature": 0.000001,
    "transformers_version": "4.49.0",
}
_IMAGES = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
}


def make_7b_as_first_released(folder: Path) -> Path:
    """Flat configuration, old names of weights in several shards, template in ``chat_template.json``."""
    config = _flat(vocab_size=152_064, tie_word_embeddings=False)
    _write(folder, config, chat_template=True)
    _write_shards(folder, _old_names(_weights(config)), 5)
    return folder


def make_3b_as_first_released(folder: Path) -> Path:
    """The same, with a head that is the embedding, and is not stored."""
    config = _flat(vocab_size=151_936, tie_word_embeddings=True)
    _write(folder, config, chat_template=True)
    weights = _old_names(_weights(config))
    del weights["lm_head.weight"]
    _write_shards(folder, weights, 2)
    return folder


def make_7b_as_saved_today(folder: Path) -> Path:
    """What today's transformers writes: nested configuration, new names, one file, ``chat_template.jinja``."""
    return _save_today(folder, _flat(vocab_size=152_064, tie_word_embeddings=False))


def make_3b_as_saved_today(folder: Path) -> Path:
    """The same, with a head that is the embedding."""
    return _save_today(folder, _flat(vocab_size=151_936, tie_word_embeddings=True))


def make_published_addon(folder: Path) -> Path:
    """The add-on of ``tests/parity`` as it is published, with the cap of the article left open."""
    return Path(shutil.copytree(PARITY / "glimpse", folder))


RELEASES = {
    "7B as first released": make_7b_as_first_released,
    "3B as first released": make_3b_as_first_released,
    "7B as saved today": make_7b_as_saved_today,
    "3B as saved today": make_3b_as_saved_today,
}


def _flat(vocab_size: int, tie_word_embeddings: bool) -> dict[str, Any]:
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        **_TEXT,
        **_IDS,
        "model_type": "qwen2_5_vl",
        "tie_word_embeddings": tie_word_embeddings,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.41.2",
        "vision_config": _VISION,
        "vocab_size": vocab_size,
    }


def _model(config: Mapping[str, Any]) -> Qwen2_5_VLForConditionalGeneration:
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**config)).to(torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # the initial 0.02 gives near-constant answers
                parameter.normal_(std=parameter[0].numel() ** -0.5)
        model.model.language_model.embed_tokens.weight.normal_()
    return model


def _save_today(folder: Path, config: Mapping[str, Any]) -> Path:
    _write(folder, config, chat_template=False)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    (folder / "config.json").unlink()
    _model(config).save_pretrained(folder)
    _write_json(folder / "generation_config.json", _GENERATION)
    return folder


def _weights(config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone().contiguous() for name, tensor in _model(config).state_dict().items()}


def _old_names(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, tensor in weights.items():
        old = name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
        renamed[old] = tensor
    return renamed


def _write_shards(folder: Path, weights: Mapping[str, torch.Tensor], count: int) -> None:
    names = sorted(weights)
    files = {name: f"model-{i * count // len(names) + 1:05}-of-{count:05}.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({n: weights[n] for n in names if files[n] == file}, folder / file, metadata={"format": "pt"})
    size = sum(tensor.nbytes for tensor in weights.values())
    _write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": files})


def _write(folder: Path, config: Mapping[str, Any], chat_template: bool) -> None:
    folder.mkdir(parents=True)
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", _GENERATION)
    _write_json(folder / "preprocessor_config.json", _IMAGES)
    vocab = {symbol: i for i, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    vocab |= {f"unused{i}": i for i in range(len(vocab), WORDS)}  # no merge makes them
    tokenizer = Tokenizer(BPE(vocab, []))
    tokenizer.normalizer = NFC()
    split = Split(Regex(_SPLIT), behavior="isolated", invert=False)
    tokenizer.pre_tokenizer = Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_tokens([AddedToken(name, special=name not in PLAIN, normalized=False) for name in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "vocab.json", vocab)
    (folder / "merges.txt").write_text("#version: 0.2\n")
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    added = {str(WORDS + i): {"content": name, **flags, "special": name not in PLAIN} for i, name in enumerate(SPECIAL)}
    settings = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": [name for name in SPECIAL[1:] if name not in PLAIN],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    if chat_template:
        settings["chat_template"] = CHAT_TEMPLATE
        _write_json(folder / "chat_template.json", {"chat_template": CHAT_TEMPLATE})
    _write_json(folder / "tokenizer_config.json", settings)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2))
