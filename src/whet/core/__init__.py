"""What whet knows of a study: problem, trials, events, history, and the contracts of its parts."""
