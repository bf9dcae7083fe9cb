"""How much budget, and for whom."""
