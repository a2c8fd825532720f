"""Train, evaluate and tune agents: `Trainer(config, vecenv, policy, logger)`, or `puffer-train`."""

from puffer.train.config import Config as Config
from puffer.train.config import TrainConfig as TrainConfig
from puffer.train.evaluate import evaluate as evaluate
from puffer.train.trainer import Trainer as Trainer
