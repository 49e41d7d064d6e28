"""A random two-layer BERT, and the functions that need torch: tests call them in a process of their own (`worker`)."""

import contextlib
import io

import numpy as np

from jaxal_extract.cli import main

WORDS = ["the", "a", "card", "is", "lost", "my", "how", "do", "i", "get", "it", "back", "where", "new", "old", "bad"]


def run_main(arguments):
    """The command line with exit code and output, in a process that has torch loaded after the first call."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def make_bert(folder, separator=True, padding_side="right", max_length=64):
    """A random two-layer BERT over WORDS in which the word `bad` has no finite embedding."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "?"]
    vocabulary = {word: i for i, word in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    if separator:
        names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side=padding_side,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **names,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    model = transformers.BertModel(config)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[vocabulary["bad"]] = float("nan")
    model.save_pretrained(folder)


def plain_vectors(folder, texts, pooling, max_length, add_special=True):
    """The definition of an embedding, one text at a time: no batches, no padding, pooling in NumPy."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    vectors = []
    for text in texts:
        pair = text if isinstance(text, tuple) else (text,)
        tokens = tokenizer(*pair, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**tokens).last_hidden_state[0].numpy()
        vectors.append({"mean": hidden.mean(0), "cls": hidden[0], "eos": hidden[-1]}[pooling])
    return np.stack(vectors)


def pooled(name, hidden, mask):
    import torch

    from jaxal_extract.models.pooling import POOLINGS

    return POOLINGS[name](torch.from_numpy(hidden), torch.from_numpy(mask)).numpy()


def sentences(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[:-1], rng.integers(1, 12))) for _ in range(n)]
