"""Writes examples/requests/: the requests that `make demo` ships. The same bytes every time.

    python tools/requests_data.py

The sentences are ours, put together by rule: what a shop for household and outdoor goods would send in a
batch.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
TARGET = Path(__file__).resolve().parent.parent / "examples" / "requests"
#: How many records each file has; Bedrock's default minimum for a job is 100.
SIZES = {
    "reviews/2026-10.jsonl": 125,
    "reviews/city=Zürich late autumn.jsonl": 104,
    "catalogue/spring texts.jsonl": 108,
    "chat/support.jsonl": 132,
    "chat/returns.jsonl": 110,
    "chat/broken.jsonl": 116,
}
BROKEN_LINE = 59

# What customers like and dislike about each product, and what the catalogue says of it.
PRODUCTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "Alder enamel kettle": (
        (
            "It boils a litre in under five minutes on gas.",
            "The handle stays cool, even at a rolling boil.",
            "The spout pours without a drip.",
        ),
        (
            "The enamel chipped at the rim within a month.",
            "The whistle is so shrill that the dog hides.",
            "Rust showed at the spout after six weeks.",
        ),
        "1.8-litre kettle in steel, enamelled twice, beech handle, for gas and induction",
    ),
    "Brook rain jacket": (
        (
            "Three hours of Scottish drizzle and my shirt was dry.",
            "The hood fits over a bicycle helmet.",
            "It packs down to the size of a grapefruit.",
        ),
        (
            "The zip jams on its storm flap every single time.",
            "The taped seam under the left arm came loose.",
            "Sleeves are cut for someone with very short arms.",
        ),
        "three-layer jacket of recycled nylon, 20,000 mm water column, 310 g, two-way zip",
    ),
    "Cinder camping stove": (
        (
            "It lit first time at minus eight.",
            "The flame can be turned down far enough for porridge.",
            "It stands steadily, even on gravel.",
        ),
        (
            "The piezo igniter was dead on arrival.",
            "The pan supports bend under a full pot.",
            "It goes out at the slightest gust.",
        ),
        "folding gas stove, 3.2 kW, stainless pot supports for pans up to 24 cm, 295 g",
    ),
    "Dune desk lamp": (
        (
            "The warm setting is easy on my eyes at night.",
            "The arm stays exactly where I leave it.",
            "It remembers the last brightness.",
        ),
        (
            "It hums at every brightness below half.",
            "The USB port in the base charges slower than a potato.",
            "The joint loosened and now the head droops.",
        ),
        "LED desk lamp, 2,700 to 5,000 K, 700 lumens, aluminium arm, USB-C socket in the foot",
    ),
    "Ember espresso maker": (
        (
            "Proper crema from ordinary supermarket beans.",
            "It warms up in ninety seconds.",
            "Cleaning takes less time than drinking the coffee.",
        ),
        (
            "The pump is loud enough to wake the flat below.",
            "The drip tray overflows after two cups.",
            "It leaks from the group head since the second week.",
        ),
        "15-bar espresso machine, thermoblock, 1.1-litre tank, steam wand, descaling reminder",
    ),
    "Fjord sleeping bag": (
        (
            "Warm at freezing point without a liner.",
            "The footbox finally has room for size 46 feet.",
            "No feathers escaped in twelve nights.",
        ),
        (
            "The comfort rating is wishful thinking: I froze at plus four.",
            "The zip eats the lining.",
            "It smelled of chemicals for weeks.",
        ),
        "down sleeping bag, comfort 0 °C, 650 cuin responsible down, 980 g, left zip",
    ),
    "Glade cordless mower": (
        (
            "One battery does our 300 square metres with some left.",
            "Quiet enough for a Sunday neighbour.",
            "The height lever works with one hand.",
        ),
        (
            "The battery holds twenty minutes, not the forty that were promised.",
            "Wet grass clogs the chute at once.",
            "The front wheel came off on the third cut.",
        ),
        "36-volt mower, 38 cm cut, six heights from 25 to 75 mm, 40-litre box, 14.5 kg",
    ),
    "Harbour cast-iron pan": (
        (
            "Eggs slide off after a week of seasoning.",
            "Steaks get a crust like in a restaurant.",
            "It went from the hob to the oven to the campfire.",
        ),
        (
            "The bottom is not flat, so it spins on ceramic.",
            "It arrived with a crack from the handle to the middle.",
            "The pouring lip pours everywhere but into the bowl.",
        ),
        "28 cm pan of cast iron, pre-seasoned with linseed oil, two lips, for every heat",
    ),
    "Iris air purifier": (
        (
            "My hay fever was half as bad this spring.",
            "On the night setting I cannot hear it.",
            "The filter light has been right so far.",
        ),
        (
            "The app lost the device four times in a week.",
            "Replacement filters cost a third of the machine.",
            "The sensor shows clean air while the toast burns.",
        ),
        "air purifier for rooms up to 45 m², HEPA H13 and carbon, 22 dB at night, app and timer",
    ),
    "Juniper picnic blanket": (
        (
            "The underside keeps wet meadows out.",
            "Six of us fit on it with the food.",
            "Sand shakes off at once.",
        ),
        (
            "The coating peeled in the first wash.",
            "The strap's seam tore while I carried it.",
            "The colours ran onto a white dress.",
        ),
        "200 × 220 cm blanket, wool blend, waterproof underside, leather strap",
    ),
    "Kestrel bicycle light set": (
        (
            "Drivers leave more room since I ride with them.",
            "They charge in an hour from a power bank.",
            "The rubber mount fits an aero seat post.",
        ),
        (
            "The rear light switches itself on in my bag.",
            "Water got in behind the lens after one storm.",
            "The battery display shows full until it is empty.",
        ),
        "front and rear light, 60 and 20 lux, USB-C, IPX6, up to 9 hours in eco mode",
    ),
    "Larch cutting board": (
        (
            "Knives stay sharp on it.",
            "The groove holds all the juice of a roast.",
            "It has not warped in a year of daily use.",
        ),
        (
            "It split along a glue line.",
            "The oil finish stained the worktop.",
            "One foot was missing, so it wobbles.",
        ),
        "end-grain board of larch, 45 × 30 × 4 cm, juice groove, oiled, four rubber feet",
    ),
}

OPENINGS = (
    "Bought for our allotment.",
    "A gift from my sister.",
    "Ordered after the old one gave up.",
    "Second one in our household.",
    "Third week of daily use.",
    "Used on two trips so far.",
    "I hesitated because of the price.",
    "My neighbour talked me into this.",
    "Owned since July.",
    "Half a year in.",
)
DELIVERY = (
    "Delivery took two days.",
    "The parcel sat at the depot for nine days.",
    "No plastic in the box, thank you.",
    "The courier left it in the rain.",
    "Customer service answered within the hour.",
    "Nobody has answered my two e-mails.",
    "The manual is in seven languages and helpful in none.",
    "Spare parts can be ordered one by one, rare these days.",
)
VERDICTS = {
    "positive": ("Would buy it again.", "Five stars from me.", "Worth every penny.", "Recommended."),
    "negative": ("It goes back.", "Not again.", "I want my money back.", "Stay away from it."),
    "mixed": ("Good idea, half finished.", "Fine for the sale price.", "Three stars.", "I am torn."),
}

ZURICH = (
    (
        "German",
        (
            "Am Samstag war im Laden an der Langstrasse die Hölle los.",
            "Ich war gestern mit meiner Mutter im Geschäft beim Hauptbahnhof.",
            "Nach Feierabend noch schnell vorbeigeschaut.",
            "Seit zehn Jahren kaufe ich hier ein.",
        ),
        (
            "Nur eine von vier Kassen war offen, wir standen zwanzig Minuten an.",
            "Die Verkäuferin hat mir den Kocher im Hof vorgeführt, grossartig.",
            "Die Abholung der Online-Bestellung klappte in drei Minuten.",
            "Der Lift ist seit Wochen kaputt, mit dem Kinderwagen ein Albtraum.",
            "In der Werkstatt haben sie meine Lampe gratis geflickt.",
            "Die Preisschilder stimmten nicht mit der Kasse überein.",
            "Die Herbstjacken waren in Grösse M schon ausverkauft.",
        ),
        (
            "Ich komme wieder.",
            "So macht Einkaufen keinen Spass.",
            "Danke an Frau Meier!",
            "Bitte mehr Personal am Wochenende.",
            "Das könnt ihr besser.",
        ),
    ),
    (
        "French",
        (
            "De passage à Zürich, je suis entré par hasard.",
            "Ma commande devait être prête jeudi.",
            "Nous cherchions un cadeau de mariage.",
        ),
        (
            "Le vendeur a pris une demi-heure pour m'expliquer les sacs de couchage.",
            "Personne au rayon cuisine ne parlait français.",
            "Le colis était introuvable, puis abîmé.",
            "L'atelier a réparé la fermeture éclair pendant mon café.",
            "La bouilloire exposée n'était plus disponible.",
        ),
        ("Accueil chaleureux.", "Je suis déçue.", "À recommander.", "On attendait mieux."),
    ),
    (
        "English",
        (
            "Popped in while waiting for my train.",
            "We moved here in October.",
            "First cold weekend of the year.",
        ),
        (
            "The staff switched to English without making a fuss.",
            "The refund took four visits and three managers.",
            "They let me try the mattress pad on the floor for ten minutes.",
            "The winter tyres of the bike trailer were sold out everywhere but here.",
        ),
        ("Lovely shop.", "Never again on a Saturday.", "Fair prices for Switzerland."),
    ),
)

CATALOGUE_JOBS = (
    "Translate the product text into French for a shop page. Keep numbers and units.",
    "Translate the product text into Dutch for a shop page. Keep numbers and units.",
    "Translate the product text into Spanish, informal address. Keep numbers and units.",
    "Write a title of at most 60 characters for the product text.",
    "Summarise the product text in two short sentences for a newsletter.",
    "Write five search keywords for the product text, separated by commas.",
    "Turn the product text into three bullet points, most useful first.",
    "Rewrite the product text for readers of twelve years.",
    "Write an image description (alt text) of at most 120 characters for the product text.",
)
CATALOGUE_ENDS = (
    "Made in a family workshop and guaranteed for five years.",
    "Every part can be replaced; the instructions are printed inside the box.",
    "New this spring, in moss green and slate.",
    "Sold with a repair voucher that is valid in all our shops.",
)

SUPPORT = (
    (
        "My order {order} with the {product} says delivered, but there is nothing at the door.",
        "Where is {order}? The tracking page has shown the same depot for {days} days.",
        "The {product} from order {order} went to my old address. Can you still redirect it?",
    ),
    (
        "I was charged twice for {order}: once on the {day}th and again two days later.",
        "The voucher code was accepted, yet the invoice of {order} shows the full price.",
        "Please send the invoice of {order} with our VAT number; accounting closes in {days} days.",
    ),
    (
        "The {product} came without its screws. Could you post a set?",
        "Which spare part do I need when the {product} drips? I cannot read the drawing.",
        "Is the {product} covered if it failed after {days} weeks of normal use?",
    ),
    (
        "I cannot sign in since I changed my phone; the code still goes to the old number.",
        "Please delete my account and everything in it. My last order was {order}.",
        "The newsletter keeps coming although I unsubscribed {days} times.",
    ),
    (
        "Will the {product} be back in stock before the {day}th? I need two.",
        "Does the {product} work with the model from {days} years ago?",
        "Can I change {order} from one to three pieces before it ships?",
    ),
)
GREETINGS = ("Hello,", "Good morning,", "Hi there,", "Dear team,", "Hey,", "To whom it may concern,")
CLOSINGS = (
    "Thanks in advance, {name}",
    "Kind regards, {name}",
    "{name}",
    "I expect an answer today. {name}",
    "No hurry. Best, {name}",
)
NAMES = (
    *("Amara", "Bjørn", "Chiara", "Dmitri", "Élodie", "Farid", "Greta", "Hüseyin", "Ines", "Jonas"),
    *("Katarzyna", "Liam", "Mónica", "Noor", "Oskar", "Priya", "Quentin", "Rosa", "Søren", "Thùy"),
)
RETURNS = (
    ("I would like to send the {product} back.", "Has it been used, and is the packaging still there?"),
    ("The {product} is not what the photo showed.", "I am sorry to hear that. What is different?"),
    ("Can I swap my {product} for another one?", "With pleasure. What is wrong with the one you have?"),
)
RETURN_ANSWERS = (
    "Used once, and the box is in the recycling. {complaint} Order {order}.",
    "Never opened; I simply changed my mind after {days} days. Order {order}.",
    "{complaint} I have photos. The order is {order}.",
    "It was a gift, so I only have the number {order}. {complaint}",
)


class Pick:
    """Chance that is the same in every Python: only ``Random.random`` is promised to stay as it is."""

    def __init__(self, seed: str) -> None:
        self._next = random.Random(seed).random  # noqa: S311 - the same data every time is the point

    def below(self, end: int) -> int:
        """A whole number from 0, below ``end``."""
        return int(self._next() * end)

    def one(self, of: Sequence[T]) -> T:
        """One of them."""
        return of[self.below(len(of))]

    def two(self, of: Sequence[T]) -> list[T]:
        """Two different ones."""
        first = self.below(len(of))
        second = (first + 1 + self.below(len(of) - 1)) % len(of)
        return [of[first], of[second]]


def anthropic(system: str, prompt: str, max_tokens: int) -> dict[str, Any]:
    """An InvokeModel body of Anthropic's models."""
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": max_tokens,
        "temperature": 0,
        "system": system,
        "messages": [{"role": "user", "content": prompt}],
    }


