"""Write the transcripts of the calls: mostly ordinary conversations of 6 to 30 turns, a minority of odd ones.

A transcript is written from a `Script`, a small set of parameters, only when it is requested: the same script always
gives the same text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from . import phrases

ODDITIES = (
    "continuation_lines", "blank_lines", "crlf", "empty_turns", "spoken_brackets", "spoken_colons", "label_inside",
    "unlabelled", "supervisor", "system", "trails_off", "emoji", "one_turn", "other_label", "no_space_after_label",
)  # fmt: skip
HOSTILE_ODDITIES = ("nul", "lone_surrogate", "line_separators", "long_line")
_ODD_SHARE = 0.15
_HEATED_SHARE = 0.06
_LANGUAGES = ("en",) * 78 + ("en-pidgin",) * 8 + tuple(phrases.OTHER_LANGUAGES) * 2


@dataclass(frozen=True, slots=True)
class Script:
    """The parameters of one transcript. `oddity` is "" for an ordinary one."""

    seed: str
    language: str = "en"
    turns: int = 8
    oddity: str = ""
    heated: bool = False
    at_least_characters: int = 0

    @property
    def language_code(self) -> str:
        """Return the API's language code. Pidgin is reported as English, as speech recognition does."""
        return self.language.partition("-")[0]


def draw_script(rng: random.Random, seed: str, *, hostile: bool) -> Script:
    """Draw a script from a realistic mixture of languages, lengths and oddities."""
    odd = rng.random() < (0.5 if hostile else _ODD_SHARE)
    return Script(
        seed=seed,
        language=_LANGUAGES[int(rng.random() * len(_LANGUAGES))],
        turns=6 + int(25 * rng.random() ** 1.6),
        oddity=rng.choice(ODDITIES + HOSTILE_ODDITIES if hostile else ODDITIES) if odd else "",
        heated=rng.random() < _HEATED_SHARE,
    )


@lru_cache(maxsize=512)
def write_transcript(script: Script) -> str:
    """Write the whole text, one turn on each line, as `/calls/{id}/transcript` returns it."""
    rng = random.Random(script.seed)
    turns = _draw_turns(script, rng)
    missing_characters = script.at_least_characters - _count_characters(turns)
    while missing_characters > 0:
        more = _draw_turns(script, rng)
        missing_characters -= _count_characters(more)
        turns += more
    return _join_turns(script.oddity, turns, rng)


def remove_labels(text: str) -> str:
    """Return the beginning of the speech without labels, ending in dots, as the call log page shows it."""
    speech = [line.partition("]:")[2].strip() if line.startswith("[") else line.strip() for line in text.splitlines()]
    return " ".join(part for part in speech if part)[:160] + "..."


def shorten(text: str, *, dots: str) -> str:
    """Return the beginning of the text, cut at any character, ending in `dots`."""
    return text[: min(len(text) * 2 // 3, 240)] + dots


def _draw_turns(script: Script, rng: random.Random) -> list[tuple[str, str]]:
    """Draw the turns: pairs of label and speech."""
    if script.language in phrases.OTHER_LANGUAGES:
        agent_lines, caller_lines = phrases.OTHER_LANGUAGES[script.language]
    else:
        agent_lines, caller_lines = phrases.ENGLISH_AGENT, phrases.ENGLISH_CALLER
        if script.language == "en-pidgin":
            caller_lines += phrases.PIDGIN_CALLER * 2
    agent = _choose(rng, phrases.AGENT_NAMES)
    facts = {
        "caller": _choose(rng, phrases.CALLER_NAMES),
        "place": _choose(rng, phrases.PLACES),
        "amount": _choose(rng, phrases.AMOUNTS),
        "reference": f"{_choose(rng, 'ABKNTX')}{rng.getrandbits(20):07d}",
    }
    turns = [("Agent", f"Hello, thank you for calling. This is {agent}. How may I help you?")]
    for number in range(1, script.turns):
        agent_speaks = number % 2 == 0 or (number > 3 and rng.random() < 0.1)
        label, lines = ("Agent", agent_lines) if agent_speaks else ("Caller", caller_lines)
        text = _choose(rng, lines)
        if rng.random() < 0.3:
            text += " " + _choose(rng, lines)
        turns.append((label, text.format_map(facts) if "{" in text else text))
    if script.heated:
        turns.insert(int(len(turns) * 0.7), ("Caller", _choose(rng, phrases.HEATED_CALLER)))
    return turns


def _count_characters(turns: list[tuple[str, str]]) -> int:
    return sum(len("[]: \n") + len(label) + len(speech) for label, speech in turns)


def _join_turns(oddity: str, turns: list[tuple[str, str]], rng: random.Random) -> str:
    """Join the turns, with the oddity of the script."""
    middle = len(turns) // 2
    label, speech = turns[middle]
    line_end = "\n"
    separator = "]: "
    match oddity:
        case "continuation_lines":
            turns[middle] = (label, speech + "\nand another thing,\n  it happened again this morning.")
        case "blank_lines":
            turns[middle] = (label, "\n" + speech + "\n\n")
        case "crlf":
            line_end = "\r\n"
        case "empty_turns":
            turns[middle:middle] = [("Caller", ""), ("Agent", "")]
        case "spoken_brackets":
            turns[middle] = (label, "I called at [5:00] and again at [5:30]: nobody. [laughs] Then\n[5:45] it rang.")
        case "spoken_colons":
            turns[middle] = (label, "note: this is my third call, at 10:15; the link was https://example.com/a?b=c")
        case "label_inside":
            turns[middle] = (label, f"{speech} He said [Agent]: wait for me, and I waited.")
        case "unlabelled":
            return " ".join(text for _, text in turns)
        case "supervisor":
            turns.append(("Supervisor", "This is the supervisor. I have listened in and I will take it from here."))
        case "system":
            turns[:0] = [("System", "This call may be recorded for quality purposes.")]
        case "trails_off":
            turns.append(("Caller", "Well, I don't know, maybe..."))
        case "emoji":
            turns[middle] = (label, f"{speech} {_choose(rng, phrases.EMOJI)}{_choose(rng, phrases.EMOJI)}")
        case "one_turn":
            turns = turns[:1]
        case "other_label":
            turns = [("Speaker 2" if name == "Caller" else name, text) for name, text in turns]
        case "no_space_after_label":
            separator = "]:"
        case "nul":
            turns[middle] = (label, speech + "\x00\x07 beep")
        case "lone_surrogate":
            turns[middle] = (label, speech + " \ud83d")
        case "line_separators":
            turns[middle] = (label, f"{speech}\u2028[Agent]: not a line\x0b[Agent]: nor this\x85[Agent]: nor that")
        case "long_line":
            turns[middle] = (label, (speech + " ") * (100_000 // (len(speech) + 1) + 1))
    return line_end.join(f"[{name}{separator}{text}" for name, text in turns)


def _choose(rng: random.Random, choices: tuple[str, ...] | str) -> str:
    return choices[int(rng.random() * len(choices))]
