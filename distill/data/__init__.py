"""Readers of labelled images, one module for each kind of source; `data.labelled.load_images` picks among them."""
