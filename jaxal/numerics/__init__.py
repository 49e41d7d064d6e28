"""The numerical kernels: classifier, distances, k-means, neighbors, and selection from bounds."""
