"""The phrases that the sample data is made of. `{…}` are filled in from VALUES."""

VALUES = {
    "amount": ["4.99", "12,50", "37.20", "89.00", "149,99", "412.75", "1.250,00", "2,300"],
    "currency": ["€", "$", "£", "EUR", "USD", "zł"],
    "merchant": ["Café Müller", "RailGo", "O'Neill's", '"The Bookshop"', "ACME & Sons", "Supermercado Día", "北京面馆"],
    "days": ["2", "3", "5", "8", "10", "14"],
    "city": ["Lisbon", "Kraków", "München", "São Paulo", "Reykjavík", "Osaka", "Zürich"],
    "name": ["Ana", "Bjørn", "Chloé", "Dmitri", "Emre", "Fatima", "Giulia", "Hiroshi", "Íñigo", "Joanna"],
    "digits": ["0417", "2291", "5530", "8804"],
}

MESSAGES = {
    "en": [
        "I ordered my card {days} days ago and it still has not arrived. When will it get here?",
        "My new card hasn't come yet. Can you tell me where it is? I live in {city}.",
        "I lost my card in {city} this morning, please block it right away!!",
        "someone stole my wallet. freeze the card ending {digits} NOW please",
        "My card ending in {digits} was swallowed by a cash machine in {city}.",
        "There's a payment of {amount} {currency} to {merchant} that I did not make.",
        "I was charged twice by {merchant}: {amount} {currency} on the same day.",
        "why was my card declined at {merchant}?? there is money on it",
        "I returned the item to {merchant} {days} days ago. When do I get my {amount} {currency} back?",
        "Please cancel the payment to {merchant} and refund me, the order never came.",
        "My transfer of {amount} {currency} has been pending for {days} days.",
        "I sent {amount} {currency} to the wrong account number. Can it be recalled?",
        "What exchange rate do you use when I pay in {currency}? The one in {city} looked wrong.",
        "You took a fee of {amount} {currency} for a cash withdrawal, the app said it was free.",
        'How do I top up with my bank card? It says "limit reached".',
        "my top-up of {amount} {currency} is not showing",
        "I can't verify my identity, the app rejects every photo of my passport.",
        "Why do you need a proof of address? I already uploaded it {days} days ago.",
        "I forgot my passcode and I'm locked out of the app.",
        "How can I change the PIN of the card ending {digits}?",
        "Please close my account and send the rest to my bank in {city}.",
        "Just wanted to say thanks to {name}, who helped me yesterday. Great service 🙌",
        "Do you have an office in {city}?",
        "Is Apple Pay supported? \U0001f60a",
    ],
    "de": [
        "Meine Karte ist nach {days} Tagen immer noch nicht da. Wo bleibt sie?",
        "Ich habe meine Karte in {city} verloren, bitte sofort sperren!",
        "Eine Zahlung über {amount} {currency} an {merchant} kenne ich nicht.",
        "{merchant} hat mir {amount} {currency} doppelt abgebucht – das ärgert mich sehr.",
        "Meine Überweisung über {amount} {currency} hängt seit {days} Tagen.",
        "Welchen Wechselkurs nehmt ihr für {currency}?",
        "Ich möchte mein Konto schließen.",
        "Die App lehnt mein Ausweisfoto ständig ab, größer geht's doch nicht.",
    ],
    "fr": [
        "Ma carte n'est toujours pas arrivée après {days} jours.",
        "On m'a volé ma carte à {city}, bloquez-la tout de suite s'il vous plaît.",
        "Un prélèvement de {amount} {currency} par « {merchant} » que je ne reconnais pas.",
        "J'attends le remboursement de {amount} {currency} depuis {days} jours, c'est inadmissible !",
        "Comment changer le code PIN de la carte {digits} ?",
        "Le virement de {amount} {currency} vers {name} est bloqué.",
    ],
    "es": [
        "¿Dónde está mi tarjeta? La pedí hace {days} días.",
        "He perdido la tarjeta en {city}. ¡Bloquéenla ya!",
        "Me han cobrado {amount} {currency} dos veces en {merchant}.",
        "Quiero que me devuelvan {amount} {currency} de {merchant}, el pedido nunca llegó.",
        "No puedo verificar mi identidad, la aplicación falla.",
        "¿Qué comisión cobran por sacar dinero en {city}?",
    ],
    "pt": [
        "O meu cartão ainda não chegou, já passaram {days} dias.",
        "Roubaram-me o cartão em {city}, bloqueiem já por favor!",
        "A transferência de {amount} {currency} para {name} não caiu na conta.",
    ],
    "tr": [
        "Kartım {days} gündür gelmedi, nerede kaldı?",
        "{merchant} benden {amount} {currency} fazla çekmiş, iade istiyorum.",
        "Şifremi unuttum, uygulamaya giremiyorum.",
    ],
    "ja": [
        "カードがまだ届きません。{days}日前に申し込みました。",
        "{city}でカードをなくしました。すぐに止めてください。",
        "{merchant}で{amount}{currency}が二重に請求されています。",
    ],
    "ar": [
        "لم تصل بطاقتي بعد منذ {days} أيام.",
        "سُرقت بطاقتي في {city}، أوقفوها فورًا من فضلكم!",
    ],
}

