"""Many copies of an environment behind one set of arrays, run one by one or in parallel."""

from puffer.vector import adapters as adapters
from puffer.vector.alternating import Alternating as Alternating
from puffer.vector.cores import usable_cores as usable_cores
from puffer.vector.make import make as make
from puffer.vector.multiprocess import Multiprocessing as Multiprocessing
from puffer.vector.native import Native as Native
from puffer.vector.protocol import VectorEnv as VectorEnv
from puffer.vector.serial import Serial as Serial


def __getattr__(name: str) -> object:
    if name == "Ray":
        raise AttributeError(
            "puffer.vector.Ray is not part of this version: use puffer.vector.Multiprocessing"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
