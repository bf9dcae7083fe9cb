"""Gaussian processes over mixed and conditional spaces, and searching with them."""
