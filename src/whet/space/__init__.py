"""What may vary: domains, conditions, spaces and grids."""
