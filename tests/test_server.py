"""Embeddings from a server: a small one on the loopback address, with the faults that real ones have."""

import base64
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from jaxal_extract import ExtractError
from jaxal_extract.models import server, table
from jaxal_extract.models.encoder import Options

D = 8
KEY = "sk-not-to-be-written"


def vector(text: str) -> np.ndarray:
    """What the server's model computes: a vector of its own for each text."""
    return np.random.default_rng(list(text.encode())).normal(size=D).astype(np.float32)


@dataclass
class Service:
    """A server whose replies can be spoiled. faults: one for each of the next requests; always: for all others."""

    models: list[str] | None = field(default_factory=lambda: ["tiny"])
    faults: list = field(default_factory=list)
    always: str | None = None
    most: int = 10**6
    base64: bool = True
    unit: bool = False
    key: str | None = None
    port: int = 0
    requests: list[int] = field(default_factory=list)  # texts of each
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self):
        with self.lock:
            return self.faults.pop(0) if self.faults else self.always


def handler(service: Service):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, status: int, content, headers=()):
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def allowed(self) -> bool:
            if service.key and self.headers.get("Authorization") != f"Bearer {service.key}":
                self.answer(401, {"error": {"message": "no such key"}})
                return False
            return True

        def do_GET(self):
            if not self.allowed():
                return
            if self.path != "/v1/models" or service.models is None:
                self.answer(404, {"error": "not found"})
            else:
                self.answer(200, {"data": [{"id": name} for name in service.models]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.allowed():
                return
            texts = body["input"]
            with service.lock:
                service.requests.append(len(texts))
            fault = service.fault()
            if self.path != "/v1/embeddings":
                self.answer(404, {"error": "not found"})
            elif isinstance(fault, int):
                self.answer(fault, {"error": {"message": "wait"}}, [("Retry-After", "0")] if fault == 429 else ())
            elif fault == "cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"data": [')
                self.close_connection = True
            elif body["encoding_format"] == "base64" and not service.base64:
                self.answer(422, {"error": "encoding_format must be float"})
            elif len(texts) > service.most or any(len(text) > 1000 for text in texts):
                self.answer(413, {"error": {"message": "batch or input too long"}})
            else:
                self.answer(200, spoiled(fault, texts, body))

    def spoiled(fault, texts: list[str], body: dict):
        rows = np.stack([vector(text) for text in texts])
        if service.unit:
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        if fault == "dimension":
            rows = rows[:, :-1]
        if fault == "nan":
            rows[-1, 0] = np.nan
        packed = body["encoding_format"] == "base64"
        cells = [base64.b64encode(row.tobytes()).decode() if packed else row.tolist() for row in rows]
        data = [{"index": i, "embedding": cell} for i, cell in enumerate(cells)]
        if fault == "order":
            data.reverse()
        if fault == "missing":
            data.pop()
        if fault == "garbage":
            return b"<html>no</html>"
        return {"data": data}

    return Handler


@pytest.fixture
def service(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(server, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(server, "_JITTER", 0.001)
    service = Service()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(service))
    service.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield service
    http.shutdown()
    http.server_close()
    thread.join()


def choose(service: Service, path="", **options):
    url = f"http://127.0.0.1:{service.port}{path}"
    return table.choose(Options(**({"model": "openai:tiny", "base_url": url} | options)), 1)


def embed(service: Service, texts: list[str], **options):
    encoder = choose(service, **options).load()
    done = []
    try:
        return encoder.encode([texts], lambda n, tokens=0: done.append(n)), encoder
    finally:
        assert sum(done) <= len(texts)
        encoder.close()


TEXTS = [f"text number {i}" for i in range(150)]
EXPECTED = np.stack([vector(text) for text in TEXTS])


@pytest.mark.parametrize("path", ["", "/v1", "/v1/", "/v1/embeddings"])
def test_vectors_in_the_order_of_the_texts(service, path):
    X, encoder = embed(service, TEXTS, path=path)
    np.testing.assert_array_equal(X, EXPECTED)
    assert X.dtype == np.float32
    assert max(service.requests) <= 32
    assert encoder.report() == {"texts": 150, "tokens": None, "truncated": None}
    assert encoder.made["pooling"] == "set by the server"
    assert encoder.made["models"] == ["tiny"]
    assert encoder.made["normalized"] == "no"


def test_floats_where_base64_is_not_offered_and_vectors_of_length_one(service):
    service.base64, service.unit = False, True
    X, encoder = embed(service, TEXTS)
    np.testing.assert_allclose(X, EXPECTED / np.linalg.norm(EXPECTED, axis=1, keepdims=True), rtol=1e-6)
    assert "by the server" in encoder.made["normalized"]


def test_pairs_and_prompts(service):
    encoder = choose(service, prompt="query: ").load()
    X = encoder.encode([["a", "c"], ["b", "d"]], lambda *_: None)
    encoder.close()
    np.testing.assert_array_equal(X, [vector("query: a\nb"), vector("query: c\nd")])


@pytest.mark.parametrize("fault", [429, 500, 502, 503, "cut"])
def test_faults_that_pass_are_waited_for(service, fault):
    service.faults = [fault] * 6  # less than the tries of one request
    np.testing.assert_array_equal(embed(service, TEXTS)[0], EXPECTED)
    assert len(service.requests) == 5 + 6


def test_the_order_is_that_of_the_index(service):
    service.always = "order"
    np.testing.assert_array_equal(embed(service, TEXTS)[0], EXPECTED)


def test_requests_shrink_to_what_the_server_takes(service):
    service.most = 5
    np.testing.assert_array_equal(embed(service, TEXTS)[0], EXPECTED)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (503, "answered 503: wait"),
        ("cut", "cut the connection again and again"),
        ("garbage", "no list of embeddings"),
        ("missing", "of 31 texts where 32 were sent"),
        ("nan", "not finite"),
    ],
)
def test_faults_that_stay_are_told(service, fault, told):
    service.always = fault
    with pytest.raises(ExtractError, match=told) as caught:
        embed(service, TEXTS)
    assert f"127.0.0.1:{service.port}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_changed_dimension_is_told(service):
    service.faults = [None, None, None, None, "dimension"]
    with pytest.raises(ExtractError, match=r"replied with [78] numbers a text after [78]"):
        embed(service, TEXTS)


def test_a_text_that_is_too_long_is_named(service):
    with pytest.raises(ExtractError, match=r"413, for the text 'x{60}' of 1001 characters: batch or input too long"):
        embed(service, [*TEXTS, "x" * 1001])


def test_the_key_is_sent_and_never_told(service, monkeypatch):
    service.key = KEY
    with pytest.raises(ExtractError, match=r"answered 401: put your key into the environment variable OPENAI_API_KEY"):
        choose(service).load()
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    with pytest.raises(ExtractError, match=r"OPENAI_API_KEY \(its key is not accepted\)"):
        choose(service).load()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    X, encoder = embed(service, TEXTS)
    np.testing.assert_array_equal(X, EXPECTED)
    assert KEY not in json.dumps([encoder.made, choose(service).settings])


def test_credentials_of_a_url_are_not_written(service):
    encoder = choose(service, base_url=f"http://me:secret@127.0.0.1:{service.port}/v1").load()
    encoder.close()
    assert "secret" not in json.dumps([encoder.made, choose(service).settings])
    service.always = "garbage"
    with pytest.raises(ExtractError) as caught:
        embed(service, TEXTS, base_url=f"http://me:secret@127.0.0.1:{service.port}/v1")
    assert "secret" not in str(caught.value)


def test_models_of_the_server(service):
    with pytest.raises(ExtractError, match=r"tinny.*did you mean tiny"):
        choose(service, model="openai:tinny").load()
    service.models = None  # not every server has the list
    np.testing.assert_array_equal(embed(service, TEXTS)[0], EXPECTED)
    service.models = ["tiny:latest"]
    np.testing.assert_array_equal(embed(service, TEXTS)[0], EXPECTED)


def test_a_server_that_is_down(service, monkeypatch):
    down = Service(port=1)
    with pytest.raises(ExtractError, match=r"127\.0\.0\.1:1/v1 cannot be reached .*: is the server running"):
        choose(down).load()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"base_url": None}, r"needs --base-url URL \(or \$OPENAI_BASE_URL\)"),
        ({"base_url": "localhost:8000"}, "--base-url localhost:8000: give a URL"),
        ({"base_url": "http://host:99999"}, "give a URL"),
        ({"base_url": "ftp://host"}, "give a URL"),
        ({"model": "openai:"}, "openai:NAME"),
        ({"pooling": "mean"}, "--pooling is set by the server"),
        ({"max_length": 5}, "--max-length is set by the server"),
        ({"dtype": "bf16"}, "--dtype is set by the server"),
    ],
)
def test_options_that_cannot_be(service, options, told):
    with pytest.raises(ExtractError, match=told):
        choose(service, **options)


def test_the_url_from_the_environment(service, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{service.port}/v1")
    np.testing.assert_array_equal(embed(service, TEXTS, base_url=None)[0], EXPECTED)
    assert choose(service, model="openai:org/name:7b").name == "org-name-7b"
