"""Training networks on a set from scratch, and measuring them."""
