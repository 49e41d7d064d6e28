"""A seed's picks are its own: the same alone and among others, at once or added later, for every strategy.

Blocks are tiny and follow the number of seeds, as they do in large pools.
"""

import jax
import numpy as np
import pytest
from small import pool, same_tables, seeds_of

import jaxal
from jaxal.numerics import blocks
from jaxal.strategies import STRATEGIES, _typiclust

pytestmark = [pytest.mark.usefixtures("blocks_by_seeds"), pytest.mark.filterwarnings("ignore:probcover")]

RUN = {"cycles": 2, "batch_size": 6, "initial_size": 6}  # B is above every window
SAME = ("random", "margin", "entropy", "coreset")  # whose variants are the same
EVERY = [(name, variant) for name in STRATEGIES for variant in ("official", "skactiveml")]


@pytest.fixture(scope="module")
def blocks_by_seeds(tiny_blocks_everywhere):
    """With one seed a block of D = 5 numbers a row has 80 rows, with five 16. Mini-batches from 15 clusters on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_ELEMENTS", 400)
        patch.setattr(_typiclust, "_LLOYD_CLUSTERS", 15)
        patch.setattr(_typiclust, "_MINI_BATCH", 30)
        yield
    jax.clear_caches()


def run(name, variant, seeds, out=None):
    """In float64, where no two rows are so alike that sums in another order would decide between them."""
    return jaxal.run(pool(dtype=np.float64), name, list(seeds), variant=variant, out=out, **RUN).tables


def same_rows(one, other):
    """The same picks in the same order, and accuracies, which are counts."""
    left_out = ["run_id", "variant", "score", "seeds_in_block", "fit_iterations"]
    same_tables(*([table.drop(columns=left_out, errors="ignore") for table in tables] for tables in (one, other)))


def only(tables, seed):
    return [seeds_of(table, seed) for table in tables]


@pytest.mark.parametrize(("name", "variant"), [(n, v) for n, v in EVERY if v == "official" or n not in SAME])
def test_a_seed_is_the_same_alone_among_others_and_added_later(name, variant, tmp_path):
    """Seed 3 alone and among 2, 5 and 40; and two seeds to which three are added are one run of five."""
    alone, five = run(name, variant, [3]), run(name, variant, range(5))
    assert len(alone.picks) == 18
    same_rows(alone, only(five, 3))
    same_rows(alone, only(run(name, variant, range(40)), 3))
    same_rows(alone, only(run(name, variant, [2, 3], out=tmp_path), 3))
    same_rows(five, run(name, variant, range(5), out=tmp_path))


@pytest.mark.parametrize("name", SAME)
def test_variants_that_are_the_same(name):
    same_rows(run(name, "official", [3]), run(name, "skactiveml", [3]))
