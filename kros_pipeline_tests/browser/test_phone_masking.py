"""Five digits or more are hidden, however they are written; places in the text stay where they were."""

from __future__ import annotations

import pytest

from kros_pipeline.browser.phone_masking import mask_number, mask_numbers_in


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 0801 234 5678 now", "call •••• ••• •••• now"),
        ("+234-801.234/5678", "+•••-•••.•••/••••"),
        ("0801_234_5678", "••••_•••_••••"),
        # a turn that was wrapped, pauses, and blanks of every kind
        ("0801\n234\n5678", "••••\n•••\n••••"),
        ("0801\r\n\r\n 234\u20285678", "••••\r\n\r\n •••\u2028••••"),
        ("0801 ... 234 ... 5678", "•••• ... ••• ... ••••"),
        ("0801 – … – 234 – … – 5678", "•••• – … – ••• – … – ••••"),
        (f"0801{' ' * 40}234\n\n5678", f"••••{' ' * 40}•••\n\n••••"),
        (f"0801{' ' * 40}234\u00a05678é", f"••••{' ' * 40}•••\u00a0••••é"),
        # letters that stand for digits
        ("08o1 234 5678", "•••• ••• ••••"),
        ("0 8 O l I 2 3 4", "• • • • • • • •"),
        # digits of other scripts and forms
        ("٠٨٠١ ٢٣٤", "•••• •••"),
        ("①②③④⑤⑥⑦", "•••••••"),
        ("❶❷❸❹❺❿⓿", "•••••••"),
        ("０８０１２３４", "•••••••"),
        ("𝟎𝟖𝟎𝟏𝟐", "•••••"),
        ("¹²³⁴⁵", "•••••"),
        ("1\ufe0f\u20e32\ufe0f\u20e33\ufe0f\u20e34\ufe0f\u20e35\ufe0f\u20e3", "•" * 15),
        ("08\u200b01\u00ad234", "••••••••\u2022"),
        ("&#48;8&nbsp;01&amp;#50;34", "•" * 5 + "•" + "&nbsp;" + "••" + "•" * 9 + "••"),
        ("é 0801 234", "é •••• •••"),
        # what is no long number stays as it is
        ("at 10:30, in 12 days", None),
        ("room 1234", None),
        ("é at 10:30", None),
        ("I, I, I, O, l, I", None),
        ("1 of 2, or 3 of 4, or 5", None),
        ("0801, then 234", None),
        ("eins zwei drei, 一二三四五", None),
        ("", None),
    ],
)
def test_long_numbers_are_hidden_in_their_places(text: str, masked: str | None) -> None:
    assert mask_numbers_in(text) == (text if masked is None else masked)
    assert len(mask_numbers_in(text)) == len(text)


@pytest.mark.parametrize("filler", ["1 ", "&#49;", "é1", " ", "o", "1234 é x", "\u00ad\n"])
def test_a_long_text_of_any_kind_is_read_once(filler: str) -> None:
    assert len(mask_numbers_in(filler * 20_000)) == len(filler) * 20_000


@pytest.mark.parametrize(
    ("number", "masked"),
    [("+2348012345678", "••••78"), ("112", "••••"), ("sip:ada@example.com", "••••"), ("", "••••"), (None, None)],
)
def test_a_number_shows_its_last_two_digits(number: str | None, masked: str | None) -> None:
    assert mask_number(number) == masked
