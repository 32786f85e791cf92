"""Mixtures, statistics and the kernels that add them up: arrays in, arrays out."""
