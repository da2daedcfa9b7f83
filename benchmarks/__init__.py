"""Measurements: each module answers one question and prints one table; ``results/`` holds what was measured, with its command."""
