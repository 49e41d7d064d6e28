"""Embedding models: which there are, and how each kind of them turns texts into vectors."""
