"""Decide who a label names: the agent, the caller, or somebody else.

Labels are compared folded: without case, accents, marks that show nothing, and punctuation between words. A number, a
letter or a name in brackets behind the role changes nothing: `Agent #2`, `Caller (Maria)`.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from .statuses import Speaker


def read_words(text: str) -> frozenset[str]:
    """Return the words of a vocabulary that is written as one text."""
    return frozenset(text.split())


# The usual names of the two roles, in the languages of KrosAI's customers.
_AGENT_NAMES = """
agent, assistant, ai, ai agent, ai assistant, ai voice agent, voice ai, bot, chatbot, voicebot, voice bot,
callbot, representative, rep, csr, advisor, adviser, consultant, attendant, receptionist, salesperson, salesman,
saleswoman, seller, telemarketer, dispatcher, teller, support, helpdesk, help desk, customer service,
customer care, customer support, customer success, client service, user support, call taker, employee, staff,
operator, tech support, agente, agenta, asistente, asesor, asesora, operador, operadora, teleoperador,
teleoperadora, representante, vendedor, vendedora, ejecutivo, ejecutiva, servicio al cliente,
atención al cliente, soporte, recepcionista, agent commercial, agente commerciale, assistant virtuel, assistante,
conseiller, conseillère, conseiller client, opérateur, opératrice, téléconseiller, téléconseillère, télévendeur,
réceptionniste, service client, service clientèle, vendeur, vendeuse, atendente, assistente, consultor,
consultora, atendimento, atendimento ao cliente, suporte, robô, operatore, operatrice, consulente,
servizio clienti, assistenza clienti, venditore, mitarbeiter, mitarbeiterin, berater, beraterin, kundenberater,
kundenberaterin, kundenservice, kundendienst, vertreter, vertreterin, assistent, assistentin, verkäufer,
verkäuferin, medewerker, klantenservice, adviseur, consulent, konsultant, konsultantka, doradca, pracownik,
agentka, агент, оператор, менеджер, консультант, ассистент, помощник, бот, сотрудник, специалист, асистент,
представник, temsilci, müşteri temsilcisi, danışman, asistan, görevli, agen, asisten, petugas, ajan, wakala,
mhudumu, ejenti, aṣojú, oníṣẹ́, wakili, ma'aikaci, onye nnọchi anya, الوكيل, وكيل, موظف, الموظف, مندوب, المندوب,
المساعد, مساعد, خدمة العملاء, نماینده, اپراتور, کارشناس, एजेंट, प्रतिनिधि, सहायक, কর্মী, এজেন্ট, முகவர், ایجنٹ, נציג,
נציגה, סוכן, 客服, 坐席, 座席, 代理, 代理人, 助理, 助手, 客服人员, 客服人員, 接线员, 销售, 机器人, オペレーター,
オペレータ, 担当者, 担当, エージェント, アシスタント, 係員, ボット, 상담원, 상담사, 직원, 에이전트, 에이전시,
어시스턴트, เจ้าหน้าที่, พนักงาน, ตัวแทน, nhân viên, tổng đài viên, nhân viên tư vấn, đại lý, trợ lý,
pangkat ahente, ahente, kinatawan
"""
_CALLER_NAMES = """
caller, customer, client, user, end user, human, guest, patient, consumer, member, subscriber, buyer, prospect,
shopper, policyholder, passenger, inbound caller, human caller, human user, customer caller, cliente, clienta,
usuario, usuaria, llamante, interlocutor, comprador, compradora, paciente, consumidor, cliente que llama,
appelant, appelante, appelé, client appelant, cliente final, utilisateur, utilisatrice, usager, acheteur,
interlocuteur, abonné, patiente, chamador, usuário, utilizador, utente, chiamante, utente finale, acquirente,
paziente, consumatore, anrufer, anruferin, kunde, kundin, kunden, nutzer, nutzerin, benutzer, benutzerin, gast,
käufer, patientin, klient, klantin, klant, beller, gebruiker, klientka, dzwoniący, rozmówca, użytkownik, клиент,
клиентка, абонент, звонящий, пользователь, покупатель, заказчик, пациент, клієнт, клієнтка, абонентка, müşteri,
arayan, kullanıcı, hasta, pelanggan, penelepon, pengguna, nasabah, mteja, mpigaji, mpiga simu, mtumiaji,
oníbàárà, oníbàrà, olùpè, abokin ciniki, mai kira, onye ahịa, onye na-akpọ, العميل, عميل, المتصل, متصل, الزبون, زبون,
المستخدم, مستخدم, مشتری, تماس گیرنده, کاربر, ग्राहक, कॉलर, उपयोगकर्ता, গ্রাহক, কলার, வாடிக்கையாளர், گاہک, صارف, לקוח,
לקוחה, מתקשר, מתקשרת, 客户, 客戶, 顾客, 顧客, 用户, 用戶, 来电者, 來電者, 呼叫者, 主叫, お客様, お客さま, 客,
顧客様, 発信者, ユーザー, ユーザ, 利用者, 고객, 고객님, 사용자, 손님, 발신자, ลูกค้า, ผู้โทร, ผู้ใช้, khách hàng, khách,
người gọi, người dùng, kliyente, tumatawag, kostumer
"""
# Who takes part and is neither: a label that needs nobody's attention.
_OTHER_NAMES = """
supervisor, system, manager, ivr, voicemail, answering machine, announcement, automated message, recording,
interpreter, translator, narrator, moderator
"""
# A word before a role's name that leaves it the role's name.
_MODIFIERS = read_words(
    """
