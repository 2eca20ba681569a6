"""Phrases of the sandbox's calls, by language and role, and the names and places that fill them."""

from __future__ import annotations

AGENT_NAMES = ("Chidinma", "Tunde", "Amina", "Ngozi", "Emeka", "Bisi", "Sarah", "Marcus", "Jasmine", "Kyle")
CALLER_NAMES = (
    "Adebayo Ogunleye", "Chukwuemeka Obi", "Fatima Bello", "Funmilayo Adeyemi", "Ibrahim Musa", "Ifeoma Nwosu",
    "Yusuf Abdullahi", "Blessing Okafor", "Olúwaṣeun Àjàyí", "Emily Johnson", "Michael Rodriguez", "Latoya Williams",
    "Brandon O'Neill", "Grace Kim", "Dwayne Carter",
)  # fmt: skip
PLACES = (
    "Ikeja", "Lekki Phase 1", "Surulere", "Wuse II, Abuja", "Kano", "Port Harcourt", "Enugu", "Ibadan",
    "San Francisco", "Houston", "Brooklyn", "Atlanta", "Columbus, Ohio",
)  # fmt: skip
AMOUNTS = (
    "₦4,500", "₦12,750.00", "fifty thousand naira", "₦250,000", "5k", "N1.2 million", "$19.99", "$240",
    "three hundred dollars", "$1,050.75",
)  # fmt: skip

ENGLISH_AGENT = (
    "Could I have the phone number on the account, please?",
    "Thank you, {caller}. I can see your order {reference} on my screen.",
    "I understand. Let me check that for you, one moment please.",
    "The payment of {amount} was received yesterday.",
    "I'm sorry about the delay. The rider had a problem around {place}.",
    "Can you confirm the delivery address? I have {place} here.",
    "Your reference number is {reference}. Please keep it.",
    "I've raised a ticket with our technical team; they will call you within 24 hours.",
    "Would you like me to send the details by SMS or by email?",
    "The amount should reflect in your account within three working days.",
    "Please hold while I transfer you to the right department.",
    "For security, could you tell me your date of birth?",
    "I have reset your password. You should get a code in a minute.",
    "Is there anything else I can help you with today?",
    "We appreciate your patience, {caller}.",
)
ENGLISH_CALLER = (
    "Good afternoon, my name is {caller}.",
    "I'm calling about order {reference}, it has not arrived.",
    "I was charged {amount} twice on my card.",
    "I made a transfer of {amount} since Monday and I have not seen anything.",
    "I live in {place}, off the main road, opposite the filling station.",
    "Okay, that's fine. How long will it take?",
    "No, I already tried that and it didn't work.",
    "Can I get a refund for this, please?",
    "Yes, that's correct.",
    "Hold on, let me get my card... okay, I'm back.",
    'The app keeps saying "something went wrong", and then it closes.',
    "I spoke to somebody last week and they promised to call back.",
    "Honestly, the network here in {place} is so bad today.",
    "Could you send it to my email? It's all lower case.",
    "Alright, thank you so much for your help.",
    "Um, I think it's the blue one. No wait, the black one.",
)
PIDGIN_CALLER = (
    "Abeg, wetin dey happen to my money? Na {amount} I send o.",
    "I don call una three times this week, nobody pick.",
    "E no dey work at all, the thing just dey load.",
    "Oga, make una help me check am well well.",
    "Na so I see am o. I dey for {place} now.",
    "No wahala, I go wait. But make e no tey.",
    "Ehen! Now you dey talk. Thank you my sister.",
)
HEATED_CALLER = (
    "If this is not sorted today, I will call my lawyer.",
    "I want a refund now, or you will hear from my lawyer!",
    "My lawyer says I can sue for this.",
    "This is fraud. I am going to report you and get my refund.",
)

OTHER_LANGUAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "yo": (
        (
            "Ẹ káàbọ̀, báwo ni mo ṣe lè ràn yín lọ́wọ́?",
            "Ẹ jọ̀wọ́, kí ni orúkọ yín?",
            "Ẹ má bínú, a máa yanjú rẹ̀ lónìí.",
            "Nọ́mbà yín ni {reference}.",
        ),
        (
            "Ẹ káàsán o. Orúkọ mi ni {caller}.",
            "Owó mi, {amount}, kò tíì dé.",
            "Mo ń gbé ní {place}.",
            "Ẹ ṣé gan-an ni.",
            "Rárá, mi ò tíì rí i.",
        ),
    ),
    "ha": (
        (
            "Sannu da zuwa, yaya zan taimake ka?",
            "Don Allah, mene ne sunanka?",
            "Ka yi hakuri, za mu duba yanzu.",
            "Lambarka ita ce {reference}.",
        ),
        (
            "Ina kwana. Sunana {caller}.",
            "Na tura {amount} amma ba su iso ba.",
            "Ina zaune a {place}.",
            "Na gode sosai.",
            "Ƙarfe nawa za ku kira ni?",
        ),
    ),
    "ig": (
        (
            "Nnọọ, kedu ka m ga-esi nyere gị aka?",
            "Biko, gịnị bụ aha gị?",
            "Ndo, anyị ga-edozi ya taa.",
            "Nọmba gị bụ {reference}.",
        ),
        (
            "Ụtụtụ ọma. Aha m bụ {caller}.",
            "Ego m, {amount}, erubeghị.",
            "Ebi m na {place}.",
            "Daalụ nke ukwuu.",
            "Mba, ahụbeghị m ya.",
        ),
    ),
    "fr": (
        (
            "Bonjour, comment puis-je vous aider ?",
            "Pouvez-vous me donner votre numéro de dossier ?",
            "Je vérifie tout de suite, ne quittez pas.",
            "Votre référence est {reference}.",
        ),
        (
            "Bonjour, je m'appelle {caller}.",
            "On m'a prélevé {amount} deux fois ; c'est inadmissible !",
            "J'habite à {place}.",
            "Très bien, merci beaucoup.",
            "Je voudrais être remboursé, s'il vous plaît.",
        ),
    ),
    "es": (
        (
            "Buenos días, ¿en qué puedo ayudarle?",
            "¿Me puede dar su número de pedido?",
            "Un momento, por favor; lo estoy revisando.",
            "Su referencia es {reference}.",
        ),
        (
            "Hola, soy {caller}.",
            "Me cobraron {amount} dos veces, ¿por qué?",
            "Vivo en {place}, cerca de la estación.",
            "Está bien, muchísimas gracias.",
            "¡No me ha llegado el código todavía!",
        ),
    ),
    "ar": (
        (
            "مرحبا، كيف يمكنني مساعدتك؟",
            "من فضلك، ما هو رقم الطلب؟",
            "لحظة واحدة، سأتحقق من ذلك الآن.",
            "رقمك المرجعي هو {reference}.",
        ),
        (
            "السلام عليكم، اسمي {caller}.",
            "لقد دفعت {amount} ولم يصل الطلب بعد.",
            "أسكن في {place}.",
            "شكرا جزيلا لك.",
            "لا، لم أستلم الرمز.",
        ),
    ),
    "zh": (
        (
            "您好，请问有什么可以帮您？",
            "请告诉我您的订单号。",
            "请稍等，我马上为您查询。",
            "您的编号是{reference}。",
        ),
        (
            "你好，我叫{caller}。",
            "我付了{amount}，但是还没有收到货。",
            "我住在{place}。",
            "好的，谢谢你。",
            "我想退款。",
        ),
    ),
}
EMOJI = ("😀", "🙏🏾", "👍🏽", "👩‍👩‍👧", "🇳🇬", "💸")
