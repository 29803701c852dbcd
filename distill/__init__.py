"""Dataset distillation: turn many labelled images into a few that train nearly as good a model.

The names below are imported when they are first used, so that `privacy`, which shares this package's errors and
files, does not need torch.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("torch") is None:
    raise ImportError("distill needs torch: pip install '.[distill]'")

if TYPE_CHECKING:
    from distill.data.labelled import LabelledImages as LabelledImages
    from distill.data.labelled import load_images as load_images
    from distill.distillers.base import Distiller as Distiller
    from distill.distillers.dm import DM as DM
    from distill.distillers.dsa import DSA as DSA
    from distill.distillers.frepo import FRePo as FRePo
    from distill.distillers.herding import Herding as Herding
    from distill.distillers.random import Random as Random
    from distill.errors import InputError as InputError
    from distill.errors import InputWarning as InputWarning
    from distill.preprocess import ZCA as ZCA
    from distill.preprocess import CheckerboardZCA as CheckerboardZCA
    from distill.preprocess import Identity as Identity
    from distill.preprocess import PreprocessedImages as PreprocessedImages
    from distill.preprocess import Preprocessing as Preprocessing
    from distill.preprocess import Standardize as Standardize
    from distill.sets.importing import import_set as import_set
    from distill.sets.synthetic import SyntheticSet as SyntheticSet
    from distill.training.evaluation import Evaluation as Evaluation
    from distill.training.evaluation import evaluate as evaluate
    from distill.training.recipe import TrainingRecipe as TrainingRecipe

_FILES = {
    "DM": "distillers.dm",
    "DSA": "distillers.dsa",
    "CheckerboardZCA": "preprocess",
    "ZCA": "preprocess",
    "Distiller": "distillers.base",
    "Evaluation": "training.evaluation",
    "FRePo": "distillers.frepo",
    "Herding": "distillers.herding",
    "Identity": "preprocess",
    "InputError": "errors",
    "InputWarning": "errors",
    "LabelledImages": "data.labelled",
    "PreprocessedImages": "preprocess",
    "Preprocessing": "preprocess",
    "Random": "distillers.random",
    "Standardize": "preprocess",
    "SyntheticSet": "sets.synthetic",
    "TrainingRecipe": "training.recipe",
    "evaluate": "training.evaluation",
    "import_set": "sets.importing",
    "load_images": "data.labelled",
}
__all__ = list(_FILES)


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
