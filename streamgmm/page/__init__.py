"""Pages that show a person what became of an image: files of HTML that need nothing else."""
