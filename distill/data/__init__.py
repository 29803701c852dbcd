"""Readers of labelled images; `labelled.load_images` picks the one for a source.

- `labelled`: `LabelledImages` and `load_images`.
- `named`, `layouts`, `wordnet`: data sets by name, published folders of images, names of their classes.
- `folders`, `skipped_files`: folders of class folders, and warnings about files in them that are not read.
- `npz`, `array_files`: .npz files.
- `decode`, `decoded`, `image_scan`, `bit_depth`: image files to pixels, decoded once, at one bit depth.
- `splits`, `pixels`: training and test split; uint8 images as floats.
"""
