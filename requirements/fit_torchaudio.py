"""Make torchaudio importable beside a CPU build of torch.

The torchaudio wheel of this version carries extension libraries that are linked against CUDA. Beside a torch without CUDA
they cannot be loaded, and while they cannot, `import torchaudio` and with it transformers' audio models fail. Nothing here
needs them: without the files torchaudio runs in pure Python. With a CUDA torch they are left alone.
"""

from importlib import metadata
from pathlib import Path

import torch


def main() -> None:
    if torch.version.cuda is None:
        for file in metadata.files("torchaudio") or []:
            if file.parent.name == "lib" and file.suffix == ".so":
                Path(str(file.locate())).unlink(missing_ok=True)
    import torchaudio
    from transformers import WhisperModel

    print(f"torch {torch.__version__}, torchaudio {torchaudio.__version__} and transformers' {WhisperModel.__name__} import")


if __name__ == "__main__":
    main()
