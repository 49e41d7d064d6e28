"""What the report says, in order: sections of text, tables and figures, made from a study."""

from collections.abc import Callable
from functools import cache, partial
from os import PathLike
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxal.reporting import classes, contests, figures, gains, ips_figures
from jaxal.reporting.drawing import Figure
from jaxal.reporting.provenance import provenance, skewed, warnings
from jaxal.reporting.study import METHOD, SIZES, UNIT, Sample, Study
from jaxal.reporting.tables import Table


class Section(NamedTuple):
    """A part of the page."""

    title: str
    text: list[str]
    items: list[Figure | Table]

    @property
    def anchor(self) -> str:
        """Its address in the page."""
        return self.title.lower().replace(",", "").replace(" ", "-")


def sections(study: Study, root: str | PathLike | None = None) -> list[Callable[[], Section]]:
    """What makes each section, in order: to call one takes a while. One without text and items has nothing to say.

    Args: root: of the store that has the study's pools.
    """
    pools = cache(partial(classes.known, study, root))
    if study.runs.empty:
        return [partial(_warnings, study, pools), partial(_pools, study), partial(_provenance, study)]
    sample = study.main()
    return [
        partial(_answer, study, sample),
        partial(_warnings, study, pools),
        partial(_curves, study, sample),
        partial(_by_task, study, sample),
        partial(_labels, sample),
        partial(_classes, study, sample, pools),
        partial(_contests, study, sample),
        partial(_certainty, sample),
        partial(_pools, study),
        partial(_sensitivity, study, sample),
        partial(_cost, sample),
        partial(_provenance, study),
    ]


def _warnings(study: Study, pools: Callable[[], classes.Known]) -> Section:
    return Section("Warnings", warnings(study, pools().pools) or ["None: nothing in these results asks for one."], [])


def _answer(study: Study, sample: Sample) -> Section:
    overall, best = gains.over_settings(sample), gains.best(sample)
    text = []
    if len(overall):
        first = overall.iloc[0]
        text.append(
            f"Over {first['settings']} settings (dataset x model), {first['strategy']} gains most over "
            f"{sample.baseline}: "
            f"{first['gain']:+.2f} points of AULC{_interval(first, 'gain')}. By intervals that exclude 0 it is better "
            "in "
            f"{first['better']} settings and worse in {first['worse']} (Wilcoxon's p {_p(first['p_holm'])} after "
            "Holm, effect size "
            f"{first['effect']:.2f})."
        )
        worse = overall[overall["gain_high"] < 0]["strategy"].tolist()
        if worse:
            text.append(f"On average worse than {sample.baseline}: {', '.join(worse)} (the interval excludes 0).")
    counts = best["best"].value_counts()
    sure = int((best["as_good"] == "").sum())
    places = ", ".join(f"{name} in {n}" for name, n in counts.items())
    text.append(
        f"Best by setting: {places} of {len(best)}. The best is told apart from all others in {sure} of {len(best)}."
    )
    text.append(_method(study))
    columns = (
        "AULC is the mean accuracy over all cycles. Brackets are 95 % intervals of the mean over seeds, paired by seed."
    )
    items: list[Figure | Table] = [Table("best", "Which strategy on which task", columns, best)]
    if len(overall):
        caption = (
            f"Gains in AULC over {sample.baseline}. Better and worse: settings whose interval excludes 0. Wilcoxon's "
            "test "
            "over settings, seeds averaged; settings that share a dataset are not independent. Effect size: "
            "rank-biserial."
        )
        items += [figures.gain_bars(overall, sample), Table("gains", "All settings together", caption, overall)]
    return Section("Which strategy, by how much, how sure", text, items)


def _interval(row: pd.Series, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]"


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".")


def _method(study: Study) -> str:
    several = [name for name in METHOD if study.runs[name].nunique() > 1]
    values = ", ".join(f"{name} {value}" for name, value in study.method.items())
    more = f" Other values of {', '.join(several)} were run too and have their own figures." if several else ""
    return f"Unless a caption says otherwise, everything here is of: {values}.{more}"


def _by_ips(study: Study) -> dict[str, Sample]:
    """The main settings for every initial pool selection that was run, the main one first."""
    main = study.method["ips"]
    levels = [main, *(level for level in study.levels("ips") if level != main)]
    return {level: study.main(ips=level) for level in levels}


