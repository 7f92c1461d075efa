"""Train the byte-level BPE tokenizer and write the three files an ONNX folder needs.

The split is GPT-2's (`ByteLevel(use_regex=True)` here, `pre = "gpt-2"` in GGUF): both engines have it built in, so
they agree without a custom regular expression.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import chat
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

VOCAB = 4096


def train(texts: Iterable[str], intents: Iterable[str]) -> Tokenizer:
    """A BPE tokenizer of exactly `VOCAB` entries: special tokens, one for each intent, the 256 bytes, then merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=[*chat.SPECIAL, *map(chat.intent_token, intents)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != VOCAB:
        raise ValueError(f"the text gave {tokenizer.get_vocab_size()} tokens instead of {VOCAB}")
    return tokenizer


def write(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "chat_template.jinja").write_text(chat.TEMPLATE, encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": chat.END_OF_TEXT,
        "eos_token": chat.END,
        "pad_token": chat.END_OF_TEXT,
        "add_bos_token": False,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
