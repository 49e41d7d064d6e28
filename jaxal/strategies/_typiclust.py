"""TypiClust: the most typical row of each cluster that has no label yet. Also an initial pool selection."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxal.numerics import distances, neighbors, programs, threefry
from jaxal.numerics.arrays import capacity, index_if, split_each, tie_breaks
from jaxal.numerics.kmeans import kmeans
from jaxal.strategies.interface import Strategy, check_setting

_MAX_CLUSTERS = 500
_LLOYD_CLUSTERS = 50  # with more than so many clusters the official code takes mini-batches
_MINI_BATCH = 5000
_SMALL = 5  # clusters of so many rows or fewer come last


class _Rule(NamedTuple):
    """Where the variants differ."""

    k: int  # neighbors
    official: bool


class Carry(NamedTuple):
    """Kept from cycle to cycle by the variant skactiveml: what k-means begins with."""

    keys: Array  # (S,) those of the first query
    known: Array  # (S,) bool, whether there was one


def typiclust(variant="official", k: int | None = None):
    """k-means into as many clusters as rows will be labeled. Then the most typical row of each cluster without a label,
    largest cluster first. A row's typicality is the inverse of its mean distance to its k nearest neighbors in its
    cluster.

    official: rows of length 1; at most 500 clusters, by mini-batches above 50; squared distances to 20 neighbors, or to
    half the cluster where that is smaller. Clusters with fewest labels come first, of these the largest; those of 5
    rows or fewer come last; when all have given a row the next round begins.
    skactiveml: rows as they are; no limit on clusters; Lloyd; distances to k = 5 neighbors; clusters of equal size in
    random order. k-means begins with the same random numbers in every query of a run, as theirs does with an int
    `random_state`, so that most clusters of one query are there in the next.
    Both: where the rule finds no row, clusters with labels, or small ones, give their most typical row.
    Score: the typicality.
    Cost: k-means, O(N K D) an iteration, then distances within the clusters picked from.
    Differs from: k-means starts once here. In the scikit-learn that the official code pins it starts 10 times, and
    mini-batches 3 times.
    Reference: Hacohen et al., ICML 2022, section 4.
    """
    official = variant == "official"
    rule = _Rule((20 if official else 5) if k is None else check_setting("typiclust.k", k, int, 1), official)

    def prepare(pool, key):
        return distances.norms(pool.X, normalize=official)

    def init(aux, state):
        n_seeds = len(state.labels)
        return () if official else Carry(jax.random.split(threefry.key(0), n_seeds), jnp.zeros(n_seeds, bool))

    def select(keys, aux, carry, state):
        if not official:
            carry = Carry(jnp.where(carry.known, carry.keys, keys), jnp.ones_like(carry.known))
        cluster_keys = keys if official else carry.keys
        clusters, max_clusters, batch = _size(state, official)
        options = {"max_clusters": max_clusters, "batch": batch, "rule": rule}
        n_picks = state.batch_size
        roomy = replace(state, batch_size=capacity(n_picks))  # one program serves many sizes of initial pools
        found = _kept_select(keys, cluster_keys, aux, roomy, clusters, np.int32(n_picks), **options)
        rows, scores = (np.asarray(part)[:, :n_picks] for part in found)
        return rows, scores, carry

    def utilities(keys, aux, state, rows):
        return _utilities(keys, aux, state, rows, *_size(state, official), rule)

    return Strategy(prepare, init, select, host=True, utilities=utilities)


def _size(state, official: bool):
    """The number of clusters, the number that is compiled for, and the rows of a mini-batch."""
    n = state.X.shape[0]
    n_labeled = int(np.asarray(state.labeled.sum(axis=1)).max())
    limit = min(_MAX_CLUSTERS, n) if official else n
    clusters = min(n_labeled + state.batch_size, limit)
    lloyd = not official or clusters <= _LLOYD_CLUSTERS
    most = _LLOYD_CLUSTERS if official and lloyd else limit
    return clusters, min(capacity(clusters, state.most_labeled), most), None if lloyd else _MINI_BATCH


_STATIC = ("max_clusters", "batch", "rule")


@partial(jax.jit, static_argnames=_STATIC)
def _select(keys, cluster_keys, aux, state, clusters, n_picks, max_clusters, batch, rule):
    """Rows and scores (S, B), of which `n_picks` are the picks."""
    points = distances.Points(state.X, aux)
    labels = _labels(cluster_keys, points, state, clusters, max_clusters, batch)
    _, pick_keys = split_each(keys)

    def one(seed):
        key, label, labeled = seed
        return pick(key, points, label, labeled, max_clusters, n_picks, state.batch_size, rule)

    return lax.map(one, (pick_keys, labels, state.labeled))


def _labels(keys, points, state, clusters, max_clusters, batch):
    """The cluster of every row, (S, N)."""
    n_seeds, n = state.labels.shape
    cluster_keys, _ = split_each(keys)
    rows, valid = jnp.arange(n, dtype=jnp.int32)[None], jnp.ones((n_seeds, n), bool)
    return kmeans(cluster_keys, points, rows, valid, clusters, max_clusters=max_clusters, batch=batch).labels


_kept_select = programs.Kept(
    _select, "typiclust", _STATIC, quick=lambda keys, cluster_keys, aux, state, *_, **__: state.small
)


@partial(jax.jit, static_argnames=_STATIC)
def _utilities(keys, aux, state, rows, clusters, max_clusters, batch, rule):
    """The typicality of what is left of the cluster that is picked from; of all other rows -inf.

    Cost: the k-means of `select` once more, then a sort of N and the distances within one cluster a pick.
    """
    points = distances.Points(state.X, aux)

    def one(seed):
        label, labeled, rows = seed

        def step(free, row):
            group = jnp.where(free & (label == label[row]), 0, 1)
            mean, k = _mean_distance(points, group, 1, rule)
            typicality = _typicality(mean, k[0], rule)
            return free.at[row].set(False), jnp.where(group == 0, typicality, -jnp.inf)

        return lax.scan(step, ~labeled, rows)[1]

    return lax.map(one, (_labels(keys, points, state, clusters, max_clusters, batch), state.labeled, rows))


def _mean_distance(points, group, n_groups: int, rule: _Rule):
    """Mean (squared, if official) distance (N,) of rows to their neighbors in their group, and how many those are.

    group: (N,) 0 .. n_groups-1, or n_groups for rows that are in none. Returns: (N,), and k (n_groups,).
    """
    members = jnp.zeros(n_groups, jnp.int32).at[group].add(1, mode="drop")
    k = jnp.minimum(rule.k, members // 2 if rule.official else jnp.maximum(members - 1, 0))
    return neighbors.mean_distance(points, group, k, k=rule.k, root=not rule.official), k


def _typicality(mean, k, rule: _Rule):
    """The typicality of a mean distance to k neighbors; 1 where there is none."""
    number = k.astype(mean.dtype)
    return jnp.where(k > 0, 1 / (mean + 1e-5) if rule.official else number / (number * mean + 1e-7), 1)


class _Clustered(NamedTuple):
    """The clusters of one seed, and what decides between them."""

    points: distances.Points
    label: Array  # (N,) cluster of each row, 0 .. K-1
    size: Array  # (K,) rows
    n_labeled: Array  # (K,) labeled rows
    row_ties: Array  # (N,) int32, random: of equal rows the one with the largest is taken
    cluster_ties: Array  # (K,) int32, random
    n_picks: Array  # () int32
    room: int  # for picks
    rule: _Rule

    @property
    def n_groups(self) -> int:
        """Clusters that are picked from in one round, at most."""
        return min(len(self.size), self.room)

    def tally(self, mask):
        """(K,) how many rows of each cluster are in the mask (N,)."""
        return jnp.zeros(len(self.size), jnp.int32).at[self.label].add(mask.astype(jnp.int32))


class _Picking(NamedTuple):
    """Where `pick` stands after some rounds."""

    free: Array  # (N,) rows that may still be picked
    picked_from: Array  # (K,) clusters
    n_picked: Array  # ()
    rows: Array  # (room,)
    scores: Array  # (room,)


def pick(key, points, label, labeled, n_clusters: int, n_picks, room: int, rule: _Rule):
    """Rows and typicalities given the clusters of one seed: label (N,) in 0 .. n_clusters-1.

    n_picks: () int32, how many; the others of the (room,) that are returned mean nothing.
    """
    row_key, cluster_key = jax.random.split(key)
    nothing = jnp.zeros(n_clusters, jnp.int32)
    row_ties, cluster_ties = tie_breaks(row_key, len(label)), tie_breaks(cluster_key, n_clusters)
    clustered = _Clustered(points, label, nothing, nothing, row_ties, cluster_ties, n_picks, room, rule)
    clustered = clustered._replace(size=clustered.tally(jnp.ones(len(label), bool)), n_labeled=clustered.tally(labeled))
    state = _Picking(
        free=~labeled,
        picked_from=jnp.zeros(n_clusters, bool),
        n_picked=jnp.int32(0),
        rows=jnp.zeros(room, jnp.int32),
        scores=jnp.zeros(room, points.X.dtype),
    )
    state = lax.while_loop(lambda state: state.n_picked < n_picks, partial(_round, clustered), state)
    return state.rows, state.scores


def _round(clustered: _Clustered, state: _Picking) -> _Picking:
    """A row from each cluster, in order, as long as rows are wanted."""
    n_clusters, n_groups, n_picks = len(clustered.size), clustered.n_groups, clustered.n_picks
    order, usable = _order(clustered, state)
    groups = jnp.arange(n_groups, dtype=jnp.int32)
    in_round = groups < jnp.minimum(usable, n_picks - state.n_picked)
    place = jnp.full(n_clusters, n_groups, jnp.int32).at[order[:n_groups]].set(index_if(in_round, groups, n_groups))
    row, typicality = _most_typical(clustered, index_if(state.free, place[clustered.label], n_groups))
    at = index_if(in_round, state.n_picked + groups, clustered.room)
    return _Picking(
        free=state.free.at[row].set(False, mode="drop"),
        picked_from=state.picked_from | (place < n_groups),
        n_picked=state.n_picked + in_round.sum(dtype=jnp.int32),
        rows=state.rows.at[at].set(row, mode="drop"),
        scores=state.scores.at[at].set(typicality, mode="drop"),
    )


def _order(clustered: _Clustered, state: _Picking):
    """Clusters (K,) in the order they are picked from, and how many of them this round.

    A cluster with nothing left is not picked from; one of the second rank only when no other has anything left.
    """
    size, left, official = clustered.size, clustered.tally(state.free), clustered.rule.official
    clusters = jnp.arange(len(size), dtype=jnp.int32)
    second = size <= _SMALL if official else (clustered.n_labeled > 0) | state.picked_from
    usable = jnp.where(((left > 0) & ~second).any(), (left > 0) & ~second, left > 0)
    fewest_labels = clustered.n_labeled if official else jnp.zeros_like(size)
    ties = clusters if official else clustered.cluster_ties
    *_, order = lax.sort((~usable, fewest_labels, -size, ties, clusters), num_keys=4)
    return order, usable.sum(dtype=jnp.int32)


def _most_typical(clustered: _Clustered, group):
    """The row of each group that is most typical, and its typicality.

    group: (N,) 0 .. n_groups-1, or n_groups for rows that cannot be picked.
    Returns: rows (n_groups,), N for a group that has none, and typicalities (n_groups,).
    """
    rule, n_groups, n = clustered.rule, clustered.n_groups, len(group)
    mean, k = _mean_distance(clustered.points, group, n_groups, rule)
    least = jnp.full(n_groups, jnp.inf, mean.dtype).at[group].min(mean, mode="drop")
    own = jnp.minimum(group, n_groups - 1)
    best = (group < n_groups) & (mean == least[own])
    tie = jnp.full(n_groups, -1, jnp.int32).at[index_if(best, group, n_groups)].max(clustered.row_ties, mode="drop")
    best = best & (clustered.row_ties == tie[own])
    rows = jnp.arange(n, dtype=jnp.int32)
    row = jnp.full(n_groups, n, jnp.int32).at[index_if(best, group, n_groups)].min(rows, mode="drop")
    return row, _typicality(least, k, rule)
