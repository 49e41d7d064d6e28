"""The command line of extraction: parse and call."""

import dataclasses
import sys
from pathlib import Path

import click

from jaxal.errors import JaxalError, outcome
from jaxal_extract import ExtractError
from jaxal_extract.extraction import Job, extract
from jaxal_extract.models.devices import DTYPES
from jaxal_extract.models.encoder import Options
from jaxal_extract.models.pooling import POOLINGS
from jaxal_extract.texts.tables import FORMATS
from jaxal_extract.texts.tasks import TASKS

_FILE = click.Path(path_type=Path)
_POSITIVE = click.IntRange(min=1)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--name",
    required=True,
    help="Name of the dataset in the store. A task of the study knows its columns and classes, and is read from the "
    f"Hugging Face hub or its cache without --train: {', '.join(TASKS)}.",
)
@click.option("--train", type=_FILE, help=f"Texts of the pool: {FORMATS} (TSV is not quoted).")
@click.option("--test", type=_FILE, help="Texts to measure accuracy on; without them there are no learning curves.")
@click.option("--text-column", "text_columns", multiple=True, help="Column with the text; twice for pairs of texts.")
@click.option("--label-column", help="Column with the label; without it the pool is unlabeled.")
@click.option("--id-column", help="Column with an id for each row; default the row number, from 0.")
@click.option("--unlabeled", is_flag=True, help="Allow rows of --train without a label.")
@click.option(
    "--strip-final", default="", metavar="CHARS", help="Cut these characters, and blanks, from the texts' ends."
)
@click.option(
    "--unescape", is_flag=True, help=r"Make line breaks of \n and quotes of \", which yelp5 has in its texts."
)
@click.option(
    "--model",
    default="minilm",
    show_default=True,
    help="A name that `jaxal list` shows, the folder of a transformers model, or package.module:callable.",
)
@click.option(
    "--pooling",
    type=click.Choice(["study", "card", *POOLINGS]),
    help="Default: the study's for its models, else what the model's card says.",
)
@click.option("--max-length", type=_POSITIVE, help="Tokens of a text that are read; default the model's.")
@click.option("--prompt", help="Put this before every text; default the model's, '' for none.")
@click.option("--dtype", type=click.Choice(list(DTYPES)), help="Default: float32 on a CPU, bfloat16 on a GPU.")
@click.option("--trust-remote-code", is_flag=True, help="Run the Python code of a model's repository (nv-embed-v2).")
@click.option("--base-url", metavar="URL", help="Address of the server of --model openai:NAME.")
@click.option("--store", "store_root", type=_FILE, help="Folder of the store; default $JAXAL_STORE or the user cache.")
@click.option("--as", "stored_as", help="Name of the model in the store; default its own.")
@click.option("--no-text", is_flag=True, help="Do not keep the texts in the store.")
@click.option("--batch-size", "batch_tokens", type=_POSITIVE, help="Tokens in a batch; default what suits the device.")
@click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps; or several, cuda:0,cuda:1."
)
@click.option("--threads", type=_POSITIVE, help="CPU threads; default all cores.")
def command(**options):
    """Embed texts once and store the vectors as a pool for `jaxal run`.

    An interrupted extraction goes on where it stopped when the same command is run again.
    """
    model = {field.name: options.pop(field.name) for field in dataclasses.fields(Options)}
    extract(Job(**options, encoder=Options(**model)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or that of `jaxal.errors.outcome` after its one line on stderr."""
    try:
        command.main(arguments, prog_name="jaxal extract", standalone_mode=False)
        return 0
    except click.Abort:
        code, line = outcome(KeyboardInterrupt())
    except click.ClickException as error:
        code, line = outcome(ExtractError(error.format_message()))
    except JaxalError as error:
        code, line = outcome(error)
    print(line, file=sys.stderr)
    return code
