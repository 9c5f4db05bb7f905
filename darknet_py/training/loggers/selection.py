"""``create_loggers``: loggers by name, as ``train --log`` takes them."""

from __future__ import annotations

from ...errors import ConfigError, did_you_mean
from ..callbacks import Callback
from .csv_log import CsvLogger
from .mlflow_log import MlflowLogger
from .tensorboard_log import TensorBoardLogger
from .wandb_log import WandbLogger

LOGGERS: dict[str, type[Callback]] = {
    "csv": CsvLogger,
    "tensorboard": TensorBoardLogger,
    "mlflow": MlflowLogger,
    "wandb": WandbLogger,
}


def create_loggers(names: str) -> list[Callback]:
    """Create the loggers that a text such as "csv,mlflow" names.

    Raises:
        ConfigError: A name is unknown.
        DarknetError: The package of a logger is not installed.
    """
    words = list(dict.fromkeys(word.strip() for word in names.split(",") if word.strip()))
    for word in words:
        if word not in LOGGERS:
            raise ConfigError(f"log: expected {', '.join(LOGGERS)}, got {word!r}{did_you_mean(word, LOGGERS)}")
    return [LOGGERS[word]() for word in words]
