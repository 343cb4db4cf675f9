"""Libraries that only the paper's own networks need: the extra ``paper`` of the package, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from agrepa.errors import ParamsError

INSTALL = "pip install 'agrepa[paper]'"


def library(module: str, key: str) -> Any:
    """A module of an optional library.

    Args:
        key: what of the params needs it, for the message.

    Raises ParamsError when the library, or one that it imports, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        message = f"{key} needs the library {name}, which is not installed: {INSTALL}, or choose another kind"
        raise ParamsError(message) from None
