"""The embedded model's tokens: one for each character, and one for each common word of its questions.

An answer is written character by character, so that it is copied and not remembered; characters outside the set are
bytes. A question in words costs a third of the tokens, and training spells the words as well, so that any label works.
"""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import AddedToken
from transformers import Qwen2Tokenizer

CHARSET = (
    " 0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:-/#$%+&'()@*_=!?;<>|\"[]{}^~`\\"
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ"
    "€£§°·–—’‘“”„«»¿¡ĄąĆćČčĎďĘęĚěĞğİıŁłŃńŇňŐőŘřŚśŞşŠšŤťŮůŰűŹźŻżŽžŒœ"
)
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
_WIDE = [char for char in CHARSET if ord(char) > 127]  # of two bytes or three
_STEMS = sorted({char.encode()[:2] for char in _WIDE if len(char.encode()) == 3})
# Bytes that stand for one token; a character of three bytes is joined from its first two and the third.
_JOINED = [*_STEMS, *(char.encode() for char in _WIDE)]
_JOINED_ID = {joined: 256 + len(SPECIAL) + i for i, joined in enumerate(_JOINED)}
_WORD_ID = {word: 256 + len(SPECIAL) + len(_JOINED) + i for i, word in enumerate(WORDS)}
SIZE = 256 + len(SPECIAL) + len(_JOINED) + len(WORDS)
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


def question_ids(text: str, spelled: bool = False) -> list[int]:
    """Tokens of a question: known words with the blank before them, characters for the rest.

    Args:
        text: the question.
        spelled: write known words in characters too, as training does at times.
    """
    if spelled:
        return text_ids(text)
    ids: list[int] = []
    for piece in _PIECE.finditer(text):
        word = piece.group(1)
        ids += [_WORD_ID[word]] if word in _WORD_ID else text_ids(piece.group(0))
    return ids


def text_ids(text: str) -> list[int]:
    """Tokens of a text, one for each character of the set, bytes for others."""
    return [token for char in text for token in _character_ids(char.encode())]


def answer_ids(text: str) -> list[int]:
    """Tokens of an answer: its characters and the end."""
    return [*text_ids(text), END]


def _character_ids(char: bytes) -> list[int]:
    if char in _JOINED_ID:
        return [_JOINED_ID[char]]
    if char[:2] in _STEMS:
        return [_JOINED_ID[char[:2]], *char[2:]]
    return list(char)


def make_tokenizer() -> Qwen2Tokenizer:
    """The same vocabulary as a tokenizer of transformers."""
    symbols = byte_symbols()

    def spell(joined: bytes) -> str:
        return "".join(symbols[byte] for byte in joined)

    vocab = {symbol: i for i, symbol in enumerate(symbols)}
    vocab |= {token: 256 + i for i, token in enumerate(SPECIAL)}
    tokenizer = Qwen2Tokenizer(
        vocab=vocab | {spell(joined): number for joined, number in _JOINED_ID.items()},
        merges=[(spell(joined[:-1]), spell(joined[-1:])) for joined in _JOINED],
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
