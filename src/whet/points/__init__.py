"""A study as numbers: configs as points of a cube, trials as arrays. Samplers and schedulers see it so."""
