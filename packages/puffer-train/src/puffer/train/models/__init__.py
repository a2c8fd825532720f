"""Policies in plain PyTorch. Any module that returns actions and a value will do; there is no base.

`forward(observations)` returns what `puffer.train.actions` understands and the values `(batch, 1)`.
A policy that splits its forward pass into `encode_observations` and `decode_actions` can be wrapped
by `LSTMWrapper` or `MinGRUWrapper`. A module with a method `initial_state(batch, device)` is
recurrent: it is called with the state too, see `RecurrentWrapper.forward`.
"""

from puffer.train.models.default import Default
from puffer.train.models.grid import Grid
from puffer.train.models.image import Convolutional, ResNet
from puffer.train.models.nethack import NetHack
from puffer.train.models.neural_mmo import NeuralMMO
from puffer.train.models.recurrent import LSTMWrapper, MinGRUWrapper, RecurrentWrapper
from puffer.train.models.scan import linear_scan

__all__ = [
    "Convolutional",
    "Default",
    "Grid",
    "LSTMWrapper",
    "MinGRUWrapper",
    "NetHack",
    "NeuralMMO",
    "RecurrentWrapper",
    "ResNet",
    "linear_scan",
]