def converse(system: str, said: list[str], max_tokens: int) -> dict[str, Any]:
    """A Converse body; ``said`` begins and ends with the user and goes to and fro."""
    roles = ("user", "assistant")
    return {
        "system": [{"text": system}],
        "messages": [{"role": roles[at % 2], "content": [{"text": text}]} for at, text in enumerate(said)],
        "inferenceConfig": {"maxTokens": max_tokens, "temperature": 0.3},
    }


def reviews(pick: Pick) -> Iterator[dict[str, Any]]:
    """Product reviews to classify."""
    system = (
        'Classify the review. Answer with JSON: {"sentiment": "…", "topics": ["…"], "urgent": true|false}'
    )
    while True:
        name = pick.one(list(PRODUCTS))
        likes, dislikes, _ = PRODUCTS[name]
        mood = pick.one(list(VERDICTS))
        body = {
            "positive": pick.two(likes),
            "negative": pick.two(dislikes),
            "mixed": [pick.one(likes), "However: " + pick.one(dislikes)],
        }[mood]
        parts = [pick.one(OPENINGS), *body, pick.one(DELIVERY), pick.one(VERDICTS[mood])]
        if not pick.below(3):
            del parts[0]
        yield anthropic(system, f"{name}\n" + " ".join(parts), 80)


