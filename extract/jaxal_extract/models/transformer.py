"""A transformer as the embedding model: what it is, and the settings that decide its vectors. Loads nothing."""

import importlib.metadata
import importlib.util
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jaxal_extract import ExtractError
from jaxal_extract.models import devices
from jaxal_extract.models.encoder import Chosen, Options
from jaxal_extract.models.folder import Folder, read_folder
from jaxal_extract.models.plan import Plan
from jaxal_extract.models.weights import in_folder, named

BIDIRECTIONAL_SINCE = "5.2.0"  # transformers before it do not read `is_causal` from a configuration


class Model(NamedTuple):
    """A transformer with a name of its own.

    dim: D. longest: the most tokens that it takes; max_length: how many are read by default, None: longest.
    study: the study's pooling, None: not one of its seven; card: what its card says, None: nothing.
    prompt: put before every text. end_token: what every text must end with, and is given if the tokenizer does not.
    attention: None as the architecture has it; bidirectional: a decoder that has to be told so.
    float16: whether its values fit. package: a distribution with its files. remote_code: runs Python code out of its
    repository. transformers: the only release it works with. checked: was compared here with its real weights.
    """

    hub_id: str
    revision: str
    dim: int
    longest: int
    study: str | None = None
    card: str | None = None
    max_length: int | None = None
    prompt: str = ""
    end_token: str | None = None
    attention: str | None = None
    float16: bool = True
    package: str | None = None
    remote_code: bool = False
    transformers: str | None = None
    license: str = "apache-2.0"
    checked: bool = False

    def summary(self) -> tuple[str, int, int, str, str]:
        """Hub id, D, tokens read, pooling (the study's, else the card's), and what a user should know before."""
        notes = [] if self.checked else ["not checked on its real weights"]
        notes += [f"licence {self.license}"] if "nc" in self.license else []
        notes += ["needs --trust-remote-code"] if self.remote_code else []
        pooling = f"study: {self.study}" if self.study else f"card: {self.card}"
        return self.hub_id, self.dim, self.max_length or self.longest, pooling, ", ".join(notes)


def choose(options: Options, model: Model | None, n_text_columns: int) -> Chosen:
    """The model of a table's row, or, without one, of the folder that the options name.

    Raises ExtractError for options that do not go with it, and if torch or transformers is missing or too old.
    """
    require_torch()
    if options.base_url:
        raise ExtractError("--base-url goes with a server's model, --model openai:NAME")
    if model is None:
        folder = read_folder(Path(options.model).expanduser())
        weights, notes = in_folder(folder.path, folder.name, folder.revision), _folder_notes(folder)
        model = Model(
            folder.name, folder.revision, 0, folder.longest, card=folder.pooling, max_length=folder.max_length
        )
        name = folder.name
    else:
        _check_release(options, model)
        weights, name = (
            named(options.model, model.hub_id, model.revision, model.package, model.remote_code),
            options.model,
        )
        notes = {} if model.checked else {"unchecked": "not compared with a reference on the real weights"}
    names = devices.resolve(options.device)
    settings = {
        "kind": "transformer",
        "model_id": model.hub_id,
        "revision": weights.revision,
        "pooling": _pooling(options, model, name),
        "prompt": model.prompt if options.prompt is None else options.prompt,
        "max_length": _max_length(options, model, name),
        "end_token": model.end_token,
        "attention": model.attention or "as configured",
        "dtype": devices.choose_dtype(options.dtype, names[0], model.float16),
    }
    threads = options.threads
    if len(names) > 1 and names[0] == "cpu" and threads is None:
        threads = max(1, devices.cores() // len(names))
    plan = Plan(weights, settings, options.batch_tokens, threads, notes)
    load, *others = (partial(_load, plan, n_text_columns == 2, device) for device in names)
    return Chosen(name, settings, load, tuple(others))


def require_torch() -> None:
    """Raises ExtractError if torch or transformers is not installed; imports neither."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise ExtractError(f'{package} is not installed: pip install "jaxal[extract]"')


def _load(plan: Plan, pairs: bool, device: str):
    folder = plan.weights.fetch()  # first: importing torch takes seconds, and without a network there is no need
    from jaxal_extract.models.encode import load

    return load(plan, folder, pairs, device)


def _check_release(options: Options, model: Model) -> None:
    """Raises ExtractError if this release of transformers would give other vectors, or run code without consent."""
    from packaging.version import Version  # comes with transformers

    there = importlib.metadata.version("transformers")
    if model.remote_code and not options.trust_remote_code:
        raise ExtractError(
            f"--model {options.model} runs Python code out of the repository {model.hub_id} at {model.revision[:8]}: "
            "read it, and allow it with --trust-remote-code"
        )
    if model.transformers and there != model.transformers:
        raise ExtractError(
            f"--model {options.model} works with transformers {model.transformers} only, here is {there}: make an "
            f"environment of its own as extract/constraints-{options.model}.txt says; the store is shared"
        )
    if model.attention == "bidirectional" and Version(there) < Version(BIDIRECTIONAL_SINCE):
        raise ExtractError(
            f"--model {options.model} needs transformers {BIDIRECTIONAL_SINCE} or newer, here is {there}: older ones "
            "would run it with causal attention, without a word"
        )


def _pooling(options: Options, model: Model, name: str) -> str:
    asked = options.pooling or ("study" if model.study else "card")
    pooling = {"study": model.study, "card": model.card}.get(asked, asked)
    if pooling is None and asked == "study":
        raise ExtractError(f"--pooling study: {name} is not one of the study's models")
    if pooling is None and model.dim:
        raise ExtractError(f"--pooling card: the card of {name} names none, choose cls, mean or eos")
    if pooling is None:
        raise ExtractError(f"{name} uses a pooling that is not supported: choose one with --pooling")
    return pooling


def _max_length(options: Options, model: Model, name: str) -> int:
    max_length = options.max_length or model.max_length or model.longest
    if max_length > model.longest:
        raise ExtractError(f"--max-length {max_length}: {name} takes at most {model.longest} tokens")
    return max_length


def _folder_notes(folder: Folder) -> dict:
    return {"normalize": "sentence-transformers would scale the vectors to length 1"} if folder.normalize else {}
