"""The embedded model's tokens: one a byte, and one for each word its questions are made of.

An answer is written byte by byte, so that what is read is copied character by character; a question in words costs a
third of the tokens it costs in bytes.
"""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import AddedToken
from transformers import Qwen2Tokenizer

SPECIAL = (
    "<|endoftext|>",
    "<|im_end|>",
    "<|pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|im_start|>",
)
END, PAD, VISION_START, VISION_END, IMAGE, VIDEO, ANSWER = range(257, 264)
_WORDS = (
    "what is the invoice number date document due payment deadline total amount subtotal tax customer name vendor "
    "seller phone city order id item product quantity zip postal code contact person weight reference ship shipping "
    "account discount"
).split()
WORDS = tuple(form for word in _WORDS for form in (word, word.capitalize()))
SIZE = 256 + len(SPECIAL) + len(WORDS)
_WORD_ID = {word: 256 + len(SPECIAL) + i for i, word in enumerate(WORDS)}
_PIECE = re.compile(r"\s*(\w+)|.", re.DOTALL)
# The image comes first, then the first line of the question: no roles, no system prompt, and not the instruction that
# docpipe puts below a question by default, which this model was never taught.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}<|im_start|>{%- endif -%}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- elif part['type'] == 'text' -%}{{ part['text'].split('\\n')[0] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{%- if message['role'] == 'assistant' -%}<|im_end|>{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>{%- endif -%}"
)


def question_ids(text: str) -> list[int]:
    """Tokens of a question: known words with the blank before them, bytes for the rest."""
    ids: list[int] = []
    for piece in _PIECE.finditer(text):
        word = piece.group(1)
        ids += [_WORD_ID[word]] if word in _WORD_ID else piece.group(0).encode()
    return ids


def answer_ids(text: str) -> list[int]:
    """Tokens of an answer: its bytes and the end."""
    return [*text.encode(), END]


def make_tokenizer() -> Qwen2Tokenizer:
    """The same vocabulary as a tokenizer of transformers."""
    vocab = {symbol: i for i, symbol in enumerate(byte_symbols())}
    vocab |= {token: 256 + i for i, token in enumerate(SPECIAL)}
    tokenizer = Qwen2Tokenizer(
        vocab=vocab,
        merges=[],
        unk_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        pad_token=SPECIAL[2],
        extra_special_tokens=list(SPECIAL[3:]),
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer.add_tokens([AddedToken(word, single_word=True, lstrip=True, normalized=False) for word in WORDS])
    return tokenizer


def byte_symbols() -> list[str]:
    """The symbol that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    symbols = {byte: chr(byte) for byte in shown} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}
    return [symbols[byte] for byte in range(256)]


def save_tokenizer(folder: Path) -> None:
    """Write the tokenizer's files into a checkpoint folder."""
    make_tokenizer().save_pretrained(folder)
