"""The page at `/`: static files that talk to the same interface as everybody else."""
