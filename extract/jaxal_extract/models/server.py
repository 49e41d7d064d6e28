"""A server as the embedding model: whatever answers `/v1/embeddings` as OpenAI does (vLLM, TEI, Infinity, Ollama).

The server decides pooling, truncation and precision. That is recorded, and what comes back is checked.
"""

import base64
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from jaxal.errors import unknown
from jaxal_extract import ExtractError
from jaxal_extract.models.encoder import Chosen, Encoder, Options, join_columns, plain_settings, refuse

KEY = "OPENAI_API_KEY"  # the environment's variable; its value is sent to the server and never written
_URL = "OPENAI_BASE_URL"
_TEXTS = 32  # a request: the least of what servers take (TEI)
_AT_ONCE = 4  # requests; servers put them together
_TRIES = 8  # with the waits between them, some four minutes
_FIRST_WAIT, _LONGEST_WAIT, _JITTER = 0.5, 60.0, 0.5  # seconds; the wait doubles with each try
_TIMEOUT = 120.0  # seconds for a reply
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)


def choose(options: Options, n_text_columns: int) -> Chosen:
    """`openai:NAME` at `--base-url`. Raises ExtractError without a URL, and for what only the server can decide."""
    name = options.model.removeprefix("openai:")
    if not name:
        raise ExtractError("--model openai: needs the name that the server gives its model, openai:NAME")
    refuse(
        options,
        "is set by the server that --model openai:NAME asks",
        *("pooling", "max_length", "dtype", "threads", "trust_remote_code"),
    )
    url = _endpoint(options.base_url or os.environ.get(_URL))
    settings = plain_settings(options, "server", options.model, "whatever the server runs", "set by the server")
    return Chosen(name.replace("/", "-").replace(":", "-"), settings, lambda: Server(name, url, settings["prompt"]))


