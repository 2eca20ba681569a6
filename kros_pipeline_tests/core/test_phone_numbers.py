"""Every spelling of one phone number becomes one text, and what is no number stays what it is."""

import re
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kros_pipeline.core.phone_numbers import (
    COUNTRIES,
    digits_of,
    fold_digits,
    is_near,
    near_pattern,
    normalise_phone_number,
    phone_number_text,
    runs_of_digits,
)

ADA = "+2348012345678"
WITH_COUNTRY_CODE: list[Any] = [
    # separators of any kind
    "+2348012345678",
    "+234 801 234 5678",
    "+234-801-234-5678",
    "+234.801.234.5678",
    "+234,801,234,5678",
    "+234/801/234/5678",
    "(+234) 801 234 5678".replace("(+", "+").replace(")", ""),
    "+234\u00a0801\u2011234\u20135678",
    "\u202a+2348012345678\u202c",
    "  +234 801 234 5678  ",
    # the trunk prefix, which is not dialled from abroad
    "+234 (0) 801 234 5678",
    "+234(0)8012345678",
    "+23408012345678",
    # dialled from abroad
    "002348012345678",
    "00 234 801 234 5678",
    # the "+" is missing
    "2348012345678",
    2348012345678,
    2348012345678.0,
    # digits of other scripts
    "+٢٣٤٨٠١٢٣٤٥٦٧٨",
    "＋２３４８０１２３４５６７８",
    "+२३४८०१२३४५६७८",
    # extensions
    "+2348012345678 ext. 12",
    "+2348012345678 x12",
    "+2348012345678;ext=12",
    "+2348012345678#12",
    "+2348012345678,12",
    # URIs
    "tel:+234-801-234-5678;ext=12",
    "tel:+2348012345678",
    "tel:08012345678;phone-context=+234",
    "sip:+2348012345678@sip.example.com",
    "SIP:+2348012345678@10.0.0.1:5060;user=phone",
    "sips:+2348012345678:secret@sip.example.com",
    "sip:2348012345678@sip.example.com",
    "sip:%2B2348012345678@sip.example.com",
    "sip:+2348012345678",
    '"Ada" <sip:+2348012345678@sip.example.com>;tag=1',
    "+2348012345678@sip.example.com",
    # objects
    {"e164": "+2348012345678"},
    {"e164": "+2348012345678", "country": "NG", "id": 41581234567},
    {"number": 2348012345678},
    {"phone": {"number": "+234 801 234 5678"}},
    {"country_code": 234, "national_number": 8012345678},
    {"country_code": "+234", "number": "0801 234 5678"},
    {"number": "0801 234 5678", "country": "ng"},
    {"national": "0801 234 5678", "international": "+234 801 234 5678"},
    ["+2348012345678"],
]
NATIONAL: list[Any] = [
    "08012345678",
    "0801 234 5678",
    "(0801) 234-5678",
    "8012345678",
    8012345678,
    "٠٨٠١٢٣٤٥٦٧٨",
    "sip:08012345678@host",
    "tel:08012345678",
    "009 234 801 234 5678",  # dialled from Nigeria
    {"number": "08012345678"},
    "08012345678 ext 12",
]
NO_NUMBER: list[Any] = [
    None,
    True,
    "",
    " ",
    "anonymous",
    "agent_12345678",
    "sip:ada@example.com",
    "sip:192.168.100.200",
    "ada2348012345678@example.com",
    "12345",
    12345,
    -2348012345678,
    1.5,
    float("inf"),
    float("nan"),
    10**400,
    "+",
    "+12",
    "+" + "1" * 16,
    "1" * 100_000,
    "+234 801 234 5678 or +234 802 234 5678",
    [],
    {},
    {"id": "+x"},
    ["+2348012345678", "+2348022345678"],
    {"a": "+2348012345678", "b": "+2348022345678"},
    {"number": {"number": {"number": {"number": {"number": "+2348012345678"}}}}},
]


@pytest.mark.parametrize("country", [None, "NG", "US", "IT"])
@pytest.mark.parametrize("value", WITH_COUNTRY_CODE, ids=repr)
def test_a_number_with_its_country_code_is_read_in_every_form(value: object, country: str | None) -> None:
    assert normalise_phone_number(value, country) == ADA


