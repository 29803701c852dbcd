"""Dataset distillation: turn many labelled images into a few that train nearly as good a model."""

from importlib.metadata import PackageNotFoundError, version

try:
    import safetensors as _safetensors  # noqa: F401
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"distill needs {error.name}, which is not installed: pip install '.[distill]'", name=error.name
    ) from error

from distill.accounting.ledger import Ledger
from distill.accounting.observed import ObservedRelease
from distill.data.labelled import LabelledImages, load_images
from distill.distillers.base import Distiller
from distill.distillers.dm import DM
from distill.distillers.dsa import DSA
from distill.distillers.frepo import FRePo
from distill.distillers.herding import Herding
from distill.distillers.kip import KIP
from distill.distillers.mtt import MTT
from distill.distillers.ndpdc import NDPDC
from distill.distillers.noisy_means import NoisyMeans
from distill.distillers.private_frepo import PrivateFRePo
from distill.distillers.random import Random
from distill.distillers.run import Snapshots
from distill.distillers.teacher import HerdingTeacher, RandomTeacher, TeacherLabels
from distill.errors import InputError, InputWarning
from distill.preprocess import (
    ZCA,
    CheckerboardZCA,
    Identity,
    PreprocessedImages,
    Preprocessing,
    Standardize,
)
from distill.sets.codecs import EncodedSet, ImageCodec, codec_of
from distill.sets.importing import import_set
from distill.sets.synthetic import SyntheticSet
from distill.store import Store
from distill.training.evaluation import Evaluation, evaluate
from distill.training.private_sgd import PrivateNetwork, PrivateSGD
from distill.training.recipe import TrainingRecipe

try:
    __version__ = version("frepo-toolkit")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "unknown"

__all__ = [
    "DM",
    "DSA",
    "KIP",
    "MTT",
    "NDPDC",
    "ZCA",
    "CheckerboardZCA",
    "Distiller",
    "EncodedSet",
    "Evaluation",
    "FRePo",
    "Herding",
    "HerdingTeacher",
    "Identity",
    "ImageCodec",
    "InputError",
    "InputWarning",
    "LabelledImages",
    "Ledger",
    "NoisyMeans",
    "ObservedRelease",
    "PreprocessedImages",
    "Preprocessing",
    "PrivateFRePo",
    "PrivateNetwork",
    "PrivateSGD",
    "Random",
    "RandomTeacher",
    "Snapshots",
    "Standardize",
    "Store",
    "SyntheticSet",
    "TeacherLabels",
    "TrainingRecipe",
    "codec_of",
    "evaluate",
    "import_set",
    "load_images",
]
