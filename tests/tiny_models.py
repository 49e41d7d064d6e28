"""Random two-layer models of every architecture in the table, in the hub's cache, and embeddings of one text at a time.

What needs torch is called in a process of its own. Tokenizers are built here over a few words; each has the special
tokens that its real one is known for, or is known to leave out.
"""

import importlib.util
from typing import NamedTuple

import numpy as np

from jaxal_extract.models.encoder import Options

WORDS = ["the", "a", "card", "is", "lost", "my", "how", "do", "i", "get", "it", "back", "where", "new", "old"]
PROMPT = ["Instruct", "Classify", "user", "passages", "Query"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<s>", "</s>", "<bos>", "<eos>", "<|endoftext|>", "\n", ":"]
VOCABULARY = {word: i for i, word in enumerate(SPECIAL + WORDS + PROMPT)}
SIZE = 320  # of the embedding table: a byte-level vocabulary has all bytes besides


class Tiny(NamedTuple):
    """architecture; what its tokenizer puts before and after a text, and between the texts of a pair (None: nothing);
    bidirectional: as our settings run it."""

    architecture: str
    before: list[str]
    after: list[str]
    between: list[str] | None = None
    bidirectional: bool = True
    absolute: bool = False  # positions count from the left end, so that only padding on the right is right


BERT = Tiny("bert", ["[CLS]"], ["[SEP]"], ["[SEP]"], absolute=True)
MODERNBERT = Tiny("modernbert", ["[CLS]"], ["[SEP]"], ["[SEP]"])
QWEN3 = Tiny("qwen3", [], ["<|endoftext|>"], bidirectional=False)
TINY = {
    "bge-en-icl": Tiny("mistral", ["<s>"], ["</s>"], bidirectional=False),
    "sfr-embed-2": Tiny("mistral", ["<s>"], [], bidirectional=False),  # its end token gets lost on transformers 5
    "stella-v5": Tiny("qwen2", [], []),
    "gte-qwen2-7b": Tiny("qwen2", [], []),
    "modernbert": MODERNBERT,
    "bert": BERT,
    "minilm": BERT,
    "mpnet": Tiny("mpnet", ["<s>"], ["</s>"], ["</s>", "</s>"], absolute=True),
    "granite-small-r2": MODERNBERT,
    "bge-base": BERT,
    "gte-modernbert": MODERNBERT,
    "harrier-270m": Tiny("gemma3", ["<bos>"], ["<eos>"], bidirectional=False),
    "qwen3-0.6b": QWEN3,
    "qwen3-4b": QWEN3,
    "qwen3-8b": QWEN3,
}


def make_model(tiny, folder, seed=0):
    """Random weights under the real configuration class, and a tokenizer, as a snapshot of the hub holds them."""
    import torch
    import transformers

    torch.set_num_threads(1)
    _tokenizer(tiny).save_pretrained(folder)
    torch.manual_seed(seed)
    config = _config(tiny.architecture)
    transformers.AutoModel.from_config(config).save_pretrained(folder)


def _config(architecture):
    import transformers

    common = {
        "vocab_size": SIZE, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 128, "initializer_range": 0.2, "pad_token_id": 0,
    }  # fmt: skip
    decoder = common | {"num_key_value_heads": 2, "head_dim": 8}
    if architecture == "bert":
        return transformers.BertConfig(**common)
    if architecture == "mpnet":
        return transformers.MPNetConfig(**common)
    if architecture == "modernbert":
        local: dict = {"global_attn_every_n_layers": 2, "local_attention": 6}
        return transformers.ModernBertConfig(**common, **local)
    if architecture == "mistral":
        return transformers.MistralConfig(**decoder, sliding_window=5)
    if architecture == "qwen2":
        return transformers.Qwen2Config(**common, num_key_value_heads=2)
    if architecture == "qwen3":
        return transformers.Qwen3Config(**decoder)
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    return transformers.Gemma3TextConfig(**decoder, query_pre_attn_scalar=8, sliding_window=5, layer_types=layers)


def _tokenizer(tiny):
    import transformers
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers

    if tiny.architecture in ("qwen2", "qwen3"):  # transformers reads these by a class that is byte-level
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=SPECIAL[:9], initial_alphabet=alphabet)
        backend.train_from_iterator([" ".join(WORDS + PROMPT)] * 50, trainer)
    else:
        backend = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|\n|[^\w\s]"), "removed", invert=True)
    single = [*tiny.before, "$A", *tiny.after]
    pair = [*single[: len(single) - len(tiny.after)], *(tiny.between or []), "$B:1"]
    backend.post_processor = processors.TemplateProcessing(
        single=single,
        pair=pair + [f"{token}:1" for token in tiny.after],
        special_tokens=[(word, VOCABULARY[word]) for word in SPECIAL[:9]],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    if tiny.architecture in ("bert", "modernbert"):
        names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    if tiny.architecture == "mpnet":
        names |= {"cls_token": "<s>", "sep_token": "</s>"}
    segments = ["token_type_ids"] if tiny.architecture == "bert" else []
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=128,
        model_input_names=["input_ids", "attention_mask", *segments],
        **names,
    )


