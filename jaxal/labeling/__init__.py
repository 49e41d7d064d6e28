"""For people who label: which rows next, and the files they label in."""
