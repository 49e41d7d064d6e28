"""A classifier to take away: a folder with weights, class names, and how texts have to be embedded for it.

    classifier.safetensors   W (C, D) and b (C,): logits are W x + b; probes (P, D): embeddings of the texts below
    classifier.json          class names, whether rows are scaled to length 1, what it was fitted on, the embedding
                             model's settings as in the pool's manifest, the texts of the probes, sha256 of the weights

The probes are a few texts of the pool. Who embeds new texts embeds these too: if they come out otherwise, so do the new
ones, whatever the settings say.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from jaxal import __version__
from jaxal.data import store
from jaxal.data.files import atomic_write, make_folders
from jaxal.data.pool import Pool
from jaxal.errors import DataError
from jaxal.labeling.project import Project
from jaxal.numerics import logreg
from jaxal.numerics.blocks import to_device

FORMAT = 1
WEIGHTS, ABOUT = "classifier.safetensors", "classifier.json"
_PROBES = 8
# Rounding to float16 and another device leave cosines above .9999; another prompt or pooling, or a cut text, go below.
_ALIKE = 0.999
_PROBED = ("revision", "dtype")  # may differ where probes decide: the same weights from elsewhere, another device


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A fitted classifier of embeddings; `fit` makes it, `load_classifier` reads it.

    W: (C, D), b: (C,) float32 or float64; a class without a label has b = -inf, and probability 0.
    class_names: C of them. normalize: rows are scaled to length 1 first.
    embedding: of the pool it was fitted on, `dataset`, `model` and `settings` of its manifest; None: not of a store.
    probe_texts: P texts of that pool, and probes: (P, D) their embeddings. fitted: what it was fitted on.
    """

    W: np.ndarray
    b: np.ndarray
    class_names: tuple[str, ...]
    normalize: bool = False
    embedding: dict[str, Any] | None = None
    probe_texts: tuple[str, ...] = ()
    probes: np.ndarray | None = None
    fitted: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        n_classes, dim = self.W.shape
        return f"Classifier({n_classes} classes, {dim} dimensions, embeddings of {self.embedding_model})"

    @property
    def embedding_model(self) -> str:
        """The embedding model by its name in the store."""
        return self.embedding["model"] if self.embedding else "an unknown model"

    def predict_proba(self, X) -> np.ndarray:
        """Probabilities (N, C) of embeddings X (N, D), in the order of class_names. Raises DataError for others.

        Cost: O(N D C); a copy of X where it is to be scaled.
        """
        X = Pool(X).X
        if X.shape[1] != self.W.shape[1]:
            raise DataError(
                f"the classifier takes embeddings of {self.W.shape[1]} dimensions, from {self.embedding_model}; these "
                f"have {X.shape[1]}"
            )
        X = Pool(X).normalized().X if self.normalize else X
        logits = X.astype(self.W.dtype, copy=False) @ self.W.T + self.b
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X) -> np.ndarray:
        """The most probable class of each embedding in X (N, D), by name, (N,). Raises DataError."""
        return np.array(self.class_names)[self.predict_proba(X).argmax(axis=1)]

    def check_settings(self, settings: dict[str, Any], source: str, *, probed: bool = False) -> None:
        """Raise DataError unless embeddings made with these settings, of a manifest, are of the same model.

        source: whose embeddings these are, for the error. probed: whether `check_probes` is called too, which decides
        where revision and dtype differ.
        """
        mine = settings if self.embedding is None else self.embedding["settings"]
        passed = _PROBED if probed and self.probes is not None else ()
        for key in dict.fromkeys([*mine, *settings]):
            if mine.get(key) != settings.get(key) and key not in passed:
                raise DataError(
                    f"{source} is embedded otherwise than what the classifier learned from: its {key} is "
                    f"{settings.get(key)!r}, the classifier's {mine.get(key)!r}; embed it with {self.embedding_model}, "
                    f"as {ABOUT} says"
                )

    def check_probes(self, X: np.ndarray) -> None:
        """Raise DataError unless the probe texts, embedded anew as X (P, D), point where they did.

        Their cosines must be above .999.
        """
        if self.probes is None:
            return
        if X.shape != self.probes.shape:
            raise DataError(
                f"the embedding model gives {X.shape[1]} numbers a text; the classifier takes {self.probes.shape[1]}"
            )
        cosines = np.sum(Pool(X).normalized().X * Pool(self.probes).normalized().X, axis=1)
        worst = int(np.argmin(cosines))
        if cosines[worst] < _ALIKE:
            raise DataError(
                f"the embedding model gives other vectors than when the classifier was fitted (cosine "
                f"{cosines[worst]:.3f} for {self.probe_texts[worst][:40]!r}): use the same model, version and settings"
            )

    def save(self, folder: Path) -> None:
        """Write the folder, its classifier.json last. Raises StoreError where that cannot be done."""
        make_folders(folder)
        tensors = {"W": self.W, "b": self.b} | ({} if self.probes is None else {"probes": self.probes})
        weights = safetensors.numpy.save({name: np.ascontiguousarray(a) for name, a in tensors.items()})
        about = {
            "format": FORMAT,
            "class_names": self.class_names,
            "normalize": self.normalize,
            "fitted": self.fitted,
            "embedding": self.embedding,
            "probe_texts": self.probe_texts,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "jaxal": __version__,
        }
        atomic_write(folder / WEIGHTS, weights)
        atomic_write(folder / ABOUT, (json.dumps(about, ensure_ascii=False, indent=1) + "\n").encode())


