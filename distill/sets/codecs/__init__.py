"""How the images and labels of a set lie in memory.

- `base`: what every image codec is, and codecs by their names; `sealed`: payloads whose damage is found.
- `plain`, `pillow`, `avif`, `lowres`, `mosaic`: the image codecs; `eight_bits`: what those of 8 bits share.
- `labels`, `labels_uint8`, `class_ids`: the labels and classes of images.
- `encoded`: `EncodedSet`, a set in memory as bytes.
"""

from distill.sets.codecs.avif import AVIF
from distill.sets.codecs.base import ImageCodec, codec_of, coded
from distill.sets.codecs.encoded import EncodedSet
from distill.sets.codecs.labels import HardLabels, LabelCodec, LabelsFloat16, LabelsFloat32, label_codec_of
from distill.sets.codecs.labels_uint8 import LabelsUInt8
from distill.sets.codecs.lowres import Lowres
from distill.sets.codecs.mosaic import Mosaic
from distill.sets.codecs.pillow import JPEG, WebP
from distill.sets.codecs.plain import Float16, Float32, UInt8

__all__ = [
    "AVIF",
    "JPEG",
    "EncodedSet",
    "Float16",
    "Float32",
    "HardLabels",
    "ImageCodec",
    "LabelCodec",
    "LabelsFloat16",
    "LabelsFloat32",
    "LabelsUInt8",
    "Lowres",
    "Mosaic",
    "UInt8",
    "WebP",
    "codec_of",
    "coded",
    "label_codec_of",
]
