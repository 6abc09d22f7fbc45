"""Configuration: ``params.yaml`` says what is computed, the environment says where.

In: ``params.yaml``, an optional overlay of it, and environment variables. Out: one frozen ``Params`` and one
frozen ``Settings``. There is no other configuration.
"""

from pipelines.config.load import expanded, load_params, merged_params
from pipelines.config.params import Params
from pipelines.config.settings import Settings, settings

__all__ = ["Params", "Settings", "expanded", "load_params", "merged_params", "settings"]
