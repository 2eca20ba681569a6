"""Compare languages by ISO 639, however they are written: `en`, `eng`, `en_US`, `English`; `de`, `deu`, `ger`."""

import re

# ISO 639-1, 639-2/T, 639-2/B where it differs, and the English name, with _ for a blank.
_LANGUAGES = """
aa aar afar, ab abk abkhazian, ae ave avestan, af afr afrikaans, ak aka akan, am amh amharic, an arg aragonese,
ar ara arabic, as asm assamese, av ava avaric, ay aym aymara, az aze azerbaijani, ba bak bashkir,
be bel belarusian, bg bul bulgarian, bi bis bislama, bm bam bambara, bn ben bengali, bo bod tib tibetan,
br bre breton, bs bos bosnian, ca cat catalan, ce che chechen, ch cha chamorro, co cos corsican, cr cre cree,
cs ces cze czech, cu chu church_slavic, cv chv chuvash, cy cym wel welsh, da dan danish, de deu ger german,
dv div divehi, dz dzo dzongkha, ee ewe ewe, el ell gre greek, en eng english, eo epo esperanto, es spa spanish,
et est estonian, eu eus baq basque, fa fas per persian, ff ful fulah, fi fin finnish, fj fij fijian,
fo fao faroese, fr fra fre french, fy fry western_frisian, ga gle irish, gd gla scottish_gaelic, gl glg galician,
gn grn guarani, gu guj gujarati, gv glv manx, ha hau hausa, he heb hebrew, hi hin hindi, ho hmo hiri_motu,
hr hrv croatian, ht hat haitian, hu hun hungarian, hy hye arm armenian, hz her herero, ia ina interlingua,
id ind indonesian, ie ile interlingue, ig ibo igbo, ii iii sichuan_yi, ik ipk inupiaq, io ido ido,
is isl ice icelandic, it ita italian, iu iku inuktitut, ja jpn japanese, jv jav javanese, ka kat geo georgian,
kg kon kongo, ki kik kikuyu, kj kua kuanyama, kk kaz kazakh, kl kal kalaallisut, km khm khmer, kn kan kannada,
ko kor korean, kr kau kanuri, ks kas kashmiri, ku kur kurdish, kv kom komi, kw cor cornish, ky kir kirghiz,
la lat latin, lb ltz luxembourgish, lg lug ganda, li lim limburgan, ln lin lingala, lo lao lao, lt lit lithuanian,
lu lub luba-katanga, lv lav latvian, mg mlg malagasy, mh mah marshallese, mi mri mao maori, mk mkd mac macedonian,
ml mal malayalam, mn mon mongolian, mr mar marathi, ms msa may malay, mt mlt maltese, my mya bur burmese,
na nau nauru, nb nob norwegian_bokmål, nd nde north_ndebele, ne nep nepali, ng ndo ndonga, nl nld dut dutch,
nn nno norwegian_nynorsk, no nor norwegian, nr nbl south_ndebele, nv nav navajo, ny nya chichewa, oc oci occitan,
oj oji ojibwa, om orm oromo, or ori oriya, os oss ossetian, pa pan panjabi, pi pli pali, pl pol polish,
ps pus pushto, pt por portuguese, qu que quechua, rm roh romansh, rn run rundi, ro ron rum romanian,
ru rus russian, rw kin kinyarwanda, sa san sanskrit, sc srd sardinian, sd snd sindhi, se sme northern_sami,
sg sag sango, si sin sinhala, sk slk slo slovak, sl slv slovenian, sm smo samoan, sn sna shona, so som somali,
sq sqi alb albanian, sr srp serbian, ss ssw swati, st sot southern_sotho, su sun sundanese, sv swe swedish,
sw swa swahili, ta tam tamil, te tel telugu, tg tgk tajik, th tha thai, ti tir tigrinya, tk tuk turkmen,
tl tgl tagalog, tn tsn tswana, to ton tonga, tr tur turkish, ts tso tsonga, tt tat tatar, tw twi twi,
ty tah tahitian, ug uig uighur, uk ukr ukrainian, ur urd urdu, uz uzb uzbek, ve ven venda, vi vie vietnamese,
vo vol volapük, wa wln walloon, wo wol wolof, xh xho xhosa, yi yid yiddish, yo yor yoruba, za zha zhuang,
zh zho chi chinese, zu zul zulu
"""
# Codes that ISO 639 has withdrawn, and codes of the usual form of a language that has several.
_ALIASES = """
iw he, in id, ji yi, jw jv, mo ro, cmn zh, arb ar, pes fa, swh sw, zsm ms, ekk et, lvs lv, npi ne, ory or, uzn uz,
khk mn, plt mg, kmr ku, ydd yi, als sq, azj az, fil tl, filipino tl, mandarin zh, farsi fa, flemish nl, castilian es
"""
_TAG = re.compile(r"[A-Za-z]{2,24}(?:[-_][A-Za-z0-9]{1,8})*").fullmatch


def _read_codes() -> dict[str, str]:
    codes: dict[str, str] = {}
    for entry in _LANGUAGES.split(","):
        first, *others = entry.split()
        codes |= {name.replace("_", " "): first for name in (first, *others)}
    return codes | dict(entry.split() for entry in _ALIASES.split(","))


_CODES = _read_codes()


def normalise_language(tag: str) -> str:
    """Return a language tag in lower case, with `-`, and with the shortest code of its language."""
    folded = tag.strip().replace("_", "-").lower()
    language, dash, rest = folded.partition("-")
    return _CODES.get(folded) or _CODES.get(language, language) + dash + rest


def is_language(tag: str) -> bool:
    """Return whether a text can be a language: a known code or name, or three letters (ISO 639-3)."""
    language = normalise_language(tag).partition("-")[0]
    is_known = language in _CODES or len(language) == 3
    return tag.strip().lower() in _CODES or (_TAG(tag.strip()) is not None and is_known)


def matches_language(tag: str, wanted: str) -> bool:
    """Return whether a tag is in the wanted range (RFC 4647, basic filtering): `pt` has `pt-BR`, not the reverse."""
    found, normalised = normalise_language(tag), normalise_language(wanted)
    return found == normalised or found.startswith(f"{normalised}-")
