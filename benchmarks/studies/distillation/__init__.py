"""Networks trained on distilled, chosen or imported images."""
