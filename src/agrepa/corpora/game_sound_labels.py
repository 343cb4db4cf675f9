"""The class of a game sound, by a table of patterns over its path or caption."""

from __future__ import annotations

import re

from agrepa.errors import CorpusError

# The first row that matches decides. Patterns are searched in the lower-case path (ufoai, scratch, sonic_pi) or in the
# caption (opensfx).
TABLE: dict[str, list[tuple[str, str]]] = {
    "ufoai": [
        (r"/footsteps/.*(splash|water)|ambience/(water|fire|smallfire|arcticwind|thunder|wind_turbine)", "nature"),
        (r"/footsteps/|/doors/", "step or door"),
        (r"/aliens/|bloodspiderwalk|cricket", "animal"),
        (r"/civilians/|/soldiers/", "human voice"),
        (r"/impact/|/misc/break|grenade-bounce|explosion|sword", "impact"),
        (r"/weapons/|/geoscape/combat", "weapon"),
        (r"/ui/|/geoscape/|/misc/", "interface or alarm"),
        (r"/ugv/|/seq/|engine|machine|generator|pump|steam|ventilation|hum2?\.|lights|spark|alien-?device", "machine"),
        (r"disco|jingle", "music"),
        (r"/ambience/", "ambience"),
    ],
    "opensfx": [
        (r"year|cash|beep|morse|level crossing", "interface or alarm"),
        (r"applause|oooh", "human voice"),
        (r"sheep|cow|horse|bird|lion|monkeys", "animal"),
        (r"wind|bubble|splat|tree|plastic mine", "nature"),
        (r"crash|explosion|breakdown|building bridge", "impact"),
        (r"sugar mine|toffee|toy factory", "percussion"),
        (r"whistle|train|engine|horn|plane|jet|mining|spark|steam|helicopter|truck|bus|jackhammer|sawmill|chainsaw", "machine"),
        (r"unused", "ambience"),
    ],
    "scratch": [
        (r"/animal/", "animal"),
        (r"/human/(footsteps|fingersnap)|door", "step or door"),
        (r"/human/|/vocals/", "human voice"),
        (r"/percussion/|/music loops/drum|handclap", "percussion"),
        (r"/instruments/", "music"),
        (r"/music loops/", "music"),
        (r"effects/(bubbles|ripples|water|plunge)", "nature"),
        (r"effects/(car|motorcycle|sewing|typing)", "machine"),
        (r"effects/(bell|pop|rattle|balloon)", "impact"),
        (r"/electronic/", "interface or alarm"),
    ],
    "sonic_pi": [
        (r"/(bd|sn|drum|tabla|perc|hat|ride)_|elec_(.*snare|.*kick|.*tom|cymbal|triangle|wood)", "percussion"),
        (r"/(bass|guit|loop)_|ambi_(piano|choir)|glitch_bass", "music"),
        (r"misc_crow", "animal"),
        (r"misc_burp", "human voice"),
        (r"/ambi_|vinyl_hiss", "ambience"),
        (r"robot|phone", "machine"),
        (r"misc_cineboom", "impact"),
        (r"/(elec|vinyl|glitch)_", "interface or alarm"),
    ],
}


def label(package: str, caption: str) -> str:
    """The class of a sound.

    Raises CorpusError when no row of TABLE matches, which cannot happen with the pinned archives.
    """
    for pattern, name in TABLE[package]:
        if re.search(pattern, caption.lower()):
            return name
    raise CorpusError(f"{package}: no row of the class table matches {caption!r}: add one to agrepa.corpora.game_sound_labels")
