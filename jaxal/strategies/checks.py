"""Strategies of one's own: what goes wrong in them, told in one sentence that names the strategy."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal.errors import JaxalError, StrategyError


def name_of(function: Callable) -> str:
    """`module:function`, which is also how the command line is given it."""
    if hasattr(function, "__qualname__"):
        return f"{function.__module__}:{function.__qualname__}"
    return repr(function)


def call(name: str, function: Callable, *arguments):
    """function(*arguments), the code of a strategy's author.

    Raises StrategyError for whatever it raises; the author's own error is its cause, with the traceback of their code.
    """
    try:
        return function(*arguments)
    except JaxalError:
        raise
    except Exception as e:
        text = str(e).strip().partition("\n")[0]
        cause = e.with_traceback(e.__traceback__.tb_next if e.__traceback__ else None)
        raise StrategyError(f"the strategy {name} failed: {type(e).__name__}{': ' * bool(text)}{text}") from cause


def check_scores(name: str, scores, n_rows: int) -> Array:
    """The scores of a score function as an array, (n_rows,) floats. Raises StrategyError for anything else."""
    if isinstance(scores, np.ndarray | jax.Array):
        if scores.shape == (n_rows,) and jnp.issubdtype(scores.dtype, jnp.floating):
            return jnp.asarray(scores)
        what = f"an array of {scores.dtype} with shape {scores.shape}"
    else:
        what = "None" if scores is None else f"a {type(scores).__name__}"
    raise StrategyError(
        f"the strategy {name} returned {what}: it must return an array of floats with shape ({n_rows},), "
        "a score for each row"
    )


def check_picks(name: str, rows, scores, labels, batch_size: int) -> None:
    """Refuse a selection that is not B distinct unlabeled rows a seed.

    Args:
        rows, scores: what `select` returned; they must be (S, B), integers and numbers.
        labels: (S, N) before the selection, -1 where unlabeled.
        batch_size: B.
    Raises: StrategyError, one sentence that names the strategy and a row at fault.
    Cost: O(S B log B) on the host, and there is no copy of labels when they are in its memory.
    """
    labels = np.asarray(labels)
    (n_seeds, n), wanted = labels.shape, (len(labels), batch_size)
    for what, values, kinds, numbers in (("rows", rows, "iu", "integers"), ("scores", scores, "iufb", "numbers")):
        try:
            values = np.asarray(values)
        except (TypeError, ValueError):  # lists of different lengths
            raise StrategyError(f"the strategy {name} returned {what} that are no array") from None
        if values.shape != wanted or values.dtype.kind not in kinds:
            raise StrategyError(
                f"the strategy {name} returned {what} of {values.dtype} with shape {values.shape}: they must be "
                f"{numbers} with shape {wanted}, {batch_size} for each of {n_seeds} seed{'s' * (n_seeds != 1)}"
            )
    rows = np.asarray(rows)
    outside = rows[(rows < 0) | (rows >= n)]
    if outside.size:
        raise StrategyError(f"the strategy {name} chose row {outside[0]}, but the pool has rows 0 to {n - 1}")
    bought = rows[np.take_along_axis(labels, rows, axis=1) >= 0]
    if bought.size:
        raise StrategyError(f"the strategy {name} chose row {bought[0]}, which is labeled already")
    in_order = np.sort(rows, axis=1)
    twice = in_order[:, 1:][in_order[:, 1:] == in_order[:, :-1]]
    if twice.size:
        raise StrategyError(f"the strategy {name} chose row {twice[0]} twice in one query")
