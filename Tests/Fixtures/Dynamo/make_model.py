"""Writes a model folder that Dynamo's frontend and mocker accept: a configuration and a tokenizer, no weights.

usage: make_model.py DIRECTORY

The tokenizer is a byte-level BPE, trained here in a second on text that this script makes up.
"""

import json
import pathlib
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

END, UNKNOWN = "<|end|>", "<|unknown|>"
SPECIAL = [UNKNOWN, "<|start|>", END, "<|system|>", "<|user|>", "<|assistant|>"]


def sentences():
    subjects = ["the router", "a worker", "the frontend", "one request", "every plane", "the launcher"]
    verbs = ["sends", "holds", "streams", "waits for", "starts", "answers"]
    objects = ["a token", "the stream", "its model", "a block", "the first message", "an instance"]
    for subject in subjects:
        for verb in verbs:
            for thing in objects:
                yield f"{subject} {verb} {thing}. Hello, {thing}! {subject.title()} {verb} 12345 {thing}s?"


def main(directory: pathlib.Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)

    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.save(str(directory / "tokenizer.json"))

    end = tokenizer.token_to_id(END)
    size = tokenizer.get_vocab_size()
    files = {
        "config.json": {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 8192,
            "vocab_size": size,
            "bos_token_id": tokenizer.token_to_id("<|start|>"),
            "eos_token_id": end,
            "torch_dtype": "bfloat16",
            "tie_word_embeddings": True,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|start|>",
            "eos_token": END,
            "unk_token": UNKNOWN,
            "model_max_length": 8192,
            "chat_template": CHAT_TEMPLATE,
        },
        "generation_config.json": {"bos_token_id": tokenizer.token_to_id("<|start|>"), "eos_token_id": [end]},
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