def zurich(pick: Pick) -> Iterator[dict[str, Any]]:
    """Feedback from the shops in Zürich, in three languages, to translate and summarise."""
    system = "Translate the customer's feedback into English, then add one sentence for the shop's manager."
    while True:
        _, openings, remarks, ends = pick.one(ZURICH)
        parts = [pick.one(openings), *pick.two(remarks)[pick.below(2) :], pick.one(ends)]
        yield anthropic(system, " ".join(parts), 200)


def catalogue(pick: Pick) -> Iterator[dict[str, Any]]:
    """Product texts to translate, shorten and rewrite."""
    system = (
        "You write for the catalogue of a shop for household and outdoor goods. Answer with the text alone."
    )
    while True:
        name = pick.one(list(PRODUCTS))
        text = f"{name}: {PRODUCTS[name][2]}. {pick.one(CATALOGUE_ENDS)}"
        yield anthropic(system, f"{pick.one(CATALOGUE_JOBS)}\n\n{text}", 250)


def _facts(pick: Pick) -> dict[str, Any]:
    product = pick.one(list(PRODUCTS))
    return {
        "product": product,
        "complaint": pick.one(PRODUCTS[product][1]),
        "order": f"{pick.one('ABCDEFGH')}-{200_000 + pick.below(700_000)}",
        "days": 3 + pick.below(12),
        "day": 4 + pick.below(17),
        "name": pick.one(NAMES),
    }


