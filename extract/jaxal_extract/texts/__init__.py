"""Texts: the ten tasks, the hub, local tables, class names, and what looks wrong in them."""