def load_classifier(path: str | Path) -> Classifier:
    """The classifier that `jaxal fit` wrote into the folder `path`.

    Raises: DataError where it is none, is damaged, or is of a newer jaxal.
    """
    path = Path(path)
    try:
        about = json.loads((path / ABOUT).read_text("utf-8"))
        version = about.pop("format")
        if version > FORMAT:
            raise DataError(f"{path / ABOUT} has format {version}, of a newer jaxal: update jaxal to use it")
        if not (path / WEIGHTS).is_file():
            raise ValueError(f"{WEIGHTS} is missing")
        weights = (path / WEIGHTS).read_bytes()
        if hashlib.sha256(weights).hexdigest() != about.pop("weights_sha256"):
            raise ValueError(f"{WEIGHTS} is not the file it was written with")
        tensors = safetensors.numpy.load(weights)
        about |= {name: tuple(about[name]) for name in ("class_names", "probe_texts")}
        del about["jaxal"]
        if not len(about["class_names"]) == len(tensors["W"]) == len(tensors["b"]):
            raise ValueError(f"{len(about['class_names'])} names for {len(tensors['W'])} classes")
        return Classifier(tensors["W"], tensors["b"], probes=tensors.get("probes"), **about)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path} is no classifier: `jaxal fit PROJECT --out {path}` makes one") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, SafetensorError) as error:
        raise DataError(f"{path} holds no classifier that can be read ({error}): fit it again") from error


def fit(project: Project) -> Classifier:
    """The classifier of all labels of a project, which is that of `jaxal run`.

    Raises: DataError where no row has a label. Cost: one fit.
    """
    rows, codes = project.labeled()
    if not len(rows):
        raise DataError(f"{project.folder} has no labels yet: add some with `jaxal label add`")
    pool, settings = project.pool(), project.settings
    with jax.enable_x64(pool.X.dtype == np.float64):
        X = to_device(pool.X)
        init = logreg.zeros(1, len(settings.classes), X.shape[1], X.dtype)
        fitted = logreg.fit_rows(X, rows[None], codes[None], init=init, C=settings.C)
        W, b = (np.asarray(a[0]) for a in fitted.params)
    return Classifier(
        W,
        b,
        settings.classes,
        settings.normalize,
        *_embedding(pool),
        fitted={"labels": len(rows), "rounds": len(project.batches()), "C": settings.C, "pool": settings.fingerprint},
    )


def _embedding(pool: Pool) -> tuple[dict | None, tuple[str, ...], np.ndarray | None]:
    """What is known of the embedding of a stored pool; its probe texts and their vectors, as stored."""
    if pool.path is None:
        return None, (), None
    about = store.manifest(pool.path)
    embedding = {name: about[name] for name in ("dataset", "model", "settings")} | {"made": about.get("made", {})}
    texts = store.texts(pool.path)
    if texts is None:
        return embedding, (), None
    pairs = about["settings"].get("text_columns") == 2
    usable = [row for row, text in enumerate(texts) if not pairs or text.count("\n") == 1]
    # the longest of a sample, where a limit on tokens shows, and others
    sample = [usable[i] for i in np.random.default_rng(0).permutation(len(usable))[: 50 * _PROBES]]
    by_length = sorted(sample, key=lambda row: len(texts[row]))
    rows = by_length[:: -max(1, len(by_length) // _PROBES)][:_PROBES]
    if not rows:
        return embedding, (), None
    return embedding, tuple(texts[row] for row in rows), store.read(pool.path).X[rows]
