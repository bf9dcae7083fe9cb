"""Names and numbers in one line of a program's output.

A line is cut into words, numbers, separators and breaks, and read from left to right in time linear in its length:

* ``name: 0.3`` and ``name = 0.3`` are pairs wherever they stand. Before a colon (or a spaced ``=``) the name is the
  whole phrase, ``Validation accuracy: 93.1%``; before a glued ``=`` it is the last word and its qualifiers, so that a
  message in front of ``lr=0.1`` is no part of the name. Brackets are dropped: ``Loss (val)`` is called ``Loss val``.
* ``name 0.3`` is a pair only where a stretch of the line, up to a comma, a bar or a bracket, holds nothing else:
  ``val_acc 0.93 | loss 0.21`` is read, ``Found 3 files`` is not.
* What starts with a digit and is not exactly a number (a date, a time, an address, a version, ``12.3ms``, ``3GB``,
  ``0x1f``, ``1,234``) is no value, and neither are URLs, paths and quoted strings: a value whose unit changes from line
  to line (``950us``, ``1.2ms``) cannot be compared. A unit set apart (``time: 0.31 s``) is plain text.
* In braces, the names of nested dicts are joined with ``/``: so Python's dicts are read, with ``nan`` and tensors.
"""

from __future__ import annotations

import re

from whet.executors.metric_value import FRACTION, NON_FINITE, NUMBER, Pair, step_rank, value_of

# Every alternative is linear in what it matches, and looks only a bounded distance past it: possessive repeats
# and counted look-aheads keep a hostile line of 64 KiB from costing more than its length.
_TOKEN = re.compile(
    rf"""
      (?P<non_finite>{NON_FINITE}(?!\w|[./'@-]\w|\())
    | (?P<path>[A-Za-z]:\\[^\s'",;|]*+ | (?:~|\.{{1,2}})?/[\w.~-][^\s'",;|)\]]*+)
    | (?P<word>[^\W\d_]{{2,3}}\.(?=\ [^\W\d]|\s?[:=]) | [^\W\d]\w*+(?:[./@'^-]\w++)*+(?:://\S*+)?)
    | (?P<fraction>{FRACTION}(?!\w|%|[./+-]\w|:[0-9]))
    | (?P<number>{NUMBER}(?:%(?!\w|\||\ ?━)|(?!\w|%|[./+-]\w|:[0-9]|,[0-9]{{3}}(?![0-9]))))
    | (?P<glob>[+-]?\.?[0-9](?:\w++|[./+-](?=\w)|:(?=[0-9])|,(?=[0-9]{{3}}(?![0-9])))*+)
    | (?P<key>(?:"(?:[^"\\]|\\.){{1,120}}+"|'(?:[^'\\]|\\.){{1,120}}+')(?=\s{{0,4}}[:=]))
    | (?P<string>"(?:[^"\\]|\\.){{0,120}}+"|'(?:[^'\\]|\\.){{0,120}}+')
    | (?P<bar>[─-▟]++|={{2,}}+|-{{2,}}+|\.{{2,}}+|::++|[<>!]=)
    | (?P<separator>:=|[=-]>|[:=])
    | (?P<transparent>[(\[](?=[^()\[\]]{{0,40}}[)\]]\s{{0,3}}[:=])|[)\]](?=\s{{0,3}}[:=])|%(?=\s?[)\]]?\s{{0,3}}[:=]))
    | (?P<open>\{{) | (?P<close>\}})
    | (?P<other>[^\s\w*`\#~$≈])
    """,
    re.VERBOSE,
)

# tensor(0.31, device='cuda:0'), np.float64(0.3): the number inside is what was meant.
_WRAPPED = re.compile(
    r"(?:\b(?:(?:np|numpy|jnp|jax|torch|tf)\.)?"
    r"(?:[tT]ensor|[aA]rray|DeviceArray|b?float(?:16|32|64)?|u?int(?:8|16|32|64))\(\s{0,8}"
    r"|<tf\.Tensor: [^<>]{0,80}?numpy=)(?=[-+.0-9nNiI])"
)
# Epoch [3/10], Epoch: [3][10/500], Epoch(val) [3][500/500], Step #40.
_BRACKETED_STEP = re.compile(
    r"\b(epoch|step|iter|iteration|episode|round)(?:\s?\(\w{1,20}\))?:?\s{0,8}[\[#]\s{0,8}(?=[0-9])", re.IGNORECASE
)
# [10]<tab>eval-rmse:0.3 (boosting), [1,  2000] loss: 2.1, 10:<tab>learn: 0.5 (CatBoost).
_LEADING_STEP = re.compile(
    r"\s{0,16}(?:\[\s{0,8}([0-9]++)(?:\s{0,8}[,/]\s{0,8}[0-9]++)?\s{0,8}\](?=[\s\[])|([0-9]++):\t)"
)
_R_PRINT = re.compile(r'\s{0,8}\[1\] "(.*)"\s*')

