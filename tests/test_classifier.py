"""The classifier to take away: what it predicts, what is refused, and that texts are embedded as they were."""

import csv
import io
import json
import shutil
import sys

import commands
import numpy as np
import pytest
from commands import NAMES, call, refused
from small import arrays, write_npz

import jaxal
import jaxal.sklearn
from jaxal.data import store
from jaxal.errors import DataError
from jaxal.labeling import project as projects
from jaxal.labeling.classifier import Classifier, fit
from jaxal.labeling.log import Line
from jaxal.labeling.project import Project, Settings
from jaxal_extract import ExtractError
from jaxal_extract.models import table

cache = commands.cache  # a fixture

EMBEDDER = """
import numpy as np

def embed(texts):
    return np.array([[text.count(letter) + 1 for letter in "aeiou"] for text in texts], np.float64)
"""
GOOD, BAD = ["yes please", "so be it", "we agree to it"], ["oh no, never", "not now, not ever", "nobody wants any"]


def make_project(folder, pool, rows, labels, **settings):
    """A project with labels and no batches."""
    (folder / projects.BATCHES).mkdir(parents=True)
    source = str(pool.path or settings.pop("source"))
    about = {"strategy": "margin", "batch_size": 5, "classes": tuple(NAMES)} | settings
    projects.save(folder, Settings(source, pool.dataset, pool.model, pool.fingerprint, **about))
    project = Project.open(folder)
    with project.locked():
        project.append(
            [Line(int(r), str(r), label, None, None, None, 0) for r, label in zip(rows, labels, strict=True)]
        )
    return Project.open(folder)


@pytest.fixture
def small(tmp_path):
    """A project of the small pool, 30 labels of 120."""
    source = write_npz(tmp_path / "p.npz")
    y = arrays()[1]
    return make_project(
        tmp_path / "project", jaxal.load(source), range(30), [NAMES[c] for c in y[:30]], source=source, C=2.0
    )


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """A folder with a model of one's own, a store with `words` embedded by it, and its project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXAL_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "embedder.py").write_text(EMBEDDER)
    rows = [(f"{text} {i}", name) for i in range(6) for name, some in (("good", GOOD), ("bad", BAD)) for text in some]
    with open("words.csv", "w", newline="") as f:
        csv.writer(f).writerows([("text", "label"), *rows])
    extract(tmp_path, "words", "words.csv")
    pool = jaxal.load("words")
    make_project(tmp_path / "project", pool, range(36), [name for _, name in rows], classes=("good", "bad"))
    return tmp_path


def extract(folder, name, file, **options):
    from jaxal_extract.cli import main

    sys.modules.pop("embedder", None)  # another test's
    given = {"name": name, "train": file, "text-column": "text", "model": "embedder:embed"} | options
    assert main([f"--{option}={value}" for option, value in given.items()]) == 0


def test_it_predicts_as_the_model_of_all_labels(small, tmp_path):
    X, y, X_test, _ = arrays()
    classifier = fit(small)
    ours = jaxal.sklearn.LogisticRegression(C=2.0).fit(X[:30], y[:30])
    np.testing.assert_allclose(classifier.predict_proba(X_test), ours.predict_proba(X_test), atol=1e-3)
    assert classifier.predict(X_test).tolist() == [NAMES[c] for c in ours.predict(X_test)]
    classifier.save(tmp_path / "model")
    loaded = jaxal.load_classifier(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X_test), classifier.predict_proba(X_test))
    assert loaded.class_names == tuple(NAMES)
    assert loaded.fitted["labels"] == 30
    for name in ("W", "b"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(classifier, name))


@pytest.mark.parametrize("seen", [3, 2, 1])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_same_for_scikit_learn(tmp_path, seen, normalize):
    """Also where classes have no label: their probability is 0, and scikit-learn's model does not know them."""
    _, y, X_test, _ = arrays()
    source = write_npz(tmp_path / "p.npz")
    rows = np.flatnonzero(y < seen)[:30]
    project = make_project(
        tmp_path / "project", jaxal.load(source), rows, [NAMES[c] for c in y[rows]], source=source, normalize=normalize
    )
    classifier = fit(project)
    classifier.save(tmp_path / "model")
    other = jaxal.sklearn.load_classifier(tmp_path / "model")
    assert sorted(other.classes_) == sorted(NAMES[:seen])
    mine = classifier.predict_proba(X_test)
    assert (mine[:, seen:] == 0).all()
    columns = [NAMES.index(name) for name in other.classes_]
    np.testing.assert_allclose(other.predict_proba(X_test), mine[:, columns], atol=1e-5)
    assert other.predict(X_test).tolist() == classifier.predict(X_test).tolist()
    if normalize:
        np.testing.assert_allclose(classifier.predict_proba(9 * X_test), mine, atol=1e-5)


