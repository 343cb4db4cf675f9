"""Errors meant for a person: what went wrong, where, and what to do about it."""


class AgrepaError(Exception):
    """Base of every expected failure. The CLI prints the message without a traceback and exits with ``status``."""

    status = 1


class ParamsError(AgrepaError):
    """A params file that cannot be used; the message names the file, the key and the remedy."""


class AudioError(AgrepaError):
    """Audio that cannot be used; the message names the file, what is wrong with it and the remedy."""


class CorpusError(AgrepaError):
    """A corpus or manifest that breaks its contract: unparsable, leaking between splits, or incomplete."""


class FetchError(AgrepaError):
    """A pinned archive that cannot be had or whose content is not what was pinned."""


class ArtifactError(AgrepaError):
    """A missing, damaged or mismatched artifact of an earlier stage."""


class Interrupted(AgrepaError):
    """A job that was asked to leave and left what it has in its state; run again, it goes on from there."""

    status = 75  # EX_TEMPFAIL of sysexits.h: try again
