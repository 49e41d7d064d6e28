"""Running out of memory halves the batches; a text that does not fit alone is named."""

from typing import Any

import numpy as np
from tiny_bert import sentences


def limited(folder, texts, limit, batch_tokens, probe=True):
    """Our encoder on a device that holds `limit` tokens at once: vectors, batch size at the end, batches that ran."""
    import torch

    from jaxal_extract.models.encoder import Options
    from jaxal_extract.models.table import choose

    encoder: Any = choose(Options(model=str(folder), device="cpu", batch_tokens=batch_tokens, threads=1), 1).load()
    forward, ran = encoder.model.forward, []

    def within(**arguments):
        size = arguments["input_ids"].numel()
        if size > limit:
            raise torch.OutOfMemoryError("a test")
        ran.append(size)
        return forward(**arguments)

    encoder.model.forward = within
    if probe:
        encoder.probe([texts])
        assert len(ran) == 1
    try:
        return encoder.encode([texts], lambda *a: None), encoder.batch_tokens, ran
    except Exception as error:
        return f"{type(error).__name__}: {error}", None, ran


def test_batches_are_halved_until_they_fit(worker, bert):
    texts = sentences(200)
    expected, whole, _ = worker(limited, bert, texts, 10**9, 1000)
    assert whole == 1000
    for probe in (True, False):
        X, tokens, ran = worker(limited, bert, texts, 100, 1000, probe)
        np.testing.assert_allclose(X, expected, atol=1e-5)
        assert 25 <= tokens <= 100
        assert max(ran) <= 100


def test_a_text_that_does_not_fit_alone(worker, bert):
    message, *_ = worker(limited, bert, ["the card is lost", "a"], 3, 1000, False)
    assert message.startswith("ExtractError: one text of 6 tokens does not fit into the memory of cpu")
    assert "smaller --max-length" in message
