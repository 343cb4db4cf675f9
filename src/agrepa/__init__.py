"""AG-REPA: which layers should representation alignment supervise in audio flow matching?"""

__version__ = "0.1.0"