def test_fit_without_labels_is_refused(tmp_path):
    source = write_npz(tmp_path / "p.npz")
    make_project(tmp_path / "project", jaxal.load(source), [], [], source=source)
    assert "has no labels yet" in refused("fit", tmp_path / "project", "--out", tmp_path / "m")
    assert "no labeling project" in refused("fit", tmp_path / "other", "--out", tmp_path / "m")
    assert "choose another" in refused("fit", tmp_path / "project", "--out", tmp_path / "project")
    assert not (tmp_path / "m").exists()


def test_texts_and_pools_are_classified(texts):
    result = call("fit", "project", "--out", "model")
    assert result.stderr == "model: 2 classes, from 36 labels\n"
    (texts / "new.csv").write_text('text\n"oh no, never, 9"\nso be it 77\n')
    result = call("predict", "model", "new.csv")
    assert [(r["row"], r["label"], r["text"]) for r in csv.DictReader(io.StringIO(result.stdout))] == [
        ("0", "bad", "oh no, never, 9"), ("1", "good", "so be it 77"),
    ]  # fmt: skip
    expected = jaxal.load_classifier("model").predict_proba(jaxal.load("words").X)
    result = call("predict", "model", "words", "--format", "jsonl")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [r["probability"] for r in records] == pytest.approx(expected.max(axis=1).tolist(), abs=1e-6)
    assert records[3] == {"row": 3, "label": "bad", "probability": records[3]["probability"], "text": "oh no, never 0"}
    result = call("predict", "model", "new.csv", "--out", "out.jsonl")
    assert result.stderr.endswith("2 rows in out.jsonl\n")
    assert json.loads((texts / "out.jsonl").read_text().splitlines()[1])["label"] == "good"


def test_another_embedding_is_refused(texts, capfd):
    call("fit", "project", "--out", "model")
    (texts / "new.csv").write_text("text,other\nso be it,x\n")
    # the same name, other vectors: only the probes can tell
    (texts / "embedder.py").write_text(EMBEDDER.replace("aeiou", "uoiea"))
    assert "gives other vectors than when the classifier was fitted (cosine" in refused("predict", "model", "new.csv")
    extract(texts, "words2", "words.csv", **{"as": "embedder.embed"})
    assert "words2 (embedder.embed) is embedded otherwise" in refused("predict", "model", "words2")
    (texts / "embedder.py").write_text(EMBEDDER.replace("aeiou", "aeio"))
    assert "gives 4 numbers a text; the classifier takes 5" in refused("predict", "model", "new.csv")
    (texts / "embedder.py").write_text(EMBEDDER)
    extract(texts, "words3", "words.csv", prompt="Classify: ")
    assert "its prompt is 'Classify: ', the classifier's ''" in refused("predict", "model", "words3")
    write_npz(texts / "wide.npz", X=np.ones((3, 7), np.float32), y=None, X_test=None, y_test=None)
    assert "takes embeddings of 5 dimensions" in refused("predict", "model", "wide.npz")
    assert "no column 'body'" in refused("predict", "model", "new.csv", "--text-column", "body")
    assert "1 text column" in refused("predict", "model", "new.csv", "--text-column", "text", "--text-column", "other")
    capfd.readouterr()


