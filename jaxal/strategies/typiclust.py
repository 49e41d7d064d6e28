"""TypiClust: the most typical row of each cluster that has no label yet. Also an initial pool selection."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxal import distances, lazy, logreg, neighbors
from jaxal.kmeans import kmeans
from jaxal.strategies.interface import Strategy

_MOST_CLUSTERS = 500
_LARGEST_LLOYD = 50  # above so many clusters the official code takes mini-batches
_MINI_BATCH = 5000
_SMALL = 5  # clusters of so many rows or fewer come last


class _Rule(NamedTuple):
    """Where the variants differ."""

    k: int  # neighbours
    official: bool


def typiclust(variant="official", k: int | None = None):
    """k-means into as many clusters as rows will be labeled; then a row each from those with no label, largest first.

    A row's typicality is the inverse of its mean distance to its k nearest neighbours in its cluster.

    official: rows of length 1; at most 500 clusters, mini-batches above 50; k = 20 or half the cluster, squared
    distances; clusters of 5 rows or fewer come last; order by labels in the cluster, then by size, and round again.
    skactiveml: rows as they are, no limit on clusters, Lloyd, k = 5, no small clusters; ties in order at random.
    Both: where the rule finds no row, clusters with labels or small ones give their most typical one.
    Cost: k-means, O(N K D) an iteration, then distances within the clusters picked from.
    Reference: Hacohen et al., ICML 2022, section 4.
    """
    official = variant == "official"
    rule = _Rule((20 if official else 5) if k is None else k, official)

    def prepare(pool, key):
        return distances.norms(pool.X, normalize=official)

    def select(keys, aux, carry, state):
        n = state.X.shape[0]
        n_labeled = int(np.asarray(state.labeled.sum(axis=1)).max())
        clusters = min(n_labeled + state.batch_size, n)
        clusters = min(clusters, _MOST_CLUSTERS) if official else clusters
        batch = _MINI_BATCH if official and clusters > _LARGEST_LLOYD else None
        rows, scores = _select(keys, aux, state, clusters, min(logreg.bucket(clusters), n), batch, rule)
        return rows, scores, carry

    return Strategy(prepare, lambda aux, state: (), select, host=True)


@partial(jax.jit, static_argnames=("most", "batch", "rule"))
def _select(keys, aux, state, clusters, most, batch, rule):
    n_seeds, n = state.labels.shape
    points = distances.Points(state.X, aux)
    cluster_keys, lot_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    rows = jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32)[None], (n_seeds, n))
    found = kmeans(cluster_keys, points, rows, jnp.ones((n_seeds, n), bool), clusters, most=most, batch=batch)

    def one(seed):
        key, label, labeled = seed
        return pick(key, points, label, labeled, most, state.batch_size, rule)

    return lax.map(one, (lot_keys, found.labels, state.labeled))


def pick(key, points, label, labeled, n_clusters: int, n_picks: int, rule: _Rule):
    """Rows (B,) and typicalities (B,) given the clusters of one seed: label (N,) in 0..n_clusters-1."""
    n = len(label)
    row_key, cluster_key = jax.random.split(key)
    lots = lazy.priorities(row_key, n)
    cluster_lots = lazy.priorities(cluster_key, n_clusters)
    tally = lambda mask: jnp.zeros(n_clusters, jnp.int32).at[label].add(mask.astype(jnp.int32))  # noqa: E731
    size, n_labeled = tally(jnp.ones(n, bool)), tally(labeled)

    def round_(state):
        """One row from each cluster, in order, as long as rows are wanted."""
        free, picked_from, count, rows, scores = state
        left = tally(free)
        # Clusters of the first rank are served before any of the second is; those with nothing left, never.
        second = size <= _SMALL if rule.official else (n_labeled > 0) | picked_from
        first_rank = (left > 0) & ~second
        usable = jnp.where(first_rank.any(), first_rank, left > 0)
        labels_first = n_labeled if rule.official else jnp.zeros_like(n_labeled)
        ties = jnp.arange(n_clusters, dtype=jnp.int32) if rule.official else cluster_lots
        *_, order = lax.sort((~usable, labels_first, -size, ties, jnp.arange(n_clusters, dtype=jnp.int32)), num_keys=4)
        n_groups = min(n_clusters, n_picks)
        in_round = jnp.minimum(usable.sum(dtype=jnp.int32), n_picks - count)
        place = (
            jnp.full(n_clusters, n_groups, jnp.int32)
            .at[order[:n_groups]]
            .set(
                jnp.where(
                    jnp.arange(n_groups, dtype=jnp.int32) < in_round, jnp.arange(n_groups, dtype=jnp.int32), n_groups
                )
            )
        )
        group = jnp.where(free, place[label], n_groups)
        members = jnp.zeros(n_groups, jnp.int32).at[group].add(1, mode="drop")
        taken = jnp.minimum(rule.k, members // 2 if rule.official else jnp.maximum(members - 1, 0))
        mean = neighbors.mean_distance(points, group, taken, k=rule.k, root=not rule.official)
        # The least mean distance of each group; among equal ones the largest lot.
        least = jnp.full(n_groups, jnp.inf, mean.dtype).at[group].min(mean, mode="drop")
        best = (group < n_groups) & (mean == least[jnp.minimum(group, n_groups - 1)])
        lot = jnp.full(n_groups, -1, jnp.int32).at[jnp.where(best, group, n_groups)].max(lots, mode="drop")
        winner = best & (lots == lot[jnp.minimum(group, n_groups - 1)])
        row = jnp.full(n_groups, n, jnp.int32)
        row = row.at[jnp.where(winner, group, n_groups)].min(jnp.arange(n, dtype=jnp.int32), mode="drop")
        k = taken.astype(mean.dtype)
        typicality = 1 / (least + 1e-5) if rule.official else k / (k * least + 1e-7)
        typicality = jnp.where(taken > 0, typicality, 1)
        at = jnp.where(
            jnp.arange(n_groups, dtype=jnp.int32) < in_round, count + jnp.arange(n_groups, dtype=jnp.int32), n_picks
        )
        return (
            free.at[row].set(False, mode="drop"),
            picked_from | (place < n_groups),
            count + in_round,
            rows.at[at].set(row, mode="drop"),
            scores.at[at].set(typicality, mode="drop"),
        )

    nothing = jnp.zeros(n_picks, jnp.int32)
    state = (~labeled, jnp.zeros(n_clusters, bool), jnp.int32(0), nothing, jnp.zeros(n_picks, points.X.dtype))
    *_, rows, scores = lax.while_loop(lambda state: state[2] < n_picks, round_, state)
    return rows, scores