def _curves(study: Study, sample: Sample) -> Section:
    items: list[Figure | Table] = [figures.differences(sample, "differences")]
    for ips, of in _by_ips(study).items():
        items.append(figures.curves(of, f"curves-{ips}", f"Learning curves, {ips} initial pools"))
    return Section("Learning curves", [], items)


def _by_task(study: Study, sample: Sample) -> Section:
    table = gains.by_setting(sample)
    columns = [str(name) for name in table]
    keys = [*UNIT, "strategy", "seeds"]
    parts = [name for name in columns if name.startswith(tuple(f"gain_{third}" for third in gains.THIRDS))]
    first = [*keys, *(name for name in columns if name.startswith(("aulc", "final_low", "final_high"))), "final"]
    first += [name for name in columns if name.startswith("gain") and name not in parts]
    items: list[Figure | Table] = [
        Table(
            "settings",
            "AULC and final accuracy",
            f"Means over seeds; gains over {sample.baseline} in points.",
            table[first],
        ),
    ]
    if parts:
        caption = f"AULC gained over {sample.baseline} in the first, second and last third of the cycles, points."
        items.append(Table("thirds", "Early, middle, late", caption, _rivals(table, sample)[[*keys, *parts]]))
    places = skewed(study)
    if places:
        rows = table[pd.MultiIndex.from_frame(table[UNIT]).isin(places)]
        metrics = [*keys, "final", "final_macro_f1", "final_balanced_accuracy"]
        caption = "Where accuracy and balanced accuracy end more than 5 points apart; means over seeds."
        items.append(Table("skewed", "Skewed tasks", caption, rows[metrics]))
    return Section("Task by task", [], items)


def _rivals(table: pd.DataFrame, sample: Sample) -> pd.DataFrame:
    return table[table["strategy"] != sample.baseline]


def _labels(sample: Sample) -> Section:
    saved, factor = gains.labels_saved(sample), gains.speed_up(sample)
    saved = saved.assign(budget=[f"{part:.0%}" for part in saved["budget"]]) if len(saved) else saved
    items: list[Figure | Table] = []
    if len(saved):
        caption = (
            f"Labels that {sample.baseline} needs, minus the strategy's, for the accuracy that the mean curve of "
            f"{sample.baseline} has reached at a part of the budget. Never: not with the labels of the run."
        )
        digits = {"saved": 0, "labels": 0, "baseline_labels": 0}
        items.append(Table("labels-saved", "Labels saved", caption, saved, digits))
    if len(factor):
        caption = (
            f"How many times as many labels {sample.baseline} needs for the same accuracy: geometric mean over the "
            "accuracies of its cycles. Those that are not reached count as if reached with the last label."
        )
        items.append(Table("speed-up", "Speed-up", caption, factor))
    return Section("Labels saved", [], items)


def _classes(study: Study, sample: Sample, pools: Callable[[], classes.Known]) -> Section:
    table, missing = classes.of_labels(study, sample, pools().pools), pools().missing
    caption = (
        "Of all labels at the end of a run, means over seeds. Balance: entropy of the class shares over log C, 1 where "
        "all classes are as frequent. Rarest class: of the pool; its share. Every class: labels until each has one, "
        "median over seeds."
    )
    digits = {"every_class": 0, "balance": 3, "pool_balance": 3}
    items: list[Figure | Table] = [Table("classes", "Classes of the labels", caption, table, digits)]
    text = f"Not told of {'; '.join(missing)}: the store has no such pool, or another one (`--store` names a store)."
    return Section("Which classes were labeled", [text] * bool(missing), items * bool(len(table)))


def _contests(study: Study, sample: Sample) -> Section:
    samples = _by_ips(study)
    items: list[Figure | Table] = []
    if len(sample.strategies) > 1:
        items += [figures.win_rates(samples), figures.top_by_cycle(samples), figures.top_by(sample)]
        for ips, of in samples.items():
            rates = contests.win_rates(of).rename_axis("strategy").reset_index()
            caption = (
                "Share of (dataset, model, cycle) where the row's mean accuracy is above the column's; ties left out."
            )
            items.append(Table(f"win-rates-{ips}", f"Win rates, {ips} initial pools", caption, rates))
        for by in ("cycle", "dataset", "model"):
            caption = f"Share (%) of cells where a strategy alone is at the top, by {by}; ties left out."
            items.append(
                Table(f"top-by-{by}", f"At the top, by {by}", caption, contests.top(sample, [by]), _one(sample))
            )
        caption = (
            f"Settings where a wins or loses by more than {contests.ROPE} point of AULC, and ties; p of Wilcoxon's "
            "test."
        )
        items.append(Table("win-tie-loss", "Wins, ties, losses", caption, contests.win_tie_loss(sample)))
    ranked = contests.ranks(sample)
    if ranked is not None:
        items.append(figures.critical_differences(*ranked))
    if gains.rivals(sample) and sample.baseline in sample.strategies:
        items.append(figures.profile(sample))
    return Section("Strategies against each other", [], items)


