"""TypiClust: the most typical row of each cluster that has no label yet. Also an initial pool selection."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxal.numerics import distances, lazy, logreg, neighbors
from jaxal.numerics.kmeans import kmeans
from jaxal.strategies.interface import Strategy, check_setting

_MOST_CLUSTERS = 500
_LARGEST_LLOYD = 50  # above so many clusters the official code takes mini-batches
_MINI_BATCH = 5000
_SMALL = 5  # clusters of so many rows or fewer come last


class _Rule(NamedTuple):
    """Where the variants differ."""

    k: int  # neighbours
    official: bool


class Carry(NamedTuple):
    """Kept from cycle to cycle by the variant skactiveml: what k-means begins with."""

    keys: Array  # (S,) those of the first query
    known: Array  # (S,) bool, whether there was one


def typiclust(variant="official", k: int | None = None):
    """k-means into as many clusters as rows will be labeled; then a row each from those with no label, largest first.

    A row's typicality is the inverse of its mean distance to its k nearest neighbours in its cluster.

    official: rows of length 1; at most 500 clusters, mini-batches above 50; k = 20 or half the cluster, squared
    distances; clusters of 5 rows or fewer come last; order by labels in the cluster, then by size, and round again.
    skactiveml: rows as they are, no limit on clusters, Lloyd, k = 5, no small clusters; ties in order at random.
    k-means begins with the same random numbers in every query of a run, as there with an int `random_state`, so that
    clusters of one query live on in the next.
    Both: where the rule finds no row, clusters with labels or small ones give their most typical one.
    Cost: k-means, O(N K D) an iteration, then distances within the clusters picked from.
    Reference: Hacohen et al., ICML 2022, section 4.
    """
    official = variant == "official"
    rule = _Rule((20 if official else 5) if k is None else check_setting("typiclust.k", k, int, 1), official)

    def prepare(pool, key):
        return distances.norms(pool.X, normalize=official)

    def init(aux, state):
        n_seeds = len(state.labels)
        return () if official else Carry(jax.random.split(jax.random.key(0), n_seeds), jnp.zeros(n_seeds, bool))

    def select(keys, aux, carry, state):
        if not official:
            carry = Carry(jnp.where(carry.known, carry.keys, keys), jnp.ones_like(carry.known))
        cluster_keys = keys if official else carry.keys
        rows, scores = _select(keys, cluster_keys, aux, state, *_size(state, official), rule)
        return rows, scores, carry

    def utilities(keys, aux, state, rows):
        return _utilities(keys, aux, state, rows, *_size(state, official), rule)

    return Strategy(prepare, init, select, host=True, utilities=utilities)


def _size(state, official):
    """How many clusters, the number they are compiled for, and the rows of a mini-batch."""
    n = state.X.shape[0]
    n_labeled = int(np.asarray(state.labeled.sum(axis=1)).max())
    clusters = min(n_labeled + state.batch_size, n)
    clusters = min(clusters, _MOST_CLUSTERS) if official else clusters
    batch = _MINI_BATCH if official and clusters > _LARGEST_LLOYD else None
    return clusters, min(logreg.bucket(clusters), n), batch


@partial(jax.jit, static_argnames=("most", "batch", "rule"))
def _select(keys, cluster_keys, aux, state, clusters, most, batch, rule):
    points = distances.Points(state.X, aux)
    label = _labels(cluster_keys, points, state, clusters, most, batch)
    lot_keys = jax.vmap(jax.random.split)(keys)[:, 1]

    def one(seed):
        key, label, labeled = seed
        return pick(key, points, label, labeled, most, state.batch_size, rule)

    return lax.map(one, (lot_keys, label, state.labeled))


def _labels(keys, points, state, clusters, most, batch):
    """The cluster of every row, (S, N)."""
    n_seeds, n = state.labels.shape
    cluster_keys = jax.vmap(jax.random.split)(keys)[:, 0]
    rows = jnp.arange(n, dtype=jnp.int32)[None]
    return kmeans(cluster_keys, points, rows, jnp.ones((n_seeds, n), bool), clusters, most=most, batch=batch).labels


@partial(jax.jit, static_argnames=("most", "batch", "rule"))
def _utilities(keys, aux, state, rows, clusters, most, batch, rule):
    """The typicality of what is left of the cluster that is picked from; of all other rows -inf.

    Cost: the k-means of `select` once more, then a sort of N and the distances within one cluster a pick.
    """
    points = distances.Points(state.X, aux)

    def one(seed):
        label, labeled, rows = seed

        def value(free):
            return jnp.where(free, typicality(points, jnp.where(free, 0, 1), 1, rule), -jnp.inf)

        def step(free, row):
            return free.at[row].set(False), value(free & (label == label[row]))

        return lax.scan(step, ~labeled, rows)[1]

    return lax.map(one, (_labels(keys, points, state, clusters, most, batch), state.labeled, rows))


def typicality(points, group, n_groups: int, rule: _Rule):
    """Of rows among those of their group, (N,); group (N,) is `n_groups` for rows that are in none."""
    members = jnp.zeros(n_groups, jnp.int32).at[group].add(1, mode="drop")
    k = jnp.minimum(rule.k, members // 2 if rule.official else jnp.maximum(members - 1, 0))
    mean = neighbors.mean_distance(points, group, k, k=rule.k, root=not rule.official)
    k = jnp.append(k, 0)[group]
    number = k.astype(mean.dtype)
    return jnp.where(k > 0, 1 / (mean + 1e-5) if rule.official else number / (number * mean + 1e-7), 1)


def pick(key, points, label, labeled, n_clusters: int, n_picks: int, rule: _Rule):
    """Rows (B,) and typicalities (B,) given the clusters of one seed: label (N,) in 0..n_clusters-1."""
    n, n_groups = len(label), min(n_clusters, n_picks)
    row_key, cluster_key = jax.random.split(key)
    row_lots, cluster_lots = lazy.priorities(row_key, n), lazy.priorities(cluster_key, n_clusters)
    clusters, groups = (jnp.arange(size, dtype=jnp.int32) for size in (n_clusters, n_groups))

    def tally(mask):
        return jnp.zeros(n_clusters, jnp.int32).at[label].add(mask.astype(jnp.int32))

    size, n_labeled = tally(jnp.ones(n, bool)), tally(labeled)

    def order(left, picked_from):
        """Clusters in the order they are served, and how many are in this round: none that has nothing left, and those
        of the second rank only when no other has."""
        second = size <= _SMALL if rule.official else (n_labeled > 0) | picked_from
        usable = jnp.where(((left > 0) & ~second).any(), (left > 0) & ~second, left > 0)
        labels_first, ties = (n_labeled, clusters) if rule.official else (jnp.zeros_like(size), cluster_lots)
        *_, order = lax.sort((~usable, labels_first, -size, ties, clusters), num_keys=4)
        return order, usable.sum(dtype=jnp.int32)

    def most_typical(group):
        """The row of each group (N,) of least mean distance, the largest lot among equals, and its typicality; N for a
        group that is not there."""
        members = jnp.zeros(n_groups, jnp.int32).at[group].add(1, mode="drop")
        k = jnp.minimum(rule.k, members // 2 if rule.official else jnp.maximum(members - 1, 0))
        mean = neighbors.mean_distance(points, group, k, k=rule.k, root=not rule.official)
        least = jnp.full(n_groups, jnp.inf, mean.dtype).at[group].min(mean, mode="drop")
        own = jnp.minimum(group, n_groups - 1)
        best = (group < n_groups) & (mean == least[own])
        lot = jnp.full(n_groups, -1, jnp.int32).at[jnp.where(best, group, n_groups)].max(row_lots, mode="drop")
        best = jnp.where(best & (row_lots == lot[own]), group, n_groups)
        row = jnp.full(n_groups, n, jnp.int32).at[best].min(jnp.arange(n, dtype=jnp.int32), mode="drop")
        number = k.astype(mean.dtype)
        typicality = 1 / (least + 1e-5) if rule.official else number / (number * least + 1e-7)
        return row, jnp.where(k > 0, typicality, 1)

    def round_(state):
        """A row from each cluster, in order, as long as rows are wanted."""
        free, picked_from, count, rows, scores = state
        served, usable = order(tally(free), picked_from)
        in_round = groups < jnp.minimum(usable, n_picks - count)
        place = (
            jnp.full(n_clusters, n_groups, jnp.int32).at[served[:n_groups]].set(jnp.where(in_round, groups, n_groups))
        )
        row, typicality = most_typical(jnp.where(free, place[label], n_groups))
        at = jnp.where(in_round, count + groups, n_picks)
        return (
            free.at[row].set(False, mode="drop"),
            picked_from | (place < n_groups),
            count + in_round.sum(dtype=jnp.int32),
            rows.at[at].set(row, mode="drop"),
            scores.at[at].set(typicality, mode="drop"),
        )

    nothing = jnp.zeros(n_picks, jnp.int32)
    state = (~labeled, jnp.zeros(n_clusters, bool), jnp.int32(0), nothing, jnp.zeros(n_picks, points.X.dtype))
    *_, rows, scores = lax.while_loop(lambda state: state[2] < n_picks, round_, state)
    return rows, scores
