"""Replay at equal bytes in strategies that keep training one network."""
