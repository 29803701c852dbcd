"""The noun of the package: the SyntheticSet, sets that others saved, and pictures of sets."""
