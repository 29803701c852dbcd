"""Class-incremental learning with a replay buffer of distilled, random or herded images."""
