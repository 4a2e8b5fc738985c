"""The stems of the first analysis: what was indexed by it is found by them until it is analysed again."""

from __future__ import annotations


def first_stem(word: str) -> str:
    """`word` without its plural, past or progressive ending: "signs", "signed" and "signing" are "sign"."""
    if len(word) < 4 or not (word.isascii() and word.isalpha()):
        return word
    word = _without_past(_singular(word))
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_past(word: str) -> str:
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and not word.endswith("eed") and any(vowel in root for vowel in "aeiouy"):
            doubled = root[-1] == root[-2] and root[-1] not in "lsz"
            return root[:-1] if doubled else root
    return word
