"""DropQuery: rows whose prediction changes when features are dropped, spread out by k-means."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxal.errors import ConfigError
from jaxal.numerics import blocks, distances, logreg, neighbors, programs
from jaxal.numerics.arrays import index_if, lowest_index, split_each, tie_breaks, true_indices
from jaxal.numerics.kmeans import kmeans
from jaxal.strategies.interface import Strategy, check_setting

_ENOUGH = 25  # with fewer candidates than this times B, the official rule asks for fewer disagreements
_FEW = 2048  # candidates that are clustered so fast that a program of its own for fewer would not pay
_A_WORD = 16  # features whose masks are in one word of random bits
_NEAREST = 4  # nearest rows that are kept of a centroid; when all are taken, all rows are looked at


class _Rule(NamedTuple):
    """Where the variants differ."""

    n_masks: int
    official: bool


def dropquery(variant="official", n_masks: int | None = None):
    """Predict `n_masks` times with three quarters of the features dropped. Candidates are rows whose predictions differ
    from the one on all features. Cluster them into B clusters, and take the row nearest to each centroid.

    official: 3 masks, kept features times 4. Candidates differ in more than half of the predictions; where those are
    fewer than 25 B, in fewer. They are clustered at length 1. Fewer candidates than B are filled up with unlabeled rows
    drawn uniformly.
    skactiveml: 20 masks as in the study (the library's default is 5), kept features as they are. Candidates differ in
    more than half of the predictions, or are the B that differ most. They are clustered as they are, and each centroid
    in turn takes its nearest candidate that is left.
    Score: the share of predictions that differ.
    Cost: O(N M C D) for M masks, and k-means on the candidates.
    A `State.predict` takes the place of jaxal's classifier: it is called M + 1 times, on the host, with the whole pool.
    Differs from: the official code clusters features after batch normalisation; here there is none.
    Reference: Gupte et al., 2024, Algorithm 1.
    """
    official = variant == "official"
    default = 3 if official else 20
    rule = _Rule(default if n_masks is None else check_setting("dropquery.n_masks", n_masks, int, 1), official)

    def prepare(pool, key):
        return distances.norms(pool.X, normalize=official)

    def select(keys, aux, carry, state):
        cluster_keys, state, disagreeing, candidates, size = uncertain(keys, state)
        rows, scores = _kept_spread(cluster_keys, aux, state, disagreeing, candidates, size=size, rule=rule)
        return rows, scores, carry

    def utilities(keys, aux, state, rows):
        cluster_keys, state, _, candidates, size = uncertain(keys, state)
        return _utilities(cluster_keys, aux, state, candidates, size, rule)

    def uncertain(keys, state):
        if state.log_probabilities is not None:
            raise ConfigError("dropquery drops features of jaxal's own classifier: it cannot use given probabilities")
        counted = None if state.predict is None else given_disagreements(split_each(keys, 3)[0], state, rule)
        cluster_keys, disagreeing, candidates, most = _kept_uncertain(
            keys, replace(state, predict=None), counted, rule=rule
        )
        size = next(size for size in _sizes(len(state.X)) if size >= int(most))
        # What follows does not depend on the classifier: it must not be compiled anew for another one.
        return cluster_keys, replace(state, params=None, predict=None), disagreeing, candidates, size

    return Strategy(prepare, lambda aux, state: (), select, host=True, utilities=utilities)


def _sizes(n: int) -> list[int]:
    """What numbers of candidates are padded to, up to n, the least first. A program is compiled for each, and padding
    costs k-means a fifth on average.
    """
    shares = (-(-n * share // (4 << k)) for k in range(n.bit_length()) for share in (3, 4))
    return sorted({size for size in shares if size >= _FEW} | {n})


@partial(jax.jit, static_argnames="rule")
def _uncertain(keys, state, counted, rule: _Rule):
    """Keys for what follows (S,), disagreements and candidates (S, N), and the most candidates of a seed.

    counted: (S, N) the disagreements where `State.predict` counted them, or None.
    """
    mask_keys, tie_keys, cluster_keys = split_each(keys, 3)
    disagreeing = disagreements(mask_keys, state, rule) if counted is None else counted
    candidates = _candidates(tie_keys, disagreeing, state.labeled, state.batch_size, rule)
    return cluster_keys, disagreeing, candidates, candidates.sum(axis=1).max()


_kept_uncertain = programs.Kept(
    _uncertain, "dropquery, candidates", ("rule",), quick=lambda keys, state, *_, **__: state.small
)


def keep_masks(key, rows, dim: int):
    """(R, dim) bool for rows (R,): each feature is kept with probability 1/4.

    A row's mask depends on the key and the row alone, not on the block that it is computed in.
    """
    return _is_kept(_mask_words(key, rows, dim)).reshape(len(rows), -1)[:, :dim]


def _mask_words(key, rows, dim: int):
    """(R, W) uint32, two bits for each of 16 features: it is kept where the lower one is set, as one of four is."""
    words = jax.vmap(lambda row: jax.random.bits(jax.random.fold_in(key, row), (-(-dim // _A_WORD),), jnp.uint32))(rows)
    return words & (words >> 1)


def _is_kept(words):
    """(..., W) `_mask_words` -> (..., W, 16) bool."""
    lower_bits = jnp.uint32(1) << (2 * jnp.arange(_A_WORD, dtype=jnp.uint32))
    return words[..., None] & jnp.expand_dims(lower_bits, range(words.ndim)) != 0


def disagreements(keys, state, rule: _Rule):
    """(S, N) int32, how many of the masks change the prediction of a row."""
    n_seeds, (n, dim) = len(keys), state.X.shape
    factor = jnp.asarray(4 if rule.official else 1, state.X.dtype)
    padding = -dim % _A_WORD  # features that are 0
    padded = state.params._replace(W=jnp.pad(state.params.W, ((0, 0), (0, 0), (0, padding))))

    def predicted(Z):
        """The most probable class of logits (S, C, R); ties to the lower one."""
        return lowest_index(Z.max(axis=1, keepdims=True) == Z, axis=1)

    def block(start, size):
        x = blocks.take(state.X, start, size)
        full = predicted(logreg.logits_of(state.params, x))
        features = jnp.pad(factor * x, ((0, 0), (0, padding))).reshape(size, -1, _A_WORD)
        rows = start + jnp.arange(size, dtype=jnp.int32)

        def words(m):
            return jax.vmap(lambda key: _mask_words(jax.random.fold_in(key, m), rows, dim))(keys)

        def mask(m, carry):
            # A mask's words come from the round before: XLA draws them 16 times over where one kernel uses them too.
            count, now = carry
            dropped = jnp.where(_is_kept(now), features[None], 0).reshape(n_seeds, size, -1)
            Z = jnp.swapaxes(logreg.logits_each(padded, dropped), 1, 2)
            return count + (predicted(Z) != full).astype(jnp.int32), words(m + 1)

        start_count = jnp.zeros((n_seeds, size), jnp.int32)
        return lax.fori_loop(0, rule.n_masks, mask, (start_count, words(0)))[0]

    return blocks.map_blocks(block, n, blocks.rows(n_seeds * dim))


def given_disagreements(keys, state, rule: _Rule):
    """`disagreements` of `state.predict`, called on the host with the whole pool: once, and once a seed and mask."""
    X = np.asarray(state.X)
    full, factor = np.asarray(state.predict(X)), X.dtype.type(4 if rule.official else 1)
    rows = jnp.arange(len(X), dtype=jnp.int32)

    def differs(key, m):
        kept = np.asarray(keep_masks(jax.random.fold_in(key, m), rows, X.shape[1]))
        return np.asarray(state.predict(np.where(kept, factor * X, X.dtype.type(0)))) != full

    counts = [sum(differs(key, m).astype(np.int32) for m in range(rule.n_masks)) for key in keys]
    return jnp.asarray(np.array(counts, np.int32))


def _candidates(keys, disagreeing, labeled, batch_size, rule):
    """(S, N) bool: the rows to spread the batch over, at least B of them."""

    def one(seed):
        key, count, labeled = seed
        count = jnp.where(labeled, -1, count)
        if rule.official:
            # the strictest threshold that leaves enough, or 0: any disagreement
            thresholds = jnp.arange(rule.n_masks // 2 + 1, dtype=jnp.int32)
            enough = (count[None] > thresholds[:, None]).sum(axis=1) >= _ENOUGH * batch_size
            threshold = jnp.where(enough, thresholds, 0).max()
        else:
            threshold = rule.n_masks // 2
        above = count > threshold
        # Where that is fewer than B: all of them, and of the rest uniformly, or those that disagree most.
        rank = jnp.where(above, rule.n_masks + 1, jnp.zeros_like(count) if rule.official else count)
        rank = jnp.where(labeled, -1, rank)
        *_, rows = lax.sort((-rank, tie_breaks(key, len(count)), jnp.arange(len(count), dtype=jnp.int32)), num_keys=2)
        best = jnp.zeros(len(count), bool).at[rows[:batch_size]].set(True)
        return jnp.where(above.sum() < batch_size, best, above)

    return lax.map(one, (keys, disagreeing, labeled))


@partial(jax.jit, static_argnames=("size", "rule"))
def _spread(keys, aux, state, disagreeing, candidates, size, rule):
    """A row for each of B clusters of the candidates, (S, B), and their scores; size: no fewer than the candidates."""
    points, n_picks = distances.Points(state.X, aux), state.batch_size
    cluster_keys, fill_keys = split_each(keys)
    rows, valid, found = _clusters(cluster_keys, points, candidates, n_picks, size)

    def one(seed):
        key, rows, valid, label, squared, centers = seed
        if rule.official:
            chosen = nearest_members(label, squared, valid, n_picks)
        else:
            chosen = nearest_left(points, rows, valid, centers)
        return rows[_fill(key, chosen, valid)]

    rows = lax.map(one, (fill_keys, rows, valid, found.labels, found.squared, found.centers))
    scores = jnp.take_along_axis(disagreeing, rows, axis=1).astype(state.X.dtype) / rule.n_masks
    return rows, scores


_kept_spread = programs.Kept(
    _spread, "dropquery", ("size", "rule"), quick=lambda keys, aux, state, *_, **__: state.small
)


def _clusters(keys, points, candidates, n_clusters, size):
    """The candidates as rows (S, size), which of them count (S, size), and their `Clusters`."""
    rows = true_indices(candidates, size)
    valid = jnp.arange(size, dtype=jnp.int32)[None] < candidates.sum(axis=1, dtype=jnp.int32)[:, None]
    return rows, valid, kmeans(keys, points, rows, valid, jnp.int32(n_clusters), max_clusters=n_clusters)


@partial(jax.jit, static_argnames=("size", "rule"))
def _utilities(keys, aux, state, candidates, size, rule):
    """Minus the distance to the centroid whose turn it is, of the candidates (official: those of its cluster); of all
    other rows -inf. Where a cluster has no candidate a random one is taken: 0 for those that are nobody's nearest.

    Cost: the disagreements and the k-means of `select` once more, and B distances a candidate.
    """
    points, n_picks, n = distances.Points(state.X, aux), state.batch_size, len(state.X)
    cluster_keys, _ = split_each(keys)
    numbers = jnp.arange(n_picks, dtype=jnp.int32)[:, None]

    def one(seed):
        rows, valid, label, squared, centers = seed
        if rule.official:
            chosen = nearest_members(label, squared, valid, n_picks)
            spare = valid.at[chosen].set(False, mode="drop")
            near = jnp.where(label[None] == numbers, -jnp.sqrt(squared)[None], -jnp.inf)
            near = jnp.where((chosen < size)[:, None], near, jnp.where(spare, 0, -jnp.inf)[None].astype(near.dtype))
        else:

            def block(start, size):
                return distances.squared(centers, points.at(blocks.take(rows, start, size)))

            near = -jnp.sqrt(blocks.map_blocks(block, size, blocks.rows(n_picks)))
        at = index_if(valid, rows, n)
        return jnp.full((n_picks, n), -jnp.inf, near.dtype).at[:, at].set(near, mode="drop")

    rows, valid, found = _clusters(cluster_keys, points, candidates, n_picks, size)
    return lax.map(one, (rows, valid, found.labels, found.squared, found.centers))


def nearest_members(label, squared, valid, n_clusters: int):
    """Positions (K,) of the row nearest to its centroid in each cluster, the first of equals; M where there is none.

    label (M,), squared distances to the centroid (M,), valid (M,) of the candidates.
    """
    size = len(label)
    least = jnp.full(n_clusters, jnp.inf, squared.dtype).at[label].min(squared, mode="drop")
    best = valid & (squared == least[jnp.minimum(label, n_clusters - 1)])
    positions = jnp.arange(size, dtype=jnp.int32)
    return jnp.full(n_clusters, size, jnp.int32).at[index_if(best, label, n_clusters)].min(positions, mode="drop")


def nearest_left(points, rows, valid, centers):
    """Positions (K,) of the row nearest to each centroid, in their order, of those not taken before."""
    near = neighbors.nearest_rows(points, rows, valid, centers, _NEAREST)

    def choose(i, state):
        free, chosen = state

        def search():
            def block(start, size):
                return distances.differences(centers[i][None], points.at(blocks.take(rows, start, size))[None])

            squared = blocks.map_blocks(block, len(rows), blocks.rows(centers.shape[1]))[0]
            return jnp.argmin(jnp.where(free, squared, jnp.inf)).astype(jnp.int32)

        among = free[near[i]]
        row = lax.cond(among.any(), lambda: near[i][jnp.argmax(among)], search)
        return free.at[row].set(False), chosen.at[i].set(row)

    return lax.fori_loop(0, len(centers), choose, (valid, jnp.zeros(len(centers), jnp.int32)))[1]


def _fill(key, chosen, valid):
    """Positions (B,), those that are M (there was none) replaced by random others that count."""
    size = len(valid)
    free = valid.at[chosen].set(False, mode="drop")
    order = jnp.where(free, tie_breaks(key, size), -1)
    spare = lax.top_k(order.astype(jnp.float32), min(len(chosen), size))[1].astype(jnp.int32)
    missing = chosen == size
    return jnp.where(missing, spare[jnp.cumsum(missing) - 1], chosen)
