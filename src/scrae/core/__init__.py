"""The method of the paper: data, distributions, networks, losses, model and training."""
