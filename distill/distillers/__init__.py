"""The methods: each turns labelled images into a SyntheticSet."""
