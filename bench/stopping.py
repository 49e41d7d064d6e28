"""Which stopping rule to trust: what each would have cost on stored curves, and how often `target` was right.

    python bench/stopping.py --results runs/trec6 --pool trec6-minilm.npz [--results ... --pool ...] [--out DIR]

`--results` is a results folder of `jaxal run`, the pool that of it (an .npz file or the folder of a stored one); both
may be given several times, in the same order. Fits are computed once more from the picks: some 20 s for eight
strategies, 5 seeds, 20 cycles of TREC-6, and two minutes for Banking77.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import write


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True, type=Path, action="append")
    parser.add_argument("--pool", required=True, type=Path, action="append")
    parser.add_argument("--out", type=Path, help="folder for stopping.json and stopping.md")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")

    import jaxal
    from jaxal.experiments.replay import replay
    from jaxal.reporting.stopping import kept, regrets

    rows, below = [], ""
    for folder, path in zip(options.results, options.pool, strict=True):
        began = time.perf_counter()
        pool = jaxal.load(path)
        seen = replay(folder, pool, on_run=lambda name: print(f"  {name}", flush=True))
        name = path.stem if path.suffix == ".npz" else f"{pool.dataset}-{pool.model}"
        stops = regrets(seen)
        for (price, rule), found in stops.groupby(["price", "rule"]):
            rows.append({"pool": name, "price": price, "rule": rule, "curves": len(found)})
            rows[-1] |= found[["fired", "regret", "labels", "accuracy"]].mean().to_dict()
            print(line(rows[-1]), flush=True)
        below += by_strategy(name, stops) + estimates(name, seen) + words_kept(name, kept(seen))
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    write(options, "stopping", TITLE, HEADER, rows, line, below)


TITLE = """# Stopping rules on stored curves

Made by `bench/stopping.py` from `jaxal run` with 8 strategies, 10 seeds and 20 cycles, on the pools below.
The price is how many labels one point of accuracy is worth. Each curve has a cycle that is the cheapest at that price;
the regret is what stopping where the rule said cost beyond it, in labels. A rule that never fires labels everything.
Labels and accuracy are those of the stop minus those of the cheapest cycle; all are means over the curves. `curve`
stops when the learning curve of `target` says that the next batch is worth less than its labels; it needs accuracies,
from a test split or an audit."""

HEADER = (
    "| pool | price, labels a point | rule | fired | regret, labels | labels | accuracy, points |\n"
    "|---|---|---|---|---|---|---|"
)


def line(row):
    return (
        f"| {row['pool']} | {row['price']} | {row['rule']} | {row['fired']:.0%} | {row['regret']:.0f} | "
        f"{row['labels']:+.0f} | {100 * row['accuracy']:+.1f} |"
    )


def by_strategy(name: str, stops: pd.DataFrame) -> str:
    """Mean regret of each rule and strategy."""
    text = f"\n## {name}: regret in labels by strategy\n\n"
    for price, found in stops.groupby("price"):
        table = found.pivot_table(index="rule", columns="strategy", values="regret", sort=False)
        text += (
            f"{price} labels a point\n\n| rule | " + " | ".join(table) + " |\n" + "|---" * (1 + table.shape[1]) + "|\n"
        )
        text += (
            "".join(f"| {rule} | {' | '.join(f'{v:.0f}' for v in row)} |\n" for rule, row in table.iterrows()) + "\n"
        )
    return text


def estimates(name: str, seen: pd.DataFrame) -> str:
    """How far what the rules look at is from the accuracy on the test split."""
    text = f"\n## {name}: what is seen without a test split, and the truth\n\n"
    text += "Means over seeds after the last cycle, in points.\n\n"
    text += "| strategy | test | batch_accuracy | 1 - expected_error | that without temperature | agreement |\n"
    text += "|---|---|---|---|---|---|\n"
    last = seen[seen["cycle"] == seen["cycle"].max()].groupby("strategy", sort=False)
    for strategy, found in last:
        mean = found.mean(numeric_only=True)
        cells = [mean["accuracy"], mean["batch_accuracy"], 1 - mean["expected_error"], 1 - mean["uncalibrated_error"]]
        text += f"| {strategy} | {' | '.join(f'{100 * c:.1f}' for c in cells)} | {mean['agreement']:.3f} |\n"
    later = seen[seen["cycle"] > 0]
    for column in ("expected_error", "uncalibrated_error"):
        far = np.abs(1 - later["accuracy"] - later[column]).mean()
        text += f"\nMean distance of {column} from the test error, all cycles: {100 * far:.1f} points."
    return text + "\n"


def words_kept(name: str, answers: pd.DataFrame) -> str:
    """How often the interval of `target` covered."""
    said = answers[~answers["refused"]]
    reached = said[np.isfinite(said["truth"])]
    factor = np.exp(np.median(np.abs(np.log(reached["labels"] / reached["truth"]))))
    text = f"\n## {name}: `target`\n\n"
    asked = ", ".join(map(str, sorted(answers["points"].unique())))
    text += (
        f"Asked {len(answers)} times ({asked} points of each curve, goals of 1, 2, 3 and 5 points above the best so "
        f"far), it refused {answers['refused'].mean():.0%}. Its 90 % interval covers the truth in "
        f"{said['covered'].mean():.1%} of its answers, and in {reached['covered'].mean():.1%} of those whose goal the "
        f"curve reached. The answer itself is off by a factor of {factor:.2f} in the median. "
        f"{np.isinf(said['high']).mean():.0%} of the intervals have no upper end.\n\n"
    )
    text += "| strategy | " + " | ".join(f"{t} points" for t in sorted(said["points"].unique())) + " | all |\n"
    text += "|---" * (2 + said["points"].nunique()) + "|\n"
    for strategy, found in said.groupby("strategy", sort=False):
        cells = [*found.groupby("points")["covered"].mean(), found["covered"].mean()]
        text += f"| {strategy} | {' | '.join(f'{c:.0%}' for c in cells)} |\n"
    return text


if __name__ == "__main__":
    main()