OPENERS = [
    "Hi,\n\n",
    "Hello {name}\n",
    "Dear team,\n\n",
    "URGENT: ",
    "re: my last mail\n> we will look into it\n\n",
    "Hey 👋 ",
]
CLOSERS = [
    "\n\nThanks, {name}",
    "\n--\n{name}\nSent from my phone",
    "\n\nThis is the third time I write about it!",
    " 😡😡",
    " pls answer asap",
    '\n\n"If I do not hear from you by tomorrow I will go to the ombudsman."',
    "\ttel. +351 21 000 {digits}",
]
WEIRD = [
    "",
    "   \n",
    "?",
    "👍",
    "asdfgh",
    "{{ not_a_template }} {% nor this %}",
    "<p>My card&nbsp;is <b>lost</b></p>",
    'He said: "it\'s ""fine""", it\'s not; see C:\\cards\\{digits}.txt, col;umn,s',
    "Zero\u200bwidth and a\u00adsoft hyphen, NBSP\u00a0here, and a line\u2028separator",
]

TOPICS = [
    "the spring release",
    "customer onboarding",
    "the budget for next year",
    "the Kraków office",
    "support hours",
    "the new card design",
    "waiting times on the phone",
]
LEADS = [
    "",
    "",
    "Right, um, ",
    "Okay, so ",
    "From my side, ",
    "Honestly, ",
    "As {name} said, ",
    "Sorry, I was on mute. ",
    "To come back to {topic}: ",
    "[laughter] ",
]
REMARKS = [
    "the numbers of last month were worse than we hoped, mostly because of {city}.",
    "we had {days} complaints about {topic}, and most of them came from {city}.",
    "I agree with {name}, but who pays for it?",
    "{topic} is late by {days} days, and nobody is happy about it.",
    "we spent {amount} {currency} on {topic} so far, which is within what we agreed.",
    'the old process was "good enough", and the new one is slower.',
    "customers ask the same thing again and again: where is my card?",
    "what did we decide about {topic}? I have it down as open.",
    "{merchant} raised its prices again, to {amount} {currency} a month.",
    "the test in {city} went well: answers came in {days} minutes instead of {digits} seconds on hold.",
    "I am not sure that {topic} is what people complain about; it is rather the tone of our letters.",
    "{name} showed me the draft, and I like the part about {topic}.",
    "can someone explain why the team in {city} is two people short since {days} weeks?",
    "the contract with {merchant} ends in {days} months.",
    "mm-hmm.",
    "the lawyers have no objection, they only want one sentence about {topic} removed.",
    "half of the messages come at night, and the first answer goes out at nine.",
    "that is a different question, and a good one.",
]
TASKS = [
    "{name} will send the draft for {topic} to everybody by Friday.",
    "Action item: {name} talks to {merchant} about the contract.",
    "{name} needs to book a room in {city} before the {days}th.",
    "I will follow up with {name} and write the new numbers for {topic} into the plan.",
    "{name} has to ask the lawyers about {topic} by Tuesday.",
]
DECISIONS = [
    "We decided to go ahead with {topic} and to review it in {days} weeks.",
    "So the decision is to postpone {topic} until the numbers from {city} are in.",
]
