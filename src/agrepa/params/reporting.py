"""What the tables and the report say and show beside scores."""

from __future__ import annotations

from agrepa.params.base import Count, Strict, Text


class Reporting(Strict):
    data_note: Text
    listening_clips: Count
