"""How to search, as pure numerics on arrays: knows nothing of studies, trials or spaces."""
