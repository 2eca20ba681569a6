"""Know what speech recognition writes into brackets and nobody says: `[inaudible]`, `[crosstalk 00:12]`."""

import re
from functools import lru_cache

from .speaker_roles import fold_label, read_words

_WORDS = read_words(
    """
inaudible unintelligible indiscernible indistinct unclear incomprehensible crosstalk overlap overlapping
overlaps laugh laughs laughing laughter chuckle chuckles chuckling giggle giggles cough coughs coughing sneeze
sneezes sigh sighs sighing sniff sniffs gasp gasps cry cries crying sob sobs sobbing scream screams shout shouts
shouting whisper whispers whispering breath breathing breathes yawn yawns hum hums humming sings singing clears
throat clearing silence silent pause pauses paused noise noises static music jingle beep beeps beeping tone
tones dtmf ringing rings ringtone ring dial click clicks clicking typing applause clapping clap bark barking
barks background hold holding redacted bleep bleeped censored blank blank_audio audio disconnected hangup pii
profanity expletive garbled muffled distorted interference feedback echo no_speech nonverbal non-verbal
inintelligible rires rire toux soupir musique bruit bruits brouhaha ininteligible risas risa tos suspiro
silencio música musica ruido inaudível inaudivel ininteligível risos riso tosse ruído incomprensibile risate
risata rumore pausa unverständlich lachen lacht husten hustet seufzt stille musik geräusch geräusche rauschen
gelächter onverstaanbaar gelach muziek stilte niewyraźne śmiech muzyka cisza неразборчиво смех музыка шум пауза
тишина кашель вздох гудки anlaşılmıyor gülüşmeler müzik sessizlik غير مسموع واضح ضحك موسيقى صمت تصفيق ضوضاء
听不清 听不清楚 笑 笑声 音乐 音樂 静音 沉默 噪音 掌声 聞き取れず 聞き取れない 聞き取り不能 笑い 笑い声 音楽 雑音
沈黙 無音 拍手 웃음 웃음소리 음악 침묵 소음 박수
"""
)
_EVENT_WORDS = frozenset(map(fold_label, _WORDS))
_FILLERS = read_words(
    """
in the a of and or with on to off no non speaker's voice voices sound sounds end
"""
)
_NOT_LETTERS = re.compile(r"[\W\d]+")


@lru_cache(maxsize=4096)
def is_event(bracketed: str) -> bool:
    """Return whether the text between brackets is an event: each of its words is one, or a small one between them."""
    words = [word for word in _NOT_LETTERS.split(fold_label(bracketed)) if word]
    meaningful = [word for word in words if word not in _FILLERS]
    return bool(meaningful) and all(word in _EVENT_WORDS for word in meaningful)