def _one(sample: Sample) -> dict[str, int]:
    return dict.fromkeys(sample.strategies, 1)


def _certainty(sample: Sample) -> Section:
    settings, stability = gains.by_setting(sample), gains.stability(sample)
    items: list[Figure | Table] = []
    if len(stability):
        caption = (
            "Share of subsets of the seeds that report the opposite sign of the gain in AULC that all seeds report."
        )
        if stability["subset"].nunique() > 1:
            items.append(figures.seeds_needed(stability, sample))
        items += [
            Table("seeds", "Opposite verdicts of few seeds", caption, stability),
        ]
    text = (
        [] if items else ["There are not more than 3 seeds: how the verdict changes with their number cannot be told."]
    )
    if "first_better" in settings:
        rows = _rivals(settings, sample)[[*UNIT, "strategy", "seeds", "first_better", "first_worse"]]
        ever = rows.groupby("strategy", sort=False)["first_worse"].apply(lambda first: np.isfinite(first).mean())
        always = (
            (_rivals(settings, sample).assign(worse=settings["gain_high"] < 0))
            .groupby("strategy", sort=False)["worse"]
            .mean()
        )
        share = pd.DataFrame({"worse in AULC, %": 100 * always, "worse at some cycle, %": 100 * ever}).reset_index()
        caption = f"Share of settings whose interval of the difference to {sample.baseline} lies below 0."
        items.append(Table("worse", f"Worse than {sample.baseline}", caption, share))
        caption = (
            f"Labels at the first cycle whose interval of the difference to {sample.baseline} excludes 0; each cycle "
            "is looked at alone."
        )
        digits = {"first_better": 0, "first_worse": 0}
        items.append(Table("first", "From which budget it shows", caption, rows, digits))
    return Section("How sure", text, items)


def _pools(study: Study) -> Section:
    items: list[Figure | Table] = []
    if not study.pools.empty:
        winners, curves = contests.pool_winners(study.pools), contests.initial_pools(study.pools)
        items += [ips_figures.pool_winners(winners), ips_figures.pool_curves(curves)]
        caption = "Settings whose best mean accuracy is this selection's alone, by rows of the initial pool."
        items.append(Table("pool-winners", "Winning initial pools", caption, winners))
        items.append(Table("pools", "Initial pools", "Accuracy of the first classifier, mean over seeds.", curves))
    if not study.runs.empty:
        (main, sample), *others = _by_ips(study).items()
        for ips, other in others:
            items += ips_figures.by_cycle(sample, other, f"{ips} minus {main}")
    return Section("Initial pools", [], items)


def _sensitivity(study: Study, sample: Sample) -> Section:
    tables = []
    for factor in [*METHOD, *SIZES]:
        levels = [] if factor in ("pool", "cycles") else study.levels(factor)
        if len(levels) > 1:
            tables.append(gains.sensitivity({level: study.main(**{factor: level}) for level in levels}, factor))
    tables = [table for table in tables if len(table)]
    if not tables:
        return Section("Sensitivity", [], [])
    table = pd.concat(tables, ignore_index=True)
    caption = f"Mean gain in AULC over {sample.baseline}, over the settings that have every value of what was varied."
    return Section(
        "Sensitivity", [], [figures.sensitivity(table, sample), Table("sensitivity", "Sensitivity", caption, table)]
    )


def _cost(sample: Sample) -> Section:
    caption = "Seconds of one seed and run, compiling not counted: the seconds of a block of seeds, divided by them."
    return Section("Cost", [], [Table("seconds", "Run times", caption, contests.seconds(sample.rows))])


def _provenance(study: Study) -> Section:
    caption = "A row a results folder. The pool is a fingerprint of embeddings and labels."
    return Section("Provenance", [], [Table("provenance", "Provenance", caption, provenance(study))])
