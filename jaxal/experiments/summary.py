"""What a table of results comes to: the area under a learning curve, and one row a strategy."""

import pandas as pd


def aulc(results: pd.DataFrame) -> pd.Series:
    """Area under the learning curve, by (run_id, strategy, seed): the plain mean of the accuracies of all cycles."""
    return results.groupby(["run_id", "strategy", "seed"], sort=False)["accuracy"].mean().rename("aulc")


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """One row a strategy: seeds, AULC mean and std over seeds, accuracy after the last cycle, seconds of its blocks."""
    curves = aulc(results).groupby(level=["run_id", "strategy"], sort=False)
    by_run = results.groupby(["run_id", "strategy"], sort=False)
    final = results[results["cycle"] == by_run["cycle"].transform("max")]
    # Seconds are of a whole block of seeds and stand in the row of each: count a block once.
    share = results[["fit_seconds", "select_seconds", "eval_seconds"]].sum(axis=1) / results["seeds_in_block"]
    table = pd.DataFrame(
        {
            "seeds": curves.size(),
            "aulc_mean": curves.mean(),
            "aulc_std": curves.std(),
            "final_accuracy": final.groupby(["run_id", "strategy"], sort=False)["accuracy"].mean(),
            "seconds": share.groupby([results["run_id"], results["strategy"]], sort=False).sum(),
        }
    )
    return table.reset_index().drop(columns="run_id")
