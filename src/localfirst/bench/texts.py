"""What is read in a benchmark: words without sense by the thousand, and the small texts of everyday scenarios.

Random words, and not random token ids as llama-bench draws: ids of words are never a control token, a byte of half a
character or a row that no text leads to, every engine takes them, also those that read text only, and experts of a
mixture are chosen by them as by text. The same seed gives the same words everywhere.
"""

from __future__ import annotations

from random import Random

from localfirst.errors import UsageError

_WORDS = """
about above after again air all along also always and another answer any around ask away back because been before
began begin being below between big book both boy bring build call came car carry change city close color come could
country cut day did different does done door down draw each earth eat end enough even every example eye face fall
family far farm father feel feet few field find fire first fish five follow food form found four friend from game
gave get girl give good got great green group grow half hand hard have head hear help here high hold home horse hour
house idea inch just keep kind king know land large last late learn leave left letter life light like line list
little live long look made make man many map mark mean men might mile money moon more morning most mother mountain
move much music must name near need never new next night north note number off often oil old once one only open
order other our out over own page paper part pass past people piece place plan plant play point port press problem
pull put question quick rain ran reach read ready real red remember rest right river road rock room round rule run
said same saw say school sea second see seem sentence serve set seven several shape she ship short should show side
simple since sing size sleep slow small snow some song soon sound south spell stand star start state stay step stood
stop story street strong study such sun sure table take talk teach tell ten test than that their them then there
these thing think this those thought three through time together told too took top toward town tree true try turn
two under unit until upon use very voice wait walk want war warm watch water way week well went were west what wheel
when where which while white who why will wind wood word work world would write year you
"""
WORDS = tuple(_WORDS.split())
"""Common English words, which most vocabularies have whole."""

SCENARIOS: dict[str, tuple[int, int]] = {"chat": (40, 128), "rag": (1600, 128), "code": (400, 256)}
"""Words to read and tokens to generate: a question, a question about pages that were found, a file to be changed."""
_FRAMES = {
    "chat": "Tell me in a few sentences what you make of these words: {}",
    "rag": "Here are passages that were found.\n\n{}\n\nAnswer from them alone: what do they say of the river?",
    "code": "Here is a file.\n\n```python\n{}\n```\n\nWrite a test for each function in it.",
}
MOST_TEXT_BYTES = 16 * 2**20


def draw_words(count: int, seed: str) -> str:
    """So many words, always the same ones for a seed."""
    return " ".join(Random(seed).choices(WORDS, k=count))  # noqa: S311 - a benchmark guards nothing


def make_scenario(name: str, seed: str) -> str:
    """The text of a built-in scenario; another one for another seed, of about the same length."""
    count, _ = SCENARIOS[name]
    words = draw_words(count, seed).split()
    if name == "code":
        lines = (words[at : at + 8] for at in range(0, count, 8))
        return _FRAMES[name].format("\n\n".join(_make_function(line) for line in lines))
    passages = (words[at : at + 100] for at in range(0, count, 100))
    return _FRAMES[name].format("\n\n".join(" ".join(passage).capitalize() + "." for passage in passages))


def check_text(name: str, text: str) -> str:
    """The text of a scenario of the user's own.

    Raises:
        UsageError: it is empty.
    """
    if not text.strip():
        raise UsageError(f"`{name}` has no text to read")
    return text


def _make_function(words: list[str]) -> str:
    name, *arguments = words
    given = ", ".join(f"{word}_{place}" for place, word in enumerate(arguments))
    return (
        f"def {name}_all({given}):\n    return {' + '.join(f'{word}_{place}' for place, word in enumerate(arguments))}"
    )
