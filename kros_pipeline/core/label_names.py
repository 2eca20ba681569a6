"""Judge whether a text that stands where a label would can be somebody's name."""

import re
import unicodedata
from enum import IntEnum
from functools import lru_cache

from .speaker_roles import read_words
from .spoken_events import is_event
from .spoken_times import TIME_AT

MAX_NAME_CHARS = 64
_MAX_UNCASED_NAME_CHARS = 12  # of a name without brackets: where no letter is a capital, a sentence looks like a name
_PLAIN_NAME = re.compile(r"[\w .'’ʼ`\-#&/+,()@°º·]*").fullmatch
# What begins a line of speech with a colon behind it, and is nobody.
_NOBODY = read_words(
    """
note notes nb ps warning question answer total subject address date time name phone email number order reference
option step reminder update example summary reason price amount account today first second third finally also
important attention caution re fyi q a http https
monday tuesday wednesday thursday friday saturday sunday january february march april june july august september
october november december morning afternoon evening tomorrow yesterday
the this that these those my your our their his her its it is so well yes no okay ok then now here there and but or
if what when where who why how which please thanks sorry hello hi bye i we you they he she at on by from until till
around about before after between total balance fee tax
"""
)


class Kind(IntEnum):
    """What a text between brackets is."""

    NAME = 1
    ODD = 2  # letters, and signs that no name has
    EVENT = 3
    NOTHING = 4  # no letters: a number, or nothing; and a time is not even that
    TIME = 5


@lru_cache(maxsize=4096)
def kind_of(name: str) -> Kind:
    """Return what a text between brackets is."""
    if not name or not any(char.isalpha() for char in name):
        return Kind.TIME if TIME_AT.fullmatch(name) else Kind.NOTHING
    if is_event(name):
        return Kind.EVENT
    first = next(char for char in name if char.isalnum() or not char.isspace())
    if not first.isalpha() or len(name) > MAX_NAME_CHARS:
        return Kind.ODD
    # Many scripts write letters with combining marks, which `\\w` does not match (Yoruba's ọ̀, Hindi's vowel signs).
    plain = "".join(char for char in name if not unicodedata.category(char).startswith(("M", "Cf", "Zs")))
    return Kind.NAME if _PLAIN_NAME(plain) else Kind.ODD


def may_be_free_name(name: str) -> bool:
    """Return whether a text before a colon, without brackets, can be a name, and not the begin of a sentence."""
    words = name.split()
    if not is_capitalised(name) or len(words) > 3 or words[0].casefold().strip(".") in _NOBODY:
        return False
    has_capitals = name.lower() != name.upper()
    return kind_of(name) is Kind.NAME and (has_capitals or len(name) <= _MAX_UNCASED_NAME_CHARS)


def is_capitalised(name: str) -> bool:
    """Return whether each word begins like a name: with a capital letter, or in a script that has none."""
    words = [word for word in re.split(r"[\s\-(),/]+", name) if word]
    return all(word[0].isupper() or not (word[0].islower() or word[0].isupper()) for word in words)
