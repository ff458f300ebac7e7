"""Languages in the names of caption files, such as `clip.en.vtt` and `clip.mp4.pt-BR.auto.srt`."""

import re

_TWO_LETTERS = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de
dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id
ie ig ii ik io is it iu iw ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt
lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt
qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn
to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
# Codes of three letters that players and downloaders write, and what BCP 47 has for them.
_THREE_LETTERS = """
eng=en deu=de ger=de fra=fr fre=fr spa=es por=pt ita=it nld=nl dut=nl rus=ru ukr=uk pol=pl ces=cs
cze=cs slk=sk slo=sk slv=sl hrv=hr srp=sr bul=bg ron=ro rum=ro hun=hu ell=el gre=el tur=tr ara=ar
heb=he fas=fa per=fa hin=hi ben=bn tam=ta tel=te urd=ur zho=zh chi=zh jpn=ja kor=ko vie=vi tha=th
ind=id msa=ms may=ms swe=sv dan=da nor=no nob=nb nno=nn fin=fi est=et lav=lv lit=lt isl=is ice=is
cat=ca eus=eu baq=eu glg=gl lat=la fil=fil yue=yue
"""
_NAMES = """
english=en german=de french=fr spanish=es portuguese=pt italian=it dutch=nl russian=ru ukrainian=uk
polish=pl czech=cs greek=el turkish=tr arabic=ar hebrew=he hindi=hi chinese=zh japanese=ja korean=ko
vietnamese=vi thai=th indonesian=id swedish=sv danish=da norwegian=no finnish=fi hungarian=hu
romanian=ro
"""
_CODES = {code: code for code in _TWO_LETTERS.split()} | dict(
    pair.split("=") for pair in f"{_THREE_LETTERS} {_NAMES}".split()
)
# What follows the region says where automatic captions come from: `en-orig`, `de-en`.
_TAG = re.compile(
    r"(?P<language>[A-Za-z]{2,10})(?:[-_](?P<script>[A-Z][a-z]{3}))?"
    r"(?:[-_](?P<region>[A-Z]{2}|\d{3}))?(?:[-_](?:orig|auto|[a-z]{2,3}(?:-[A-Z][a-z]{3})?))?"
)
_REMARKS = ("auto", "orig", "forced", "sdh", "cc", "hi", "default", "asr", "captions", "subtitles")
_OTHER_WORDS = ("id", "no")


def language_of_suffix(suffix: str) -> str | None:
    """BCP 47 tag of what stands between a media's name and the extension of its captions.

    Args:
        suffix: such as `en`, `pt-BR`, `eng`, `de.forced`; dots between its parts.

    Returns:
        The tag; empty when only remarks such as `auto` are there; None when a part is neither.
    """
    language = ""
    for part in suffix.split("."):
        tag = _tag(part)
        if tag is not None and not language:
            language = tag
        elif part.lower() not in _REMARKS:
            return None
    return language


def language_behind(name: str, mark: str) -> tuple[str, str] | None:
    """(name before it, language) of a name that ends with a mark and a language, or None.

    Args:
        name: such as `caption_de` or `clip-en`; `_id` and `_no` are no languages there.
        mark: what stands before the language.
    """
    start, found, suffix = name.rpartition(mark)
    language = language_of_suffix(suffix) if found and suffix.lower() not in _OTHER_WORDS else None
    return (start, language) if start and language else None


def _tag(part: str) -> str | None:
    match = _TAG.fullmatch(part)
    code = _CODES.get(match.group("language").lower()) if match else None
    if code is None:
        return None
    return "-".join(filter(None, (code, match.group("script"), match.group("region"))))
