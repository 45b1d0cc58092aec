"""Sweeps: many runs from one file, each done once, on this machine or on a Ray cluster.

`config` reads the file · `subjects` opens what a run names and identifies it · `runs.run_one` does
one run, idempotently · `rows` measures a network · `local` and `on_ray` hand runs out · `drive`
puts them in order and collects them · `table` writes `table.csv` and `evidence.tar.xz`.

Nothing is imported here: a worker must listen for the end of its driver before it loads torch.
"""
