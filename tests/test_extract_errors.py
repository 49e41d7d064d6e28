"""What a user of `jaxal extract` gets wrong: exit code 2 and one line."""

import importlib.util
import json
import shutil

import pytest
from test_tables import write_csv
from tiny_bert import make_bert, run_main, sentences

from jaxal.data import store
from jaxal_extract import ExtractError
from jaxal_extract.cli import main
from jaxal_extract.models.folder import read_folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nmae", "x"], "No such option"),  # which releases of click quote differently
        (["--nmae", "x"], "--nmae"),
        ([], "Missing option '--name'"),
        (["--name", "a/b"], "'a/b' cannot be a folder's name"),
        (["--name", "digits"], "--name digits: `jaxal run` would not look for that in the store"),
        (["--name", "my.npz"], "--name my.npz: `jaxal run` would not look for that in the store"),
        (["--name", "x" * 300], "cannot be a folder's name"),
        (["--name", "toy", "--prompt", "caf\udce9 "], "--prompt is not valid UTF-8"),
        (["--name", "toy", "--strip-final", "\udce9"], "--strip-final is not valid UTF-8"),
        (["--name", "toy"], "--train FILE is needed"),
        (
            ["--name", "mnlii"],
            "or as --name a task of the study, which is read from the Hugging Face hub (did you mean mnli?)",
        ),
        (["--name", "mnli", "--test", "t.csv"], "--test FILE needs --train FILE"),
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
            "allow it with --trust-remote-code",
        ),
        (["--train", "t.csv", "--text-column", "text", "--model", "~nosuchuser"], "there is no model '~nosuchuser'"),
        (["--train", "t.csv", "--text-column", "text", "--model", "x" * 300], "there is no model 'xxx"),
        (["--train", "t.csv", "--text-column", "text", "--model", "a\0b"], "there is no model 'a\\x00b'"),
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
    assert message in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert not out
    assert not (tmp_path / "toy").exists()


def test_without_torch(tmp_path, monkeypatch, capsys):
    train = write_csv(tmp_path / "t.csv", ["text"], ["the card"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["--name", "toy", "--train", str(train), "--text-column", "text", "--store", str(tmp_path)]) == 2
    assert capsys.readouterr().err == 'Error: torch is not installed: pip install "jaxal[extract]"\n'


def test_ctrl_c_in_the_command(monkeypatch, capsys):
    def interrupt(job):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxal_extract.cli.extract", interrupt)
    assert main(["--name", "toy"]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err


def cuda_is_there():
    import torch

    return torch.cuda.is_available()


def test_a_length_that_leaves_no_room_for_the_text_is_refused(worker, tmp_path):
    """[CLS] and [SEP] take two tokens, and a pair three."""
    worker(make_bert, tmp_path / "tiny")
    worker(make_bert, tmp_path / "plain", False)
    train = write_csv(tmp_path / "t.csv", ["text", "more"], sentences(3), sentences(3, 1))
    common = ["--name", "toy", "--train", train, "--text-column", "text", "--store", tmp_path, "--model"]
    tiny, plain, pair = tmp_path / "tiny", tmp_path / "plain", ["--text-column", "more"]
    cases = [
        ([tiny], 3, "2 special tokens: give at least 3"),
        ([tiny, *pair], 5, "3 special tokens: give at least 5"),
        ([tiny, "--prompt", "how do "], 5, "2 special tokens and 2 of the prompt: give at least 5"),
        ([plain], 1, None),
        ([plain, *pair], 1, None),  # without a separator a pair is one text
    ]
    for number, (more, least, message) in enumerate(cases):
        for length in range(1, least + 1):
            arguments = [*common, *more, "--as", f"m{number}", "--max-length", length]
            code, _, err = worker(run_main, arguments)
            if length < least:
                assert code == 2
                assert err == f"Error: --max-length {length} leaves no room for the text beside {message}\n"
            else:
                assert code == 0, err
        about = store.manifest(tmp_path / "toy" / f"m{number}")
        assert about["settings"]["max_length"] == least


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "1_Pooling/config.json", "sentence_bert_config.json"]
)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "is not a JSON object"),
        ("3", "is not a JSON object"),
        ("null", "is not a JSON object"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("\xff", "cannot be read"),
    ],
    ids=["list", "number", "null", "cut", "nested", "no UTF-8"],
)
def test_configurations_that_are_none(bert, tmp_path, name, content, message):
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content, "latin1")
    with pytest.raises(ExtractError, match=message) as e:
        read_folder(folder)
    assert str(folder / name) in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("name", "key", "where"),
    [("config.json", "max_position_embeddings", "longest"), ("tokenizer_config.json", "model_max_length", "longest"),
     ("sentence_bert_config.json", "max_seq_length", "max_length")],
)  # fmt: skip
def test_limits_out_of_configurations(bert, tmp_path, name, key, where):
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    file = folder / name
    before = json.loads(file.read_text()) if file.exists() else {}
    for value in ([512], "512", {"a": 1}):
        file.write_text(json.dumps(before | {key: value}))
        with pytest.raises(ExtractError, match=f"{name} has .* where a number of tokens belongs"):
            read_folder(folder)
    for value, expected in ((8, 8), (8.0, 8), (None, 64), (0, 64), (-1, 64), (10**30, 64)):
        file.write_text(json.dumps(before | {key: value}))
        source = read_folder(folder)
        assert getattr(source, where) == (10**9 if where == "max_length" and value == 10**30 else expected)


def test_a_device_that_is_not_there(worker, bert, tmp_path):
    if worker(cuda_is_there):
        pytest.skip("this machine has a CUDA device")
    train = write_csv(tmp_path / "t.csv", ["text"], ["the card"])
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--model", bert, "--device", "cuda"]
    code, _, err = worker(run_main, [*arguments, "--store", tmp_path])
    assert code == 2
    assert "finds no CUDA device" in err
    assert err.count("\n") == 1


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
        assert code == 2
        assert err.count("\n") == 1
        assert (weights or "cannot load") in err