class Server(Encoder):
    """An embedding server that was reached. made: where it is, what it says about itself, and what was noticed."""

    def __init__(self, model: str, url: str, prompt: str):
        """Ask the server for its models. Raises ExtractError if it is not there, or does not have this one."""
        import urllib3  # an extra's

        self._model, self._url, self._prompt = model, url, prompt
        self._encoding = "base64"
        self._texts = 0
        self._unit = True  # all norms were 1 so far
        self._dim: int | None = None
        retry = urllib3.Retry(
            total=_TRIES - 1,
            status_forcelist=_AGAIN,
            allowed_methods=None,  # the same texts give the same vectors: POST can be repeated
            backoff_factor=_FIRST_WAIT,
            backoff_max=_LONGEST_WAIT,
            backoff_jitter=_JITTER,
            raise_on_status=False,
        )
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        credentials = urlsplit(url)
        if credentials.username:
            headers |= urllib3.make_headers(basic_auth=f"{credentials.username}:{credentials.password or ''}")
        self._http = urllib3.PoolManager(
            maxsize=_AT_ONCE, retries=retry, timeout=urllib3.Timeout(connect=5, read=_TIMEOUT), headers=headers
        )
        self._shown = _without_credentials(url)
        self.made = {"server": self._shown, "pooling": "set by the server", "truncated": "unknown"}
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._ask_for_models()

    def encode(self, texts: list[list[str]], advance: Callable[..., Any]) -> np.ndarray:
        """See `Encoder.encode`. Raises ExtractError for replies that are not one finite vector for each text."""
        whole = join_columns(texts, self._prompt)
        parts = [whole[start : start + _TEXTS] for start in range(0, len(whole), _TEXTS)]
        vectors = []
        running = [self._pool.submit(self._embed, part) for part in parts]
        try:
            for part, reply in zip(parts, running, strict=True):
                vectors.append(reply.result())
                self._check(vectors[-1])
                advance(len(part))
        finally:
            for reply in running:
                reply.cancel()
        self._texts += len(whole)
        self.made["normalized"] = "by the server: all vectors have length 1" if self._unit else "no"
        return np.concatenate(vectors)

    def report(self) -> dict:
        """See `Encoder.report`; a server does not tell how many tokens it cut."""
        return {"texts": self._texts, "tokens": None, "truncated": None}

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._http.clear()

    def _ask_for_models(self) -> None:
        """Note what the server says about its models; some do not offer the list, which is no fault."""
        import urllib3

        quick = urllib3.Retry(total=2, backoff_factor=_FIRST_WAIT, raise_on_status=False)
        reply = self._request("GET", "/models", retries=quick)
        if reply.status in (401, 403):
            raise self._refused(reply)
        try:
            models = [model["id"] for model in json.loads(reply.data)["data"]]
        except (ValueError, KeyError, TypeError):
            return
        self.made["models"] = models[:20]
        if models and self._model not in models and f"{self._model}:latest" not in models:
            raise ExtractError(f"{self._shown}: {unknown('model of the server', self._model, models[:20])}")

    def _embed(self, texts: list[str]) -> np.ndarray:
        """One request, or several smaller ones where the server finds it too large."""
        encoding = self._encoding
        body = {"model": self._model, "input": texts, "encoding_format": encoding}
        reply = self._request("POST", "/embeddings", body=json.dumps(body))
        if reply.status in (400, 422) and encoding == "base64":  # not every server offers it
            self._encoding = "float"
            return self._embed(texts)
        if reply.status in (400, 413, 422) and len(texts) > 1:
            half = len(texts) // 2
            return np.concatenate([self._embed(texts[:half]), self._embed(texts[half:])])
        if reply.status != 200:
            raise self._refused(reply, texts)
        return self._vectors(reply, len(texts))

    def _vectors(self, reply, n: int) -> np.ndarray:
        """(n, D) float32 out of a reply, in the order of the texts, which need not be that of the reply."""
        try:
            rows = {item["index"]: _numbers(item["embedding"]) for item in json.loads(reply.data)["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ExtractError(f"{self._shown} replied with what is no list of embeddings ({error!r})") from None
        if sorted(rows) != list(range(n)):
            raise ExtractError(f"{self._shown} replied with the embeddings of {len(rows)} texts where {n} were sent")
        if len({row.shape for row in rows.values()}) > 1 or rows[0].ndim != 1:
            raise ExtractError(f"{self._shown} replied with embeddings of several lengths")
        return np.stack([rows[i] for i in range(n)])

    def _check(self, X: np.ndarray) -> None:
        if self._dim not in (None, X.shape[1]):
            raise ExtractError(
                f"{self._shown} replied with {X.shape[1]} numbers a text after {self._dim}: has its model changed?"
            )
        self._dim = X.shape[1]
        if not np.isfinite(X).all():
            raise ExtractError(f"{self._shown} replied with numbers that are not finite")
        self._unit &= bool(np.allclose(np.linalg.norm(X.astype(np.float64), axis=1), 1, atol=2e-3))

    def _request(self, method: str, path: str, **options):
        from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError, ReadTimeoutError

        try:
            return self._http.request(method, self._url + path, **options)
        except MaxRetryError as error:
            reason = error.reason or error
        except HTTPError as error:
            reason = error
        if isinstance(reason, ReadTimeoutError):
            what = f"did not reply within {_TIMEOUT:.0f} s"
        elif isinstance(reason, ProtocolError):
            what = "cut the connection again and again"
        else:
            what = f"cannot be reached ({type(reason).__name__})"
        raise ExtractError(f"{self._shown} {what}: is the server running, and --base-url right?") from None

    def _refused(self, reply, texts: list[str] | None = None) -> ExtractError:
        said = f"{self._shown} answered {reply.status}"
        if reply.status in (401, 403):
            there = "its key is not accepted" if os.environ.get(KEY) else "is not set"
            return ExtractError(f"{said}: put your key into the environment variable {KEY} ({there})")
        if reply.status == 404:
            return ExtractError(f"{said}: it has no /embeddings there, --base-url ends in /v1 for most servers")
        about = ""
        if texts and len(texts) == 1 and reply.status < 500:
            about = f", for the text {texts[0][:60]!r} of {len(texts[0])} characters"
        return ExtractError(f"{said}{about}: {_message(reply.data)}")


def _endpoint(url: str | None) -> str:
    """The part before `/embeddings`. The usual `/v1` is put behind a URL without a path."""
    if not url:
        raise ExtractError(f"--model openai:NAME needs --base-url URL (or ${_URL}), such as http://localhost:8000/v1")
    try:
        parts = urlsplit(url)
        legal = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        legal = False
    if not legal:
        raise ExtractError(f"--base-url {url}: give a URL such as http://localhost:8000/v1")
    path = parts.path.rstrip("/").removesuffix("/embeddings")
    return urlunsplit((parts.scheme, parts.netloc, path or ("" if "/embeddings" in parts.path else "/v1"), "", ""))


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _numbers(embedding) -> np.ndarray:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").astype(np.float32)
    return np.array(embedding, np.float32)


def _message(data: bytes) -> str:
    """What a server says about an error, in at most 200 characters of one line."""
    text = data.decode("utf-8", "replace")
    try:
        content = json.loads(text)
        error = content.get("error", content)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:200] or "it said nothing else"
