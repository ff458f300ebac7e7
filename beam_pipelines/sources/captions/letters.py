"""How likely characters are in the languages whose old encodings are told apart.

A language's letters are listed from frequent to rare; their shares fall off exponentially along
the list, which is near enough to the truth to tell right text from text in a wrong encoding.
"""

import dataclasses
import functools
import math
import unicodedata

_FALL_OVER_LIST = 4.5
_UNKNOWN = -12.0
_MARK = math.log(0.004)
_MARKS = frozenset("“”‘’‚„«»‹›–—…·•°§©®™€£№¿¡´♪\xa0、。「」ー・！？，：；（）《》　～")
_ASCII_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclasses.dataclass(frozen=True)
class Language:
    """A group of characters and the encodings that old files of it are in.

    Attributes:
        encodings: Python's names, the narrower first.
        letters: lower-case letters outside ASCII, frequent ones first.
        letters_share: of `letters` among all letters of a text; the rest are ASCII.
        is_latin: whether words mix `letters` with ASCII letters.
    """

    encodings: tuple[str, ...]
    letters: str
    letters_share: float
    is_latin: bool

    @functools.cached_property
    def ascii_cost(self) -> float:
        return math.log((1.0 - self.letters_share) / 26)

    @functools.cached_property
    def plain_cost(self) -> float:
        """Logarithm of the chance that a letter is ASCII; 0 where ASCII tells nothing."""
        return math.log(1.0 - self.letters_share) if self.is_latin else 0.0

    @functools.cached_property
    def chances(self) -> dict[str, float]:
        """Logarithm of the share of each letter, which its capital has too."""
        weights = [
            math.exp(-_FALL_OVER_LIST * r / len(self.letters)) for r in range(len(self.letters))
        ]
        total = sum(weights)
        chances: dict[str, float] = {}
        for letter, weight in zip(self.letters, weights, strict=True):
            chance = math.log(self.letters_share * weight / total)
            chances.setdefault(letter, chance)
            if len(letter.upper()) == 1 and letter.upper() != letter:
                chances.setdefault(letter.upper(), chance)
        return chances

    def chance(self, letter: str) -> float:
        """Logarithm of the chance of a character; 0 for ASCII that is no letter."""
        if letter in _ASCII_LETTERS:
            return self.ascii_cost
        if letter.isascii():
            return 0.0
        if letter in self.chances:
            return self.chances[letter]
        return _MARK if letter in _MARKS else _UNKNOWN


@dataclasses.dataclass(frozen=True)
class Ideographs:
    """A language of thousands of characters, which a national standard sorts by use.

    Attributes:
        encodings: Python's names.
        standard: encoding whose first byte tells common from rare characters.
        common: first bytes of the common ones, both included.
        common_share, num_common: their share of a text, and how many there are.
        frequent: the most used ones, with half of `common_share`.
        kana_share: of Japanese syllables.
    """

    encodings: tuple[str, ...]
    standard: str
    common: tuple[int, int]
    common_share: float
    num_common: int
    frequent: frozenset[str] = frozenset()
    kana_share: float = 0.0
    is_latin = True
    plain_cost = 0.0

    def chance(self, letter: str) -> float:
        """Logarithm of the chance of a character; 0 for ASCII that is no letter."""
        if letter in _ASCII_LETTERS:
            return math.log(0.05 / 26)
        if letter.isascii():
            return 0.0
        if letter in _MARKS:
            return _MARK
        if self.kana_share and "\u3041" <= letter <= "\u30fa":
            return math.log(self.kana_share * (0.8 if letter <= "\u3096" else 0.2) / 85)
        if letter in self.frequent:
            return math.log(self.common_share / 2 / len(self.frequent))
        if unicodedata.category(letter) != "Lo" or not self._is_common(letter):
            return _UNKNOWN - 2.0
        return math.log(self.common_share / 2 / self.num_common)

    def _is_common(self, letter: str) -> bool:
        try:
            code = letter.encode(self.standard)
        except UnicodeEncodeError:
            return False
        return len(code) == 2 and self.common[0] <= code[0] <= self.common[1]


_WEST = ("latin-1", "cp1252")
_CENTRE = ("cp1250", "iso8859_2")
_CYRILLIC = ("cp1251", "koi8_u", "iso8859_5", "cp866")

LANGUAGES: tuple[Language | Ideographs, ...] = (
    Language(_WEST, "éàèêçôâîùûëïœ", 0.04, True),
    Language(_WEST, "äüöß", 0.02, True),
    Language(_WEST, "óáíéñúü", 0.03, True),
    Language(_WEST, "ãáéçíóêõúâàô", 0.04, True),
    Language(_WEST, "àèùòéìï", 0.02, True),
    Language(_WEST, "åäöøæéü", 0.05, True),
    Language(_WEST, "éïñèöüç", 0.002, True),
    Language(_CENTRE, "łąężóśćńź", 0.07, True),
    Language(_CENTRE, "íáéěřůčžýšúóťďň", 0.13, True),
    Language(_CENTRE, "áíéčúýšžľťôňäďóĺŕ", 0.11, True),
    Language(_CENTRE, "áéöóőüíúű", 0.12, True),
    Language(_CENTRE, "ăîâşţ", 0.06, True),
    Language(_CENTRE, "čšžćđ", 0.03, True),
    Language(("cp1254", "iso8859_9"), "ıüşğçöİâ", 0.1, True),
    Language(("cp1257", "iso8859_13"), "āīēšņūžļģķč", 0.1, True),
    Language(("cp1257", "iso8859_13"), "ėšžųįąčęū", 0.06, True),
    Language(("cp1257", "iso8859_13"), "äõüöšž", 0.05, True),
    Language(_CYRILLIC, "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё", 0.97, False),
    Language(_CYRILLIC, "оаиніевртскулдмпяьзгбчйхжшюцїщфєґ", 0.97, False),
    Language(("cp1253", "iso8859_7"), "αοιετσνηυρπκμλςάωίέόγδήύχώθφβξζψϊϋΐΰ", 0.97, False),
    Language(("cp1255", "iso8859_8"), "יוהלאתרבשמנםדכפחקעגצטזןסךףץ", 0.97, False),
    Language(("cp1256", "iso8859_6"), "الينمروتبةعدسفهكقحجشطصخأإذئءىثضظغؤآ", 0.97, False),
    Language(
        ("cp874",),
        "านรก่อเง้มยลวดัทิีตสะปบคหแจพชขใไุูื็ผถโธณ์ำึฐศษซภฟญฉฝฏฎฑฒฮฬๆ",
        0.97,
        False,
    ),
    Ideographs(("cp932", "euc_jp"), "euc_jp", (0xB0, 0xCF), 0.4, 2965, kana_share=0.5),
    Ideographs(
        ("gbk",),
        "gb2312",
        (0xB0, 0xD7),
        0.9,
        3755,
        frozenset(
            "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之"
        ),
    ),
    Ideographs(
        ("big5",),
        "big5",
        (0xA4, 0xC6),
        0.9,
        5401,
        frozenset(
            "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之"
        ),
    ),
    Ideographs(
        ("cp949",),
        "euc_kr",
        (0xB0, 0xC8),
        0.95,
        2350,
        frozenset("이다는에의가을를은하고지도로서한기리사아인자시나어대그일수해있부정스라것보만들"),
    ),
)
