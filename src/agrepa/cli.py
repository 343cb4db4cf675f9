"""The command line: the stages, and the commands around them. Importing their modules registers them with ``app``."""

from agrepa import commands, stage_commands
from agrepa.subcommand import app

__all__ = ["app", "commands", "stage_commands"]
