"""Distilled sets.

- `synthetic`: `SyntheticSet`, what every distiller makes.
- `importing`: sets that other programs saved.
- `class_grids`, `drawing`: pictures of sets.
"""
