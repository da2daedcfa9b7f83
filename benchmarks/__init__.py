"""Measurements: each module answers one question; ``results/`` holds what was measured."""