@pytest.mark.parametrize("value", NATIONAL, ids=repr)
def test_a_national_number_is_read_with_the_default_country_only(value: object) -> None:
    assert normalise_phone_number(value, "NG") == ADA
    assert normalise_phone_number(value, None) is None


@pytest.mark.parametrize("country", [None, "NG"])
@pytest.mark.parametrize("value", NO_NUMBER, ids=lambda value: repr(value)[:40])
def test_what_is_no_number_is_not_read(value: object, country: str | None) -> None:
    assert normalise_phone_number(value, country) is None


@pytest.mark.parametrize(
    ("value", "country", "number"),
    [
        ("+44 (0)20 7946 0958", None, "+442079460958"),
        ("+39 06 1234 5678", None, "+390612345678"),  # the zero belongs to an Italian number
        ("06 1234 5678", "IT", "+390612345678"),
        ("(415) 555-1234", "US", "+14155551234"),
        ("011 234 801 234 5678", "US", ADA),
        ("4155551234", None, None),  # without a country nobody knows whose it is
        ("+1 555 000 0001", None, "+15550000001"),  # not assigned, and still one text
        ("+999 123 456 789", None, "+999123456789"),
    ],
)
def test_numbers_of_other_countries(value: object, country: str | None, number: str | None) -> None:
    assert normalise_phone_number(value, country) == number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2348012345678, ADA),
        ({"e164": "+2348012345678"}, ADA),
        ("08012345678", "08012345678"),
        (8012345678, "8012345678"),
        ("anonymous", "anonymous"),
        ("sip:ada@example.com", "sip:ada@example.com"),
        (112, "112"),
        (7, None),
        (["anonymous"], None),
        ("a\ud800", "a\ufffd"),
        (None, None),
        (True, None),
        ({"a": "+2348012345678", "b": "+2348022345678"}, None),
    ],
)
def test_what_cannot_be_read_stays_as_it_came(value: object, text: str | None) -> None:
    assert phone_number_text(value, None) == text


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(COUNTRIES)),
    st.sampled_from(["", " ", "-", ".", "\u00a0", "/", ","]),
    st.sampled_from(["{}", "tel:{};ext=7", "sip:{}@host", "{} ext 7", "\u202d{}\u202c"]),
    st.sampled_from("0٠०０"),
)
def test_an_example_number_of_every_country_is_read_however_it_is_written(
    country: str, gap: str, form: str, zero: str
) -> None:
    example = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
    if example is None:
        return
    number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    groups = re.findall(r"\d{1,4}", number)
    written = "+" + gap.join("".join(chr(ord(zero) + int(digit)) for digit in group) for group in groups)
    assert normalise_phone_number(form.format(written), None) == number


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text()), st.lists, max_leaves=5))
def test_no_value_is_refused_and_a_number_is_read_as_itself(value: object) -> None:
    number = normalise_phone_number(value, "NG")
    assert number is None or normalise_phone_number(number, "NG") == number


# Near matches: not surely the same number, and shown to a person.


@pytest.mark.parametrize(
    ("digits", "is_it"),
    [
        ("2348012345678", True),
        ("08012345678", True),
        ("8012345678", True),
        ("1012345678", True),  # another number with the same last nine digits: a person decides
        ("1112345678", False),
        ("12345678", True),
        ("012345678", True),
        ("345678", False),
        ("99080123456780000", True),  # glued to other digits
        ("2348012345679", False),
        ("", False),
    ],
)
def test_a_number_is_near_another_with_the_same_last_digits(digits: str, is_it: bool) -> None:
    assert is_near(digits, "2348012345678") is is_it


def test_a_short_national_number_is_near_its_international_form() -> None:
    assert is_near("91234567", "4791234567")  # Norwegian numbers have eight digits
    assert not is_near("1234567", "47912345678")


@pytest.mark.parametrize(
    "text",
    ['{"contact":"0801 234 5678"}', "call 801-234-5678.", "٠٨٠١٢٣٤٥٦٧٨", '{"n":8012345678}', "(0801)(234)(5678)"],
)
def test_a_number_is_found_in_a_free_text(text: str) -> None:
    assert re.search(near_pattern("2348012345678"), text)
    assert any(is_near(run, "2348012345678") for run in runs_of_digits(text))


def test_digits_of_any_script_are_folded() -> None:
    assert fold_digits("०٨８") == "088"
    assert digits_of("+234 (801) ٢٣٤-5678") == "2348012345678"
    assert digits_of("00234") == "234"
