"""Where the model runs outside training, which Lightning Fabric places by the same key."""

import torch

from agrepa.errors import ParamsError


def device(accelerator: str) -> torch.device:
    """``cpu``; ``cuda``; or ``auto``: CUDA where there is one.

    Raises ParamsError when CUDA is asked for by name and there is none.
    """
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ParamsError(
            "training.accelerator is 'cuda' and torch finds no CUDA device: use 'auto' or 'cpu', or install a CUDA build of torch"
        )
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
