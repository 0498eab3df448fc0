"""Clusters of a latent representation: neighbors, graphs, partitions, stability and scores."""
