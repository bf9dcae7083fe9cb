"""Running trials: programs and functions in processes of their own, and what they print."""
