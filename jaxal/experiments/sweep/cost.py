"""What a sweep will take: seconds from a count of its work, at rates fitted on what has been measured; memory."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxal.data.sizes import Sizes
from jaxal.experiments.sweep.plan import Group, Plan, Run, batch_size

# Seconds for 1e9 units of work (`_work`) on two CPU cores, `fitted` to nine pools of scripts/reproduce, D = 50 to 512,
# C = 2 to 77; they give each pool's time within a factor of 2. Those of a sweep's own tables take their place where
# there are any. Work of one's own strategies counts as margin's.
RATES = {"fit": 1.2, "eval": 0.049, "random": 21, "margin": 0.048, "entropy": 0.052, "badge": 0.012, "coreset": 0.016,
         "typiclust": 0.48, "probcover": 1.1, "dropquery": 0.53}  # fmt: skip
_FIT_CLASSES = 10  # what a fit does beside its products, as so many classes more
_MOST_CLUSTERS = 500  # of TypiClust's official k-means
_LLOYD = 0.3  # of the distances that the official mini-batches compute for as many clusters, with bounds
_PICK = {"badge": 8e6, "coreset": 3e6}  # units that a pick costs, whatever the pool
_GRAPH = 2e-11  # seconds for each of the N^2 D products of ProbCover's graph, once a pool
_START, _COMPILE = 6.0, 3.0  # seconds: of a process and the classifier's programs, and of a strategy's, compiled anew
_PROCESS = 0.9e9  # bytes of a process without a pool: programs, and room for compiling them


class Cost(NamedTuple):
    """An estimate for a group."""

    seconds: float
    bytes: float


def _work(name: str, sizes: Sizes, labeled: np.ndarray, batch: int, variant: str = "official") -> np.ndarray:
    """Units of work of one seed's step with so many labeled rows: `fit`, `eval`, or the query of a strategy.

    Args: labeled: (T,) L at each step: after the query for a fit, before it for a query. Returns: (T,) float64.
    """
    _, _, n, m, dim, n_classes = sizes
    scores = float(n) * dim * n_classes
    clusters = labeled + batch
    met = np.minimum(clusters, _MOST_CLUSTERS) if variant == "official" else _LLOYD * clusters  # by each row
    units = {
        "fit": labeled * float(dim * (n_classes + _FIT_CLASSES)),
        "eval": float(m) * dim * n_classes,
        "random": float(n),
        "badge": scores + _PICK["badge"] * batch,
        "coreset": float(n) * dim + _PICK["coreset"] * batch,
        "typiclust": float(n) * dim * met,
        "probcover": float(n) * batch,
        "dropquery": float(n) * dim * batch,  # its k-means costs more than its predictions
    }
    return np.broadcast_to(units.get(name, scores), np.shape(labeled))


def fitted(measured: Iterable[tuple[Sizes, pd.DataFrame]]) -> dict[str, float]:
    """Seconds for 1e9 units of each kind of work, from results tables and the sizes of their pools.

    The rate of a kind is all its seconds over all its units: long steps count for more, as they do in what is asked.
    """
    seconds: dict[str, float] = defaultdict(float)
    units: dict[str, float] = defaultdict(float)
    for sizes, table in measured:
        for _, rows in table.groupby(["strategy", "variant", "pool_size", "batch_size"], sort=False):
            first = rows.iloc[0]
            name, batch = str(first["strategy"]), int(first["batch_size"])
            capped = sizes._replace(n_rows=int(first["pool_size"]))
            queries = rows[rows["cycle"] > 0]  # before them the initial pool was chosen, in another way
            for kind, column, of in (("fit", "fit", rows), ("eval", "eval", rows), (name, "select", queries)):
                labeled = of["n_labeled"].to_numpy(float) - batch * (column == "select")
                # seconds are of a whole block of seeds, and stand in the row of each
                seconds[kind] += float((of[f"{column}_seconds"] / of["seeds_in_block"]).sum())
                units[kind] += float(_work(kind, capped, labeled, batch, first["variant"]).sum())
    return {kind: 1e9 * seconds[kind] / units[kind] for kind in units if units[kind] > 0}


def estimate(
    group: Group, plan: Plan, todo: Mapping[str, list[str]], rates: Mapping[str, float] = RATES
) -> Cost | None:
    """What the strategies that are `todo`, by run folder, will take; None for a pool whose sizes are unknown."""
    if group.sizes is None:
        return None
    n_seeds = len(plan.seeds)
    left = [(run, todo[run.folder]) for run in group.runs if todo.get(run.folder)]
    new = {name for _, names in left for name in names}
    seconds = _START + _COMPILE * len(new) if left else 0.0
    for run, names in left:
        seconds += n_seeds * sum(_seconds(group, run, name, rates) for name in names)
        if "probcover" in (*names, run.settings["ips"]):
            seconds += _GRAPH * group.sizes.dim * float(group.sizes.n_rows) ** 2
    return Cost(seconds, max((_bytes(group, run, n_seeds) for run, _ in left), default=0.0))


def _seconds(group: Group, run: Run, name: str, rates: Mapping[str, float]) -> float:
    """Of one strategy and seed."""
    assert group.sizes is not None
    batch = batch_size(group, run)
    n = min(group.sizes.n_rows, run.settings["pool_size"] or group.sizes.n_rows)
    sizes = group.sizes._replace(n_rows=n)
    after = batch * np.arange(1, run.cycles + 2)
    kinds = (("fit", after), ("eval", after), (run.settings["ips"], after[:1] * 0), (name, after[:-1]))
    rate = RATES | dict(rates)
    variant = run.settings["variant"]
    units = ((kind, float(_work(kind, sizes, labeled, batch, variant).sum())) for kind, labeled in kinds)
    return sum(rate.get(kind, rate["margin"]) / 1e9 * work for kind, work in units)


def _bytes(group: Group, run: Run, n_seeds: int) -> float:
    """Peak memory of a process: the pool as read, capped or normalized, and what seeds have of their own."""
    assert group.sizes is not None
    _, _, n, m, dim, n_classes = group.sizes
    capped = min(n, run.settings["pool_size"] or n)
    copies = (capped < n) * capped + run.settings["normalize"] * (capped + m)
    labeled = batch_size(group, run) * (run.cycles + 1)
    of_seeds = n_seeds * (6 * capped + 16 * dim * n_classes)
    return _PROCESS + 4.0 * (dim * (n + m + copies + 2 * labeled) + of_seeds)


def longest_first(plan: Plan) -> Plan:
    """The plan with the groups that take longest first; pools of unknown sizes come last. At RATES: always the same."""
    everything = {group.folder: {run.folder: plan.strategies for run in group.runs} for group in plan.groups}
    costs = {group.folder: estimate(group, plan, everything[group.folder]) for group in plan.groups}
    return plan._replace(groups=sorted(plan.groups, key=lambda g: -(costs[g.folder] or Cost(0, 0)).seconds))
