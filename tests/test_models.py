"""Every model of the table: tiny random weights under its real configuration class, in a cache laid out as the hub's,
offline, through the real choice, prompt, end token, batches, padding and pooling, against one text at a time.
"""

import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from functools import wraps

import numpy as np
import pytest
from tiny_models import TINY, encoded, make_model, n_words, plain, some_texts, without_package

from jaxal_extract import ExtractError
from jaxal_extract.models.devices import resolve
from jaxal_extract.models.encoder import Options
from jaxal_extract.models.table import MODELS, choose

NAMES = [name for name in MODELS if name != "nv-embed-v2"]  # its code is not ours to make a tiny one of


def snapshot(hub, name):
    model = MODELS[name]
    folder = hub / f"models--{model.hub_id.replace('/', '--')}" / "snapshots" / model.revision
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def unless_too_old(function):
    """Skip a test where transformers is too old for a model, as the lowest version that is admitted may be."""

    @wraps(function)
    def tried(*arguments, **options):
        try:
            return function(*arguments, **options)
        except ExtractError as e:
            if re.search(r"needs transformers \S+ or newer", str(e)):
                pytest.skip(str(e))
            raise

    return tried


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The hub's cache with a tiny model for every row, and a process that sees it and has no network."""
    home = tmp_path_factory.mktemp("huggingface")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:

            @unless_too_old
            def call(function, *arguments, **options):
                return pool.submit(function, *arguments, **options).result()

            call(without_package)
            for number, name in enumerate(NAMES):
                call(make_model, TINY[name], snapshot(home / "hub", name), number)
            yield home / "hub", call


