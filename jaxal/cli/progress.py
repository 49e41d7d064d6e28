"""The progress bar of long commands."""


class Bar:
    """Strategy, cycle, accuracy, seconds and time left on a terminal; silent elsewhere."""

    def __init__(self, total: int, unit: str = "cycle"):
        from tqdm import tqdm

        # miniters 0: left to itself, tqdm learns from fast strategies to look away for many cycles of slow ones
        self.bar = tqdm(total=total, unit=unit, disable=None, leave=False, dynamic_ncols=True, miniters=0)
        self.begun: dict[str, int] = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def show(self, progress) -> None:
        """Show what a run tells after a cycle."""
        accuracy = "done before" if progress.accuracy is None else f"accuracy {progress.accuracy:.4f}"
        self.bar.set_description(f"{progress.strategy} {progress.cycle}/{progress.cycles} {accuracy}", refresh=False)
        before = self.begun.get(progress.strategy, 0)
        self.begun[progress.strategy] = max(before, progress.cycle)
        self.bar.update(max(0, progress.cycle - before))

    def step(self, name: str) -> None:
        """One more is done, of this name."""
        self.bar.set_description(name, refresh=False)
        self.bar.update()