def support(pick: Pick) -> Iterator[dict[str, Any]]:
    """Support tickets to answer."""
    system = "Answer the customer of our shop: friendly, at most 90 words, one clear next step."
    while True:
        parts = (pick.one(GREETINGS), pick.one(pick.one(SUPPORT)), pick.one(CLOSINGS))
        yield converse(system, ["\n".join(parts).format(**_facts(pick))], 220)


def returns(pick: Pick) -> Iterator[dict[str, Any]]:
    """Conversations about returned goods to go on with."""
    system = "Go on with the conversation: say what happens to the return, and when the money comes."
    while True:
        facts = _facts(pick)
        said = [*pick.one(RETURNS), pick.one(RETURN_ANSWERS)]
        yield converse(system, [text.format(**facts) for text in said], 180)


MAKERS: dict[str, tuple[str, Callable[[Pick], Iterator[dict[str, Any]]]]] = {
    "reviews/2026-10.jsonl": ("review-{:05d}", reviews),
    "reviews/city=Zürich late autumn.jsonl": ("zrh-{:04d}", zurich),
    "catalogue/spring texts.jsonl": ("text/spring/{:03d}", catalogue),
    "chat/support.jsonl": ("ticket-{:06d}", support),
    "chat/returns.jsonl": ("return {:04d}", returns),
    "chat/broken.jsonl": ("night-{:05d}", support),
}


def lines(path: str) -> list[str]:
    """The lines of one file, without line ends; no request comes twice."""
    pattern, make = MAKERS[path]
    pick = Pick(f"requests {path}")
    number = 10 + pick.below(890)
    made: dict[str, str] = {}
    for body in make(pick):
        text = json.dumps(body, ensure_ascii=False, sort_keys=True)
        if text in made:
            continue
        number += 1
        record = {"recordId": pattern.format(number), "modelInput": body}
        made[text] = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        if len(made) == SIZES[path]:
            break
    found = list(made.values())
    if path == "chat/broken.jsonl":
        # As an export leaves it that stopped and went on: the line ends in the middle of a word.
        at = BROKEN_LINE - 1
        found[at] = found[at][: found[at].index(" ", len(found[at]) * 2 // 3) + 3]
    return found


def main() -> None:
    """Writes all files."""
    for path, size in SIZES.items():
        file = TARGET / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(line + "\n" for line in lines(path)), encoding="utf-8", newline="\n")
        print(f"{path}: {size} lines, {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
