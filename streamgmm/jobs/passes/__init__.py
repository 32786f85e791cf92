"""How a pass over all pixels runs: blocks of images, tasks on them, an engine, and what was done so far."""
