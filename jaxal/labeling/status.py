"""Where a labeling project stands, in a few lines."""

from collections import Counter

from jaxal.labeling import log
from jaxal.labeling.project import Project


def lines(project: Project) -> list[str]:
    """What `jaxal label status` prints. Cost: reads the log and the batches; the pool is not loaded."""
    table, batches, settings = project.labels(), project.batches(), project.settings
    waiting, skipped = project.waiting(), project.skipped()
    method = f"{settings.strategy}, batches of {settings.batch_size}"
    found = [
        f"{project.folder}: {settings.dataset} ({settings.model}), {method}",
        f"{len(table):,} rows labeled, {len(batches)} batches chosen; {len(waiting):,} wait, {len(skipped):,} skipped",
    ]
    if batches:
        last = batches[-1]
        done = sum(row in project.words for row in last.rows.tolist())
        found.append(f"round {last.round}: {done} of {len(last.rows)} answered; chosen by {last.why}")
    if len(table):
        found.append(f"classes: {_counted(table['label'], settings.classes)}")
    agreed = table[table["code"].notna() & table["round"].gt(0)]
    taken = [_seen(batch, agreed) for batch in batches if batch.suggestions[:1] != [None]]
    taken = [f"{share:.0%} of {n}" for share, n in taken if n]
    if taken:
        found.append(f"suggestions that were right, by round from 2 on: {', '.join(taken)}")
    seconds = table["seconds"].dropna()
    if len(seconds):
        found.append(f"{seconds.median():.1f} s a label (median), {seconds.sum() / 3600:.2f} h in all")
    many = sum(len(word.votes) > 1 for word in project.words.values())
    if many:
        apart = list(log.disagreed(project.words))
        shown = f": rows {', '.join(map(str, apart[:5]))}{', ...' * (len(apart) > 5)}" if apart else ""
        found.append(
            f"{many:,} rows have several annotators, who disagree on {len(apart):,}{shown}; the majority counts"
        )
    if project.torn:
        found.append("the log ends in a part of a line, which was cut off while it was written: it does not count")
    return found


def _counted(labels, classes) -> str:
    counts = Counter(labels)
    each = sorted(classes, key=lambda name: -counts[name])
    missing = sum(not counts[name] for name in classes)
    shown = ", ".join(f"{name} {counts[name]:,}" for name in each[:10] if counts[name])
    return shown + ", ..." * (len(classes) - missing > 10) + (f"; {missing} without a label yet" if missing else "")


def _seen(batch, table) -> tuple[float, int]:
    """Share of a batch's labels that the classifier had suggested before, and how many labels these are."""
    given = dict(zip(table["row"], table["label"], strict=True))
    pairs = [(s, given[row]) for row, s in zip(batch.rows.tolist(), batch.suggestions, strict=True) if row in given]
    return sum(a == b for a, b in pairs) / max(1, len(pairs)), len(pairs)