the virtual voice human live phone call center centre contact sales service support inbound outbound new
returning first second main digital automated customer customer's kros krosai
"""
)
_NUMBERED = re.compile(r"(?:speaker|spk|participant|channel|person|voice|sprecher|locuteur|hablante|orador) ?\w{1,3}")
_SPLITS = re.compile(r"[()\[\]{}（）［］<>\-–—,，、/|:;·@]+")
_NUMBER = re.compile(r"(?:^|\s)(?:(?:no|nr|n°|num|id)\.? ?)?#? ?(?:\d{1,6}|[a-z]|i{1,3})$|(?<=[^\W\d_])\d{1,3}$")
_MARKS_OF_NOTHING = re.compile(r"[\"'*_~`.!?“”„«»#]+")


def fold_label(label: str) -> str:
    """Return a label as labels are compared: no case, no accents, no marks that show nothing, single spaces."""
    shown = label.casefold() if label.isascii() else _fold_letters(label)
    return " ".join(shown.replace("_", " ").split())


def _fold_letters(label: str) -> str:
    """Fold what only other letters than ASCII have. Labels in capitals or typed in haste often lack their accents."""
    text = unicodedata.normalize("NFKC", label).replace("’", "'").replace("ʼ", "'")
    shown = "".join(char for char in text if unicodedata.category(char) != "Cf")
    letters = unicodedata.normalize("NFD", shown.casefold().replace("ı", "i"))
    return unicodedata.normalize("NFC", "".join(char for char in letters if not "\u0300" <= char <= "\u036f"))


@dataclass(frozen=True)
class SpeakerRoles:
    """The names of the two roles: the usual ones, and further ones of a setting. Names are folded.

    `remembered_labels` are labels as they stood in texts, brackets and colon included: what each of them means.
    """

    agent: frozenset[str]
    caller: frozenset[str]
    others: frozenset[str] = frozenset()
    remembered_labels: dict[str, tuple[Speaker, str]] = field(default_factory=dict, compare=False, repr=False)
    _known: dict[str, Speaker] = field(default_factory=dict, compare=False, repr=False)

    def with_labels(self, agent: Iterable[str], caller: Iterable[str]) -> "SpeakerRoles":
        """Return the roles with further labels, which weigh more than the usual ones."""
        agents, callers = frozenset(map(fold_label, agent)), frozenset(map(fold_label, caller))
        if not (agents or callers):
            return self
        return SpeakerRoles((self.agent - callers) | agents, (self.caller - agents) | callers, self.others)

    def speaker_of(self, label: str) -> Speaker:
        """Return `agent`, `caller`, or `other` for a label of neither role."""
        speaker = self._known.get(label)
        if speaker is None:
            speaker = self._find(fold_label(label))
            if len(self._known) < _MAX_REMEMBERED:
                self._known[label] = speaker
        return speaker

    def is_known(self, label: str) -> bool:
        """Return whether a label is understood: it names one of the roles, or somebody who has neither."""
        return self.speaker_of(label) is not Speaker.OTHER or fold_label(label) in self.others

    def _find(self, folded: str) -> Speaker:
        role = self._role_of(folded)
        if role is None:  # `Caller (Maria)`, `Maria - Agent`: the one part that names a role
            roles = {self._role_of(part) for part in _SPLITS.split(folded)} - {None}
            role = roles.pop() if len(roles) == 1 else None
        return role or Speaker.OTHER

    def _role_of(self, name: str) -> Speaker | None:
        for candidate in _reductions(name):
            if candidate in self.agent:
                return Speaker.AGENT
            if candidate in self.caller:
                return Speaker.CALLER
        return None


def _reductions(name: str) -> Iterable[str]:
    """Yield the name, and what is left of it without marks, number, and words that change no role."""
    name = name.strip()
    yield name
    name = " ".join(_MARKS_OF_NOTHING.sub(" ", name).split())
    yield name
    name = _NUMBER.sub("", name).strip()
    yield name
    words = name.split()
    while len(words) > 1 and words[0] in _MODIFIERS:
        words = words[1:]
        yield " ".join(words)


def is_showable(label: str) -> bool:
    """Return whether a label may be shown in a message: it is as short as a name, and holds no number of anything."""
    return len(label) <= 40 and len(label.split()) <= 3 and not re.search(r"\d{4}|[^\w .,'’#&()/\-]", label)


@lru_cache(maxsize=4096)
def is_numbered_speaker(label: str) -> bool:
    """Return whether a label is one that only speech recognition writes: `Speaker 2`, `SPEAKER_00`."""
    return _NUMBERED.fullmatch(fold_label(label).replace("#", "")) is not None


def _names(text: str) -> frozenset[str]:
    return frozenset(fold_label(name) for name in text.replace("\n", " ").split(",") if name.strip())


_MAX_REMEMBERED = 10_000
USUAL_ROLES = SpeakerRoles(_names(_AGENT_NAMES), _names(_CALLER_NAMES), _names(_OTHER_NAMES))
"""The roles by their usual names."""
