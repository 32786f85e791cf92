"""What any program needs of its machine: files, locks, limits, processes and signals. Knows no images and no mixtures."""
