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
VARIANTS = ["official", "skactiveml"]
SEED, AMONG = 3, {2: [7, 3], 5: range(5), 40: range(40)}


@pytest.fixture(scope="module")
def blocks_by_seeds(tiny_blocks_everywhere):
    """With one seed a block of D = 5 numbers a row has 80 rows, with five 16. Mini-batches from 15 clusters on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_ELEMENTS", 400)
        patch.setattr(_typiclust, "_LLOYD_CLUSTERS", 15)
        patch.setattr(_typiclust, "_MINI_BATCH", 30)
        yield
    jax.clear_caches()


def run(name, variant, seeds, **options):
    """In float64, where no two rows are so alike that sums in another order would decide between them."""
    return jaxal.run(pool(dtype=np.float64), name, seeds, variant=variant, **RUN, **options).tables


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_seed_alone_is_the_seed_among_others(name, variant):
    alone = run(name, variant, [SEED])
    assert len(alone.picks) == 18
    for among in AMONG.values():
        tables = run(name, variant, among)
        same_rows(alone, [seeds_of(table, SEED) for table in tables])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", STRATEGIES)
def test_seeds_that_are_added_later_are_those_of_one_run(name, variant, tmp_path):
    run(name, variant, 2, out=tmp_path)
    same_rows(run(name, variant, 5), run(name, variant, 5, out=tmp_path))


def same_rows(one, other):
    """The same picks in the same order, and accuracies, which are counts."""
    left_out = ["score", "seeds_in_block", "fit_iterations"]
    same_tables(*([table.drop(columns=left_out, errors="ignore") for table in tables] for tables in (one, other)))
