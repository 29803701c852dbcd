"""What a replay memory of so many bytes per class should hold."""
