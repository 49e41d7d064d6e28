"""ProbCover's graph as it is kept beside a pool: what is in a cache of this version."""

import jax
import numpy as np
import pytest

from jaxal import Pool
from jaxal.strategies import _graph_cache, make

# By version: variant -> squared radius, rows in all balls, rows in the largest. They change with k-means, the radius or
# the balls. Then raise the version, so that no cache of the old one is read, and put the new numbers here.
GOLDEN = {3: {"official": (0.02732998, 378, 9), "skactiveml": (0.16, 222, 5)}}


@pytest.fixture(scope="module")
def pool():
    """Clusters overlap, so that k-means can end in several ways; whole numbers, so that rounding decides nothing."""
    rng = np.random.default_rng(11)
    centers = rng.integers(-6, 7, (5, 3))
    y = rng.integers(0, 5, 120)
    X = centers[y] + rng.integers(-4, 5, (120, 3))
    return Pool((X / 4).astype(np.float32), y)


@pytest.mark.parametrize("variant", ["official", "skactiveml"])
def test_a_cache_of_this_version_holds_these_numbers(pool, variant):
    graph = make("probcover", variant).prepare(pool, jax.random.key(0))
    limit, total, largest = GOLDEN[_graph_cache.VERSION][variant]
    assert float(graph.limit) == pytest.approx(limit, rel=1e-5)
    assert (int(graph.degrees.sum()), int(graph.degrees.max())) == (total, largest)
