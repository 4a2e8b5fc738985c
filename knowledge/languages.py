"""The languages that words are analysed in: which one a text is written in, its common words and its stems.

Words are folded before they are stemmed, so that "sociétés" and "societes" are one term, at the price of some endings
that only an accent tells apart. A language whose common words stand nowhere is not known: its words stay as written.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, get_args

import Stemmer

Language = Literal["en", "de", "fr", "it", "es", "nl", "pt"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

_STEMMERS: Final[dict[Language, str]] = {
    "en": "english",
    "de": "german",
    "fr": "french",
    "it": "italian",
    "es": "spanish",
    "nl": "dutch",
    "pt": "portuguese",
}

# Words of duty ("must", "soll", "doit") are kept, for policies turn on them. Folded: without diacritics, lower case.
_LISTED: Final[dict[Language, str]] = {
    "en": """
        a about an and any are as at be been by can could did do does for from had has have how i if in into is it its
        me my no not of on or our please shall should so such that the their them then there these they this to us was
        we were what when where which who whom whose why will with would you your""",
    "de": """
        aber als also am an auch auf aus bei bin bis bist da damit dann das dass dem den denn der des dessen deren die
        dies diese diesem diesen dieser dieses dir doch du durch ein eine einem einen einer eines er es etwas fur hat
        hatte hatten habe haben ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja je jede jedem jeden jeder
        jedes kann kein keine keinem keinen keiner konnen man mein mich mir mit nach nicht noch nur ob oder ohne sein
        seine seinem seinen seiner seit sich sie sind so sowie uber um und uns unser unsere unter vom von vor wann war
        waren warum was weil welche welchem welchen welcher welches wenn wer wem wen werden wessen wie wieviel wir wird
        wo wurde wurden zu zum zur zwischen""",
    "fr": """
        a ai alors au aucun aucune aussi autre aux avec avoir c ce cela ces cet cette ceux chaque comme comment d dans
        de des donc du elle elles en encore entre est et etaient etait etant ete etre eux faire fait font il ils j je l
        la le les leur leurs lui m ma mais me mes moi mon n ne nos notre nous on ont ou par pas pour pourquoi qu quand
        que
        quel quelle quelles quels qui s sa sans se sera ses si son sont sous sur t ta te tes toi ton tous tout toute
        toutes tu un une vos votre vous y""",
    "it": """
        a ad agli ai al alla alle allo anche c che chi ci co coi col come con cosa cui d da dagli dai dal dalla dalle
        dallo degli dei del dell della delle dello di dove e ed era erano essere gli ha hanno ho i il in io l la le lei
        li lo loro lui ma mi nei nel nell nella nelle nello negli noi non nostra nostro o per perche piu qual quale
        quali quando quanto quella quelle quelli quello questa queste questi questo se si sia sono su sua sue sugli sui
        sul sulla sulle suo suoi tra tu tutti un una uno vi voi""",
    "es": """
        a al algo ante antes como con contra cual cuales cuando cuanto de del desde donde e el ella ellas ellos en entre
        era eran es esa esas ese eso esos esta estaba estan estas este esto estos fue fueron ha han hasta hay la las le
        les lo los mas me mi mis muy ni no nos nosotros nuestra nuestro o os otra otro para pero por porque que quien
        quienes se sea ser si sin sobre son su sus tambien te tiene tienen todo todos tu un una uno unos y ya yo""",
    "nl": """
        aan al alle als bij daar dan dat de deze die dit doen door dus een en er ge geen haar had heb hebben heeft hem
        het hier hij hoe hun ik in is je kan kunnen maar me met mij mijn na naar niet nog nu of om omdat onder ons onze
        ook op over te tegen toch toen tot u uit uw van veel voor waar waarom wanneer want waren was wat we welk welke
        werd werden wie wij worden wordt ze zelf zich zij zijn zo zonder""",
    "pt": """
        a ao aos aquela aquele aquilo as ate com como da das de dela dele deles depois do dos e ela elas ele eles em
        entre era essa essas esse esses esta estas este estes eu foi foram ha isso isto ja la lhe mais mas me mesmo
        meu minha muito na nao nas nem no nos nossa nosso num numa o onde os ou para pela pelas pelo pelos por porque
        qual quais quando quanto que quem se seja sem ser seu seus so sobre sua suas tambem te tem teu tua um uma uns
        voce
    """,
}
STOP_WORDS: Final[dict[Language, frozenset[str]]] = {
    language: frozenset(words.split()) for language, words in _LISTED.items()
}
COMMON_ANYWHERE: Final = frozenset[str]().union(*STOP_WORDS.values())
"""Words that some document may not be found by, since they say nothing in its language."""

ENOUGH: Final = 0.08
"""Share of a text's words that are common ones of its language; running text has 0.3 to 0.5, a table may have none."""
MANY_MARKED: Final = 0.02
"""Share of letters beyond ASCII from which a text without such words is taken for another language than English."""


LEAST_HITS: Final = 3
"""Common words before a text is taken for another language than English."""
LEAST_HITS_OF_A_QUESTION: Final = 2
"""The same of a question, whose only word may be one ("per", "die") and meant."""


def language_of(words: Sequence[str], marked_share: float) -> Language | None:
    """The language of a text by its folded words; None: none of those that are known.

    Where nothing tells, English: figures, codes and names are indexed alike in all of them.
    """
    if not words:
        return "en"
    hits = _hits(words)
    best = max(LANGUAGES, key=lambda language: hits[language])
    if hits[best] >= max(LEAST_HITS, ENOUGH * len(words)):
        return best
    return None if marked_share >= MANY_MARKED else "en"


def languages_of_question(words: Sequence[str]) -> frozenset[Language]:
    """Those whose common words a question has most of, all of them where several have as many; empty without any."""
    hits = _hits(words)
    most = max(hits.values(), default=0)
    needed = max(most, LEAST_HITS_OF_A_QUESTION)
    return frozenset(
        language for language in LANGUAGES if hits[language] >= (most or 1 if language == "en" else needed)
    )


def _hits(words: Sequence[str]) -> Counter[Language]:
    counted = Counter(words)
    hits: Counter[Language] = Counter()
    for language, listed in STOP_WORDS.items():
        hits[language] = sum(count for word, count in counted.items() if word in listed)
    return hits


class _Stemmers(threading.local):
    """One of each language a thread: they are not to be shared."""

    def __init__(self) -> None:
        self.of = {language: Stemmer.Stemmer(name, 0) for language, name in _STEMMERS.items()}


_stemmers = _Stemmers()


@functools.lru_cache(maxsize=131_072)
def stem_of(word: str, language: Language) -> str:
    """A folded word without the endings of its language; the cache pays because texts repeat their words."""
    return _stemmers.of[language].stemWord(word)
