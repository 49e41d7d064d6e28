"""Plain NumPy versions of what jaxal computes: loops and paper notation, no concern for speed."""
