"""Token estimates against counts of a real tokenizer (o200k_base, counted once and written down here)."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.tokens import BYTES_PER_TOKEN, UPPER_FACTOR, TokenEstimator, estimate_tokens

# kind: (tokens counted by o200k_base on 2026-11-23, text)
COUNTED = {
    "english": (
        58,
        (
            "I ordered a replacement card almost two weeks ago and it still has not arrived. "
            "Could you please tell me whether it was sent to my old address, and what I should do "
            "if somebody else has opened the letter? I am travelling next Monday and would rather "
            "not be without a card abroad."
        ),
    ),
    "german": (
        62,
        (
            "Ich habe vor fast zwei Wochen eine Ersatzkarte bestellt, die immer noch nicht "
            "angekommen ist. Können Sie mir bitte sagen, ob sie an meine alte Anschrift geschickt "
            "wurde und was ich tun soll, falls jemand anderes den Brief geöffnet hat? Ich "
            "verreise nächsten Montag und möchte im Ausland ungern ohne Karte sein."
        ),
    ),
    "french": (
        75,
        (
            "J'ai commandé une carte de remplacement il y a presque deux semaines et elle n'est "
            "toujours pas arrivée. Pourriez-vous me dire si elle a été envoyée à mon ancienne "
            "adresse, et ce que je dois faire si quelqu'un d'autre a ouvert la lettre ? Je pars "
            "en voyage lundi prochain et je préférerais ne pas être sans carte à l'étranger."
        ),
    ),
    "polish": (
        92,
        (
            "Prawie dwa tygodnie temu zamówiłem kartę zastępczą, która wciąż nie dotarła. Czy "
            "mogą mi Państwo powiedzieć, czy została wysłana na mój stary adres i co powinienem "
            "zrobić, jeśli ktoś inny otworzył list? W przyszły poniedziałek wyjeżdżam i wolałbym "
            "nie zostać za granicą bez karty."
        ),
    ),
    "russian": (
        76,
        (
            "Почти две недели назад я заказал новую карту взамен старой, но она до сих пор не "
            "пришла. Подскажите, пожалуйста, не отправили ли её на мой прежний адрес и что мне "
            "делать, если письмо вскрыл кто-то другой? В следующий понедельник я уезжаю и не "
            "хотел бы остаться за границей без карты."
        ),
    ),
    "japanese": (
        89,
        (
            "二週間ほど前に再発行のカードを申し込みましたが、まだ届いていません。以前の住所に送られてい"
            "ないか、またほかの人が封筒を開けてしまった場合にはどうすればよいか教えていただけますか。来"
            "週の月曜日から旅行に出かけるので、海外でカードなしになるのは避けたいです。"
        ),
    ),
    "chinese": (
        58,
        (
            "我差不多两个星期前申请了补发银行卡，但到现在还没有收到。请问卡是不是寄到了我以前的地址？如"
            "果信件被别人拆开了，我应该怎么办？下周一我要出国旅行，不希望在国外没有卡可以用。"
        ),
    ),
    "korean": (
        75,
        (
            "거의 2주 전에 재발급 카드를 신청했는데 아직 도착하지 않았습니다. 혹시 예전 "
            "주소로 발송된 것은 아닌지, 그리고 다른 사람이 봉투를 열었다면 어떻게 해야 "
            "하는지 알려 주시겠어요? 다음 주 월요일에 여행을 떠나기 때문에 해외에서 카드 "
            "없이 지내고 싶지 않습니다."
        ),
    ),
    "arabic": (
        64,
        (
            "طلبت بطاقة بديلة منذ ما يقرب من أسبوعين ولم تصل حتى الآن. هل يمكنكم إخباري إن كانت "
            "قد أرسلت إلى عنواني القديم، وماذا يجب أن أفعل إذا فتح شخص آخر الرسالة؟ سأسافر يوم "
            "الاثنين القادم ولا أريد أن أكون في الخارج بدون بطاقة."
        ),
    ),
    "hindi": (
        81,
        (
            "मैंने लगभग दो सप्ताह पहले नया कार्ड मँगवाया था, लेकिन वह अभी तक नहीं पहुँचा है। क्या "
            "आप बता सकते हैं कि वह मेरे पुराने पते पर तो नहीं भेजा गया, और यदि किसी और ने "
            "लिफ़ाफ़ा खोल लिया हो तो मुझे क्या करना चाहिए? मैं अगले सोमवार को यात्रा पर जा रहा "
            "हूँ और विदेश में बिना कार्ड के नहीं रहना चाहता।"
        ),
    ),
    "python": (
        114,
        (
            "def settle(rows: list[dict[str, int]], *, limit: int = 10) -> list[int]:\n    "
            '"""Return the settled rows, newest first."""\n    settled = [row for row in rows if '
            'row["state"] == 3 and row.get("owner") is None]\n    for index, row in '
            'enumerate(sorted(settled, key=lambda r: -r["created_at"])):\n        if index >= '
            'limit:\n            break\n        row["seen"] += 1\n    return [row["id"] for row in '
            "settled[:limit]]\n"
        ),
    ),
    "markdown": (
        89,
        (
            "# Refunds\n\n- **When**: within *14 days* of delivery (see "
            "[terms](https://example.com/terms))\n- **How**: open `Orders` > `Return`, print the "
            "label\n\n| country | days | fee |\n|---|---|---|\n| DE | 14 | 0.00 |\n| FR | 14 | 4.90 |\n\n"
            "> Opened software cannot be returned.\n"
        ),
    ),
    "json": (
        84,
        (
            '{"id":"ord_81273","lines":[{"sku":"AX-2201","qty":3,"price":19.99},{"sku":"BK-0017","'
            'qty":1,"price":4.5}],"ship":{"city":"Lyon","zip":"69003","express":false},"total":64.'
            '47,"created":"2026-11-23T03:10:55Z"}'
        ),
    ),
    "digits": (
        56,
        ("4929 1183 7762 0041, 20261123, 0049 170 5550123, 8812737465501928, 3.14159265358979, 100000000, 77 18 2901"),
    ),
    "uuids": (
        91,
        (
            "3f2b8c1e-9d47-4a6b-8e21-0c5d7f9ab314 b7e01d92-6c3f-4f58-9a7b-2e8d1c4f6a05 "
            "0d9e8f7a-1b2c-4d3e-a5f6-7890abcdef12"
        ),
    ),
    "emoji": (
        23,
        ("Thanks!! 🙏🙏 card arrived 🎉 but PIN not working 😡😡😡 pls help asap ❤️"),
    ),
    "shouting": (
        26,
        ("WHY IS MY CARD BLOCKED AGAIN???? THIS IS THE THIRD TIME THIS MONTH!!! PLEASE UNBLOCK IT IMMEDIATELY."),
    ),
}

# Characters per token that were measured with o200k_base on larger texts of each kind.
MEASURED_CHARACTERS_PER_TOKEN = {
    "english": 5.6,
    "german": 5.9,
    "french": 5.7,
    "python": 4.5,
    "markdown": 4.3,
    "json": 2.4,
    "digits": 2.2,
    "uuids": 1.06,
    "japanese": 1.6,
    "chinese": 1.4,
    "arabic": 3.5,
    "hindi": 3.6,
}


@pytest.mark.parametrize("kind", COUNTED)
def test_close_to_the_tokenizer(kind: str) -> None:
    counted, text = COUNTED[kind]
    assert estimate_tokens(text) == pytest.approx(counted, rel=0.2)


@pytest.mark.parametrize("kind", COUNTED)
def test_the_upper_estimate_is_above_the_tokenizer(kind: str) -> None:
    counted, text = COUNTED[kind]
    estimator = TokenEstimator.from_sample([text])
    assert counted <= estimator.upper(len(text.encode())) <= counted * UPPER_FACTOR * 1.25


@pytest.mark.parametrize(("kind", "characters"), MEASURED_CHARACTERS_PER_TOKEN.items())
def test_in_the_measured_range_of_its_kind(kind: str, characters: float) -> None:
    text = COUNTED[kind][1]
    assert len(text) / estimate_tokens(text) == pytest.approx(characters, rel=0.35)


def test_a_mixed_night_is_close_as_a_whole() -> None:
    counted = sum(count for count, _ in COUNTED.values())
    estimator = TokenEstimator.from_sample(text for _, text in COUNTED.values())
    size_bytes = sum(len(text.encode()) for _, text in COUNTED.values())
    assert estimator.tokens(size_bytes) == pytest.approx(counted, rel=0.08)


def test_contents_are_counted_in_bytes_of_their_literals() -> None:
    texts = ['line one\nline "two"\n' * 20, "naïve 🙂 " * 20]
    contents = [orjson.dumps(text) for text in texts]
    estimator = TokenEstimator.from_contents(contents)
    assert estimator.tokens(sum(map(len, contents))) == pytest.approx(sum(map(estimate_tokens, texts)), abs=1)


def test_long_texts_are_judged_by_their_beginning() -> None:
    text = COUNTED["english"][1] + " "
    one = TokenEstimator.from_contents([orjson.dumps(text * 70)])
    many = TokenEstimator.from_contents([orjson.dumps(text * 5000)])
    assert many.tokens_per_byte == pytest.approx(one.tokens_per_byte, rel=0.01)


def test_fixed_tokens_and_arrays() -> None:
    estimator = TokenEstimator(tokens_per_byte=0.25, fixed_tokens=10)
    assert (estimator.tokens(0), estimator.tokens(9), estimator.upper(9)) == (10, 13, 17)
    counts = np.array([0, 9, 400], np.int64)
    assert estimator.tokens_of(counts).tolist() == [estimator.tokens(int(count)) for count in counts]
    assert estimator.upper_of(counts).tolist() == [estimator.upper(int(count)) for count in counts]
    assert estimator.tokens_of(counts).dtype == np.int64


def test_without_a_sample_the_documented_guess_is_used() -> None:
    for empty in ([], ["", ""]):
        assert TokenEstimator.from_sample(empty).tokens_per_byte == 1 / BYTES_PER_TOKEN
    assert TokenEstimator.from_contents([]).tokens_per_byte == 1 / BYTES_PER_TOKEN


def test_scaled_by_what_a_provider_reported() -> None:
    estimator = TokenEstimator(tokens_per_byte=0.25, fixed_tokens=10).scaled(1.2)
    assert estimator.tokens(1000) == 12 + 300
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="factor"):
            estimator.scaled(factor)


@given(st.text())
def test_any_text_has_an_estimate(text: str) -> None:
    assert estimate_tokens(text) >= (1 if text else 0)
    assert TokenEstimator.from_sample([text, "\ud800"]).tokens_per_byte > 0
