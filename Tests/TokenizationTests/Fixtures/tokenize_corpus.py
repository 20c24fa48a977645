"""Writes tokenizers and what the real library makes of a corpus of awkward texts.

usage: tokenize_corpus.py DIRECTORY [TOKENIZER_JSON ...]

DIRECTORY gets one folder for each tokenizer, with `tokenizer.json` and `cases.json`: a list of
{"text", "ids", "framed", "decoded", "plain"}, where `framed` has what the tokenizer puts around a text, and `decoded` and
`plain` are the ids as text with and without special tokens.
"""

import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "qwen2": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "llama3": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "possessive": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s*[\r\n]|\s+(?!\S)|\s+".replace("(?i:[sdmt]|ll|ve|re)", "(?i:s|d|m|t|ll|ve|re)"),
    "marks": CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS + "?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS + "?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}

PIECES = [
    " ", "  ", "    ", "\t", "\n", "\r\n", "\n\n\n", " \n ", "\u00a0", "\u3000", "\u2028", "\u0085", "\u200b",
    "Hello", "world", "the", "WORKER", "Router", "iPhone", "naïve", "e\u0301te\u0301", "été", "ǅungla", "Straße", "ﬁn",
    "I'm", "you're", "WE'LL", "it'S", "they'Ve", "don't", "'d", "’s", "'\u017f", "O'Neil's",
    "1", "42", "1234567", "3.14", "٣٤٥", "½", "Ⅷ", "²", "१२३",
    "漢字", "かな交じり文", "한국어", "カタカナ", "مرحبا", "שָׁלוֹם", "हिन्दी", "ไทย", "Ωμέγα", "Привет",
    "👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "😀", "❤️", "🏳️‍🌈", "𝔘𝔫𝔦", "\U0001f9ff",
    "!", "?!", "...", "—", "«»", "{}", "</a>", "//", "a/b", "=>", "#$%&", "_x_", "\\n", "\"q\"", "`", "~~",
    "<|start|>", "<|end|>", "<|user|>", "<tool>", "<|star", "|>", "<pad>", "\ufffd", "\x00", "\x7f", "\u0301", "\ufeff",
]


def texts():
    generator = random.Random(20)
    yield from [
        "", " ", "a", "\n", "'", "Hello, world!", "  leading", "trailing  ", "a  b   c", "a\n\nb", "tab\t\ttab",
        "no end " * 40, "x" * 300, " " * 300, "\n" * 50, "A" * 200 + "a", "1" * 100, "é" * 70, "!" * 90 + "\n\n",
    ]
    yield from PIECES
    for _ in range(400):
        yield "".join(generator.choice(PIECES) for _ in range(generator.randint(1, 14)))
    for _ in range(150):
        yield "".join(
            chr(generator.choice([generator.randint(1, 0x17F), generator.randint(0x180, 0xD7FF), 0x20, 0x27, 0x0A]))
            for _ in range(generator.randint(1, 20))
        )


def trained(name, pre_tokenizer, normalizer=None, frame=False, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    generator = random.Random(7)
    corpus = [" ".join(generator.choice(PIECES) for _ in range(12)) for _ in range(600)]
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<|start|>", "<|end|>", "<|user|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_tokens(
        [
            AddedToken("<tool>", normalized=False),
            AddedToken("<pad>", lstrip=True, rstrip=True, normalized=False),
            AddedToken("naïve", normalized=True, single_word=True),
        ]
    )
    if frame:
        start = tokenizer.token_to_id("<|start|>")
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=True),
                processors.TemplateProcessing(
                    single="<|start|> $A", pair="<|start|> $A $B", special_tokens=[("<|start|>", start)]
                ),
            ]
        )
    return tokenizer


def tokenizers():
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for name, pattern in PATTERNS.items():
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        yield name, trained(name, pre_tokenizers.Sequence([split, byte_level]), normalizers.NFC(), name == "llama3")
    yield "byte-level", trained("byte-level", pre_tokenizers.ByteLevel(add_prefix_space=True))
    inverted = pre_tokenizers.Split(Regex(PATTERNS["gpt2"]), behavior="removed", invert=True)
    yield "inverted", trained("inverted", pre_tokenizers.Sequence([inverted, byte_level]), ignore_merges=True)
    three = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), behavior="isolated"),
            pre_tokenizers.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"), behavior="isolated"),
            pre_tokenizers.Split(
                Regex(
                    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
                    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                ),
                behavior="isolated",
            ),
            byte_level,
        ]
    )
    yield "three", trained("three", three)
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)])
    yield "digits", trained("digits", digits, normalizers.NFD())


def main():
    directory = pathlib.Path(sys.argv[1])
    everyone = list(tokenizers())
    for path in sys.argv[2:]:
        everyone.append((pathlib.Path(path).parent.name, Tokenizer.from_file(path)))
    for name, tokenizer in everyone:
        folder = directory / name
        folder.mkdir(parents=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        cases = []
        for text in texts():
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            cases.append(
                {
                    "text": text,
                    "ids": ids,
                    "framed": tokenizer.encode(text).ids,
                    "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                    "plain": tokenizer.decode(ids, skip_special_tokens=True),
                }
            )
        generator = random.Random(3)
        for _ in range(100):
            ids = [generator.randrange(tokenizer.get_vocab_size()) for _ in range(generator.randint(1, 12))]
            decoded = tokenizer.decode(ids, skip_special_tokens=False)
            plain = tokenizer.decode(ids, skip_special_tokens=True)
            cases.append({"text": None, "ids": ids, "framed": ids, "decoded": decoded, "plain": plain})
        (folder / "cases.json").write_text(json.dumps(cases))


main()
