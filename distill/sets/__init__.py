"""Distilled sets.

- `synthetic`: `SyntheticSet`, what every distiller makes.
- `codecs`: sets in memory as bytes.
- `importing`: sets that other programs saved.
- `class_grids`, `drawing`: pictures of sets.
"""