# ---- what is tested


ENCODERS: dict = {}  # of this process, so that a test does not load them again


def without_package():
    """minilm comes from the hub's cache, as the others do."""
    found = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *more: None if name.startswith("gt_all") else found(name, *more)


def encoder_of(name, **options):
    from jaxal_extract.models.table import choose

    key = (name, *sorted(options.items()))
    if key not in ENCODERS:
        columns = options.pop("columns", 1)
        chosen = choose(Options(model=name, device="cpu", **options), columns)
        ENCODERS[key] = chosen.load(), chosen.settings
    return ENCODERS[key]


def encoded(name, texts, batch_tokens=2048, padding="right", **options):
    """The vectors of our encoder, its settings and its counts; texts: a list of columns."""
    encoder, settings = encoder_of(name, **options)
    before = dict(encoder.counts)
    encoder.batch_tokens, encoder.padding = batch_tokens, padding
    seen = []
    X = encoder.encode(texts, lambda n, tokens: seen.append((n, tokens)))
    counts = {name: encoder.counts[name] - before[name] for name in before}
    return X, settings, counts, np.sum(seen, 0).tolist()


# ---- the reference


def plain(folder, tiny, texts, pooling, *, prompt="", end=None, max_length=128):
    """One text at a time, special tokens put around it by hand, no padding, every token attended to or a causal mask by
    the argument of the call; texts: strings, or pairs of them."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def words(text):
        numbers = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert VOCABULARY["[UNK]"] not in numbers
        assert len(numbers) >= len(text.split())
        return numbers

    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    vectors = []
    for text in texts:
        ids, types = _numbers(tiny, words, text, prompt, end, max_length)
        arguments = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
        if tiny.architecture == "bert":
            arguments["token_type_ids"] = torch.tensor([types])
        if tiny.architecture in ("mistral", "qwen2", "qwen3"):
            arguments["is_causal"] = not tiny.bidirectional
        with torch.no_grad():
            hidden = model(**arguments).last_hidden_state[0].numpy()
        vectors.append({"mean": hidden.mean(0), "cls": hidden[0], "eos": hidden[-1]}[pooling])
    return np.stack(vectors)


def _numbers(tiny, words, text, prompt, end, max_length):
    first, second = (text, None) if isinstance(text, str) else text
    if second is not None and tiny.between is None:
        first, second = f"{first}\n{second}", None
    before, between, tail = (
        [VOCABULARY[t] for t in tokens or []] for tokens in (tiny.before, tiny.between, tiny.after)
    )
    if end and tail[-1:] != [VOCABULARY[end]]:
        tail.append(VOCABULARY[end])
    head = before + words(prompt + first)
    if second is None:
        ids = head[: max_length - len(tail)] + tail
        return ids, [0] * len(ids)
    rest = words(second) + tail
    return head + between + rest, [0] * len(head + between) + [1] * len(rest)


def n_words(folder, texts):
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]


def some_texts(n, seed=0, longest=20):
    """n texts of 1 to `longest` words, many of equal length."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest + 1))) for _ in range(n)]