# Words in front of a name that are no part of it.
_LEADERS = frozenset(
    {"TRACE", "DEBUG", "INFO", "SUCCESS", "NOTICE", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL", "The", "the"}
)
_FILLERS = frozenset({"is", "was", "and"})
_PREPOSITIONS = frozenset(
    {"of", "on", "for", "at", "in", "over", "after", "using", "with", "from", "to", "by", "until", "per", "as"}
)
# ... and words that are, even before a glued `=`.
_QUALIFIER = re.compile(
    r"train(?:ing)?|val(?:id(?:ation)?)?|dev|test|eval(?:uation)?|best|final|total|mean|avg\.?|average|median|min|max|std",
    re.IGNORECASE,
)
_MONTHS = (
    "jan feb mar apr may jun jul aug sep oct nov dec "
    "january february march april june july august september october november december"
)
_NOT_METRICS = frozenset(["version", "port", "pid", "line", "python", "eta", *_MONTHS.split()])
_PLACES = frozenset({"localhost", "cuda", "gpu", "cpu", "tpu", "xla", "mps", "hpu", "npu", "xpu"})
_MAX_WORDS = 8  # in a name; a longer phrase is prose
_MAX_PREFIX = 200  # characters; what lies deeper in nested dicts has a name too long to be wanted


def scan(line: str) -> list[Pair]:
    """The pairs of name and number in a line, in the order in which they were read; steps among them."""
    if quoted := _R_PRINT.fullmatch(line):
        line = quoted[1]
    if "(" in line or "<" in line:
        line = _WRAPPED.sub(" ", line)
    if "[" in line or "#" in line:
        line = _BRACKETED_STEP.sub(r"\1 ", line)
    state = _Scan()
    for match in _TOKEN.finditer(line):
        _HANDLERS[match.lastgroup or "other"](state, match)
        state.end = match.end()
    state.flush()
    if state.pairs and (leading := _LEADING_STEP.match(line)):
        state.pairs.append(("round", float(leading[1] or leading[2])))
    return state.pairs


class _Scan:
    """What has been read of a line so far."""

    __slots__ = ("chained", "end", "nested", "pairs", "prefixes", "separator", "tight", "weak", "with_number", "words")

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.weak: list[Pair] = []  # `name 0.3`, which count only if their stretch of the line holds nothing else
        self.words: list[str] = []  # the phrase that may turn out to be a name
        self.with_number = False  # the phrase holds a number: `Cost after iteration 100`
        self.separator = ""  # the one that was seen after the phrase
        self.tight = False  # ... and it was glued to the phrase
        self.chained = False  # the phrase was glued to the separator before it: `module:function:42`
        self.prefixes: list[str | None] = []  # one per open brace; None where it grew too long
        self.nested = False  # within parentheses
        self.end = 0  # of the last token

    def drop(self) -> None:
        """Forget the phrase: what followed it is no number."""
        self.words.clear()
        self.with_number = False
        self.separator = ""

    def flush(self) -> None:
        """End a stretch of the line."""
        if self.separator or not self.words:
            self.pairs += self.weak
        self.weak.clear()
        self.drop()

    def on_word(self, match: re.Match[str]) -> None:
        word, gap = match.group(), match.start() - self.end
        if "://" in word:
            self.drop()
            return
        self.chained = self.separator == ":" and gap == 0
        if self.separator:
            self.drop()
        elif gap > 1:
            self.flush()
        if self.words and word.lower() in _FILLERS:
            return
        self._extend(word)

    def on_key(self, match: re.Match[str]) -> None:
        self.flush()
        self.words.append(match.group()[1:-1].strip())

    def on_separator(self, match: re.Match[str]) -> None:
        if not self.words or self.separator:
            self.flush()
            return
        self.separator = match.group()
        self.tight = match.start() == self.end

    def on_number(self, match: re.Match[str]) -> None:
        if not self.words:
            return
        text = match.group()
        if self.separator:
            name = None if self._is_place(text, match.start()) else self._name()
            self._add(self.pairs, name, text)
        elif step_rank(phrase := " ".join(_without_leaders(self.words))) is not None:
            self._add(self.pairs, phrase, text)
        elif any(word in _PREPOSITIONS for word in self.words):
            self._extend(text)
            self.with_number |= match.lastgroup != "non_finite"  # `number of nan iterations` holds none
            return
        elif "/" not in text:
            self._add(self.weak, self._name(), text)
        self.drop()

    def on_open(self, _: re.Match[str]) -> None:
        name: str | None = ""
        if self.prefixes:  # a label before the outermost brace is prose: `Eval metrics: {'loss': 0.3}`
            name = self._name() if self.separator else self.prefixes[-1]
        self.prefixes.append(name if name is None or len(name) <= _MAX_PREFIX else None)
        self.flush()

    def on_close(self, _: re.Match[str]) -> None:
        if self.prefixes:
            self.prefixes.pop()
        self.flush()

    def on_break(self, match: re.Match[str]) -> None:
        self.flush()
        if match.group() in ("(", ")"):
            self.nested = match.group() == "("

    def on_no_value(self, _: re.Match[str]) -> None:
        self.drop()

    def on_transparent(self, _: re.Match[str]) -> None:
        """A bracket or percent sign that belongs to the name: `Loss (val): 0.3`, `acc [%]: 93`."""

    def _extend(self, word: str) -> None:
        """One more word for the phrase, whose length is bounded: a line may be nothing but words."""
        self.words.append(word)
        if len(self.words) > 2 * _MAX_WORDS:
            del self.words[0]

    def _add(self, pairs: list[Pair], name: str | None, text: str) -> None:
        if not name or (value := value_of(name, text)) is None:
            return
        if self.nested and (self.pairs or self.weak) and step_rank(name) is not None:
            return  # `val_loss: 0.31 (best: 0.30 at epoch 7)`
        pairs.append((name, value))

    def _is_place(self, text: str, start: int) -> bool:
        """Whether this is `train.py:10`, `host.domain:80`, `cuda:0` or `module:function:42`."""
        if not (self.separator == ":" and self.tight and start == self.end and text.isdecimal()):
            return False
        word = self.words[-1]
        return step_rank(word) is None and (self.chained or "." in word or word.lower() in _PLACES)

    def _name(self) -> str | None:
        words = self.words
        if self.with_number:
            words = self._head()
        elif self.separator == "=" and self.tight:
            first = len(words) - 1
            while first > 0 and _QUALIFIER.fullmatch(words[first - 1]):
                first -= 1
            words = words[first:]
        words = _without_leaders(words)
        if not words or len(words) > _MAX_WORDS or words[-1].lower() in _NOT_METRICS:
            return None
        name = " ".join(words)
        if not self.prefixes or self.prefixes[-1] == "":
            return name
        return f"{self.prefixes[-1]}/{name}" if self.prefixes[-1] else None

    def _head(self) -> list[str]:
        """`Cost` of `Cost after iteration 100: 0.69`, whose iteration is the step."""
        cut = next((i for i, word in enumerate(self.words) if word in _PREPOSITIONS), 0)
        for name, text in zip(self.words[cut:], self.words[cut + 1 :], strict=False):
            if step_rank(name) is not None:
                self._add(self.pairs, name, text)
        return self.words[:cut]


def _without_leaders(words: list[str]) -> list[str]:
    first = 0
    while first < len(words) and words[first] in _LEADERS:
        first += 1
    return words[first:]


_HANDLERS = {
    "word": _Scan.on_word,
    "number": _Scan.on_number,
    "non_finite": _Scan.on_number,
    "fraction": _Scan.on_number,
    "separator": _Scan.on_separator,
    "key": _Scan.on_key,
    "glob": _Scan.on_no_value,
    "path": _Scan.on_no_value,
    "string": _Scan.on_no_value,
    "transparent": _Scan.on_transparent,
    "open": _Scan.on_open,
    "close": _Scan.on_close,
    "bar": _Scan.on_break,
    "other": _Scan.on_break,
}
