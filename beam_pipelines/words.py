"""Words of a caption, split the way the word tokenizer of the models splits them."""

import string

_DELETE_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised_words(text: str) -> list[str]:
    """Words of `text`: POSIX punctuation deleted, lower-cased, split on white space.

    Source: VATT, section 3.1 of its appendix on inputs; the word tokenizer of `mm_models/text`
        agrees.
    """
    return text.translate(_DELETE_PUNCTUATION).lower().split()
