"""How fast a step is."""