def test_a_classifier_of_no_stored_pool_takes_embeddings_alone(small, tmp_path):
    result = call("fit", small.folder, "--out", tmp_path / "model")
    assert "note: its pool is no stored one" in result.stderr
    (tmp_path / "new.csv").write_text("text\nx\n")
    assert "how to embed texts is unknown" in refused("predict", tmp_path / "model", tmp_path / "new.csv")
    assert len(call("predict", tmp_path / "model", tmp_path / "p.npz").stdout.splitlines()) == 121


def change(folder, **changes):
    about = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps(about | changes))


@pytest.mark.parametrize(
    ("break_it", "what"),
    [
        (lambda f: shutil.rmtree(f), "is no classifier: `jaxal fit"),
        (lambda f: change(f, format=2), "of a newer jaxal"),
        (lambda f: change(f, class_names=5), "cannot|can be read"),
        (lambda f: change(f, strange=5), "can be read"),
        (lambda f: (f / "classifier.json").write_text("[]"), "can be read"),
        (lambda f: (f / "classifier.json").write_text("{"), "can be read"),
        (lambda f: (f / "classifier.safetensors").write_bytes(b"xx"), "is not the file it was written with"),
        (lambda f: (f / "classifier.safetensors").unlink(), "classifier.safetensors is missing"),
        (lambda f: change(f, class_names=["a", "b"]), "3 classes"),
    ],
)
def test_a_damaged_classifier_is_one_sentence(small, tmp_path, break_it, what):
    fit(small).save(tmp_path / "model")
    break_it(tmp_path / "model")
    with pytest.raises(DataError, match=what):
        jaxal.load_classifier(tmp_path / "model")


def test_probes_are_embeddings_as_stored(texts):
    classifier = fit(Project.open("project"))
    stored, words = store.read(jaxal.load("words").path), store.texts(jaxal.load("words").path)
    assert len(classifier.probe_texts) == 8
    assert classifier.probes is not None
    for text, vector in zip(classifier.probe_texts, classifier.probes, strict=True):
        np.testing.assert_array_equal(vector, stored.X[words.index(text)])
    assert max(map(len, words)) == max(map(len, classifier.probe_texts)), "a limit on tokens would not show"
    classifier.check_probes(classifier.probes * 3)
    with pytest.raises(DataError, match="other vectors"):
        classifier.check_probes(classifier.probes[::-1])


def test_settings_become_the_options_that_made_them():
    chosen = table.choose(table.Options(model="minilm", max_length=64, prompt="query: "), 1)
    options = table.arguments(chosen.settings | {"strip_final": ".", "unescape": True})
    assert options == ["--model=minilm", "--prompt=query: ", "--strip-final=.", "--pooling=mean", "--max-length=64",
                       "--dtype=float32", "--unescape"]  # fmt: skip
    static = {"kind": "static", "model_id": "wordllama", "prompt": ""}
    assert table.arguments(static) == ["--model=wordllama", "--prompt="]
    server = {"kind": "server", "model_id": "openai:x", "prompt": ""}
    assert table.arguments(server)[0] == "--model=openai:x"
    folder = {
        "kind": "transformer",
        "model_id": "mine",
        "prompt": "",
        "pooling": "cls",
        "max_length": 9,
        "dtype": "float32",
    }
    with pytest.raises(ExtractError, match="--embedding"):
        table.arguments(folder)
    assert table.arguments(folder, "there/mine")[0] == "--model=there/mine"
    with pytest.raises(ExtractError, match="does not say how"):
        table.arguments({})


def test_repr():
    assert repr(Classifier(np.zeros((2, 3)), np.zeros(2), ("a", "b"))) == (
        "Classifier(2 classes, 3 dimensions, embeddings of an unknown model)"
    )
