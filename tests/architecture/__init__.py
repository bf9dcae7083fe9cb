"""Tests of the project itself: who imports whom, what is public, what is documented."""
