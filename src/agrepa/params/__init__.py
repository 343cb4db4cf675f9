"""The one schema of every experiment: params files, rows of the tables, archive pins.

An experiment is ``params/<name>.yaml`` together with ``params/arms.yaml`` (the rows) and ``params/archives.yaml``
(the pinned downloads). Unknown keys are errors, and so is every reference to what is not there. Layers count from 1.
"""

from agrepa.params.experiment import FILES, Experiment, load
from agrepa.params.reading import read_params

__all__ = ["FILES", "Experiment", "load", "read_params"]
