"""Mask phone numbers for those who may not see them.

Five digits or more are hidden, of any script and in any form that folds to digits, where at most twelve characters
stand between one and the next, and none of them is a letter. `o`, `O`, `l` and `I` count as no letters: transcripts
have them for 0 and 1. A number stays that is spelled out in words, has words between its parts, or is said in more than
one turn.
"""

import re

from ..core.text_folding import cut_into_pieces, fold_inside, is_digit

HIDDEN = "•"
_SHOWN_DIGITS = 2
_LONG = 5  # digits
_RUN = re.compile(rf"\d(?:[\W_oOlI]{{0,12}}\d){{{_LONG - 1},}}", re.ASCII)
_FOLDS = re.compile(r"[^\x00-\x7f]|&|\s\s")
_SHOWING = re.compile(r"[\doOlI]", re.ASCII)
_LETTER = "x"  # any letter that is no separator


def mask_number(number: str | None) -> str | None:
    """Return a phone number of which the last two digits are shown."""
    if number is None:
        return None
    digits = [character for character in number if character.isdecimal()]
    return f"{HIDDEN * 4}{''.join(digits[-_SHOWN_DIGITS:]) if len(digits) > 5 else ''}"


def mask_numbers_in(text: str) -> str:
    """Return a text of the same length in which the digits of long numbers are hidden."""
    if sum(map(is_digit, fold_inside(text))) < _LONG:
        return text
    if not _FOLDS.search(text):
        return _RUN.sub(lambda run: _SHOWING.sub(HIDDEN, run[0]), text)
    pieces = list(cut_into_pieces(text))
    # One character for each digit and separator, and the piece of the text that it comes from.
    forms: list[str] = []
    places: list[int] = []
    for place, (begin, end) in enumerate(pieces):
        for character in fold_inside(text[begin:end]):
            form = _form_of(character)
            if not (form == " " and forms and forms[-1] == " "):
                forms.append(form)
                places.append(place)
    hidden = list(text)
    for run in _RUN.finditer("".join(forms)):
        for shown in _SHOWING.finditer(run.string, run.start(), run.end()):
            begin, end = pieces[places[shown.start()]]
            hidden[begin:end] = HIDDEN * (end - begin)
    return "".join(hidden)


def _form_of(character: str) -> str:
    """Return a folded character as the pattern reads it: a digit, a letter, or what stands between."""
    if character.isascii():
        return character
    return "0" if is_digit(character) else _LETTER if character.isalpha() else "-"