def reference(hub, name, texts, settings, max_length=128):
    folder, call = hub
    end = settings["end_token"]
    prompt = settings["prompt"]
    arguments = {"prompt": prompt, "end": end, "max_length": max_length}
    return call(plain, snapshot(folder, name), TINY[name], texts, settings["pooling"], **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_those_of_one_text_at_a_time(hub, name):
    """Whatever the batches and the side of the padding, in all three poolings and the row's own."""
    texts = some_texts(40)
    sides = ["right"] if TINY[name].absolute else ["right", "left"]
    for pooling in (None, "cls", "mean", "eos"):
        expected = None
        for batch_tokens in (1, 60, 150, 4096):
            for side in sides:
                X, settings, counts, seen = hub[1](encoded, name, [texts], batch_tokens, side, pooling=pooling)
                if expected is None:
                    expected = reference(hub, name, texts, settings)
                assert X.dtype == np.float32
                np.testing.assert_allclose(X, expected, atol=1e-5, rtol=0)
                assert (counts["texts"], counts["truncated"]) == (40, 0)
                assert seen == [40, counts["tokens"]]


@pytest.mark.parametrize("name", NAMES)
def test_the_last_word_moves_the_first_token_exactly_where_attention_goes_both_ways(hub, name):
    words = "how do i get my card"
    X, *_ = hub[1](encoded, name, [[f"{words} back", f"{words} new"]], pooling="cls")
    moved = np.abs(X[0] - X[1]).max()
    assert moved > 1e-3 if TINY[name].bidirectional else moved < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_pairs(hub, name):
    """As pairs with a separator in models of the BERT kind, as one text with a newline in decoders."""
    first, second = some_texts(20, 1, 8), some_texts(20, 2, 8)
    X, settings, *_ = hub[1](encoded, name, [first, second], 100, columns=2)
    expected = reference(hub, name, list(zip(first, second, strict=True)), settings)
    np.testing.assert_allclose(X, expected, atol=1e-5, rtol=0)
    swapped, *_ = hub[1](encoded, name, [second, first], 100, columns=2)
    assert np.abs(swapped - X).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_cut_texts_keep_their_end_and_are_counted(hub, name):
    texts = [*some_texts(10, 3, 20), "the card", "a"]
    max_length = 24 if MODELS[name].prompt else 14
    X, settings, counts, _ = hub[1](encoded, name, [texts], 50, max_length=max_length)
    np.testing.assert_allclose(X, reference(hub, name, texts, settings, max_length), atol=1e-5, rtol=0)
    tiny, row = TINY[name], MODELS[name]
    tail = tiny.after or [settings["end_token"]]
    words = hub[1](n_words, snapshot(hub[0], name), [row.prompt + text for text in texts])
    assert counts["truncated"] == sum(n + len(tiny.before) + len(tail) > max_length for n in words) > 0


def test_batches_of_equal_bits(hub):
    """The same texts in the same order give the same bits, whatever was embedded before."""
    texts = some_texts(60)
    first = hub[1](encoded, "minilm", [texts], 200)[0]
    hub[1](encoded, "minilm", [some_texts(30, 9)], 200)
    np.testing.assert_array_equal(hub[1](encoded, "minilm", [texts], 200)[0], first)


@unless_too_old
def settings_of(name, **options):
    return choose(Options(model=name, device="cpu", **options), 1).settings


def test_the_choice_of_pooling():
    assert settings_of("stella-v5")["pooling"] == "cls"
    assert settings_of("stella-v5", pooling="card")["pooling"] == "mean"
    assert settings_of("qwen3-0.6b")["pooling"] == settings_of("qwen3-0.6b", pooling="card")["pooling"] == "eos"
    assert settings_of("bert", pooling="eos")["pooling"] == "eos"
    for name, pooling, message in (
        ("bert", "card", "the card of bert names none"),
        ("minilm", "study", "minilm is not one of the study's models"),
    ):
        with pytest.raises(ExtractError, match=message):
            settings_of(name, pooling=pooling)


def test_settings_of_the_rows():
    assert settings_of("gte-qwen2-7b")["attention"] == "bidirectional"
    assert settings_of("qwen3-0.6b")["prompt"] == "Instruct: Classify user passages\nQuery:"
    assert settings_of("qwen3-0.6b", prompt="")["prompt"] == ""
    assert settings_of("minilm")["max_length"] == 128
    assert settings_of("bert", dtype="bfloat16")["dtype"] == "bfloat16"
    for name in MODELS:
        assert re.fullmatch("[0-9a-f]{40}", MODELS[name].revision)
    with pytest.raises(ExtractError, match="float16: the values of this model overflow"):
        settings_of("gte-qwen2-7b", dtype="float16")
    with pytest.raises(ExtractError, match="--max-length 513: bert takes at most 512"):
        settings_of("bert", max_length=513)


def test_releases_of_transformers_that_would_go_wrong(monkeypatch):
    import importlib.metadata

    with pytest.raises(ExtractError, match="Python code out of the repository nvidia/NV-Embed-v2 at 7604d305"):
        settings_of("nv-embed-v2")
    with pytest.raises(ExtractError, match=r"transformers 4\.42\.4 only.*constraints-nv-embed-v2\.txt"):
        settings_of("nv-embed-v2", trust_remote_code=True)
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "5.1.9" if name == "transformers" else real(name))
    for name in MODELS:
        if MODELS[name].attention == "bidirectional":
            with pytest.raises(ExtractError, match=r"needs transformers 5\.2\.0 or newer, here is 5\.1\.9"):
                choose(Options(model=name, device="cpu"), 1)
        elif name != "nv-embed-v2":
            settings_of(name)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cpu,", "cpu,auto", "auto,cpu", "cuda:x", ""])
def test_devices_with_no_such_name(device):
    with pytest.raises(ExtractError, match="give auto, cpu, cuda"):
        resolve(device)


def test_devices():
    assert resolve("cpu") == ("cpu",)
    assert resolve("cpu,cpu") == ("cpu", "cpu")
    with pytest.raises(ExtractError, match="of one kind"):
        resolve("cpu,mps")
