import stat
import sys

import numpy as np
import pytest

from mm_models.errors import UserError
from mm_models.metrics.meteor_jar import MeteorJar, find_meteor
from mm_models.metrics.meteor_light import meteor_light
from mm_models.metrics.porter import porter_stem

# Speaks as the jar does, with the share of candidate words in any reference as score.
_SPEAKER = """#!{python}
import sys
for line in sys.stdin:
    command, *parts = line.rstrip("\\n").split(" ||| ")
    if command == "SCORE":
        *references, candidate = parts
        known = set(" ".join(references).split())
        words = candidate.split()
        print(sum(word in known for word in words), len(words), flush=True)
    else:
        pairs = [tuple(map(float, part.split())) for part in parts]
        for hits, total in pairs:
            print(hits / total)
        print(sum(p[0] for p in pairs) / sum(p[1] for p in pairs), flush=True)
"""


def speaker(tmp_path, text):
    path = tmp_path / "java"
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return MeteorJar(str(path), "meteor.jar")


def test_java_is_asked_example_by_example(tmp_path):
    jar = speaker(tmp_path, _SPEAKER.format(python=sys.executable))
    candidates = [["a", "b"], ["c", "d", "|||", "e", "f"], ["x"]]
    references = [[["a"], ["b"]], [["c"]], [["y"]]]
    whole, each = jar(candidates, references)
    np.testing.assert_allclose(each, [1.0, 0.25, 0.0])
    assert whole == pytest.approx(3 / 7)


def test_a_java_that_dies_is_named(tmp_path):
    jar = speaker(tmp_path, "#!/bin/sh\nexit 3\n")
    with pytest.raises(UserError, match="meteor_light"):
        jar([["a"]] * 3, [[["a"]]] * 3)


def test_a_jar_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="missing.jar"):
        find_meteor(str(tmp_path / "missing.jar"))


@pytest.mark.skipif(find_meteor() is None, reason="needs Java and the package pycocoevalcap")
def test_meteor_itself():
    whole, each = find_meteor()([["a", "small", "dog"]], [[["a", "small", "dog"]]])
    assert whole == pytest.approx(1.0)
    assert each.tolist() == pytest.approx([1.0])


# What METEOR 1.5 itself gives.
METEOR = {
    # Little but function words is shared.
    ("a man on a horse in the rain", "a cup on a table in the sun"): 0.1637,
    # Other words for the same.
    ("a large automobile", "a big car"): 0.8286,
    ("a large dog sits on the grass", "a big dog sits on the lawn"): 0.4413,
    ("the red kite flies over hills", "the red kite flies over hills"): 1.0,
}


def test_the_light_form_is_no_bound_of_meteor():
    candidates = [candidate.split() for candidate, _ in METEOR]
    references = [[reference.split()] for _, reference in METEOR]
    light = meteor_light(candidates, references)
    signs = np.sign(light - list(METEOR.values()))
    assert signs.tolist() == [1, -1, -1, 0]
    jar = find_meteor()
    if jar is not None:
        np.testing.assert_allclose(jar(candidates, references)[1], list(METEOR.values()), atol=1e-4)


_STEMS = """
caresses:caress ponies:poni cats:cat agreed:agre plastered:plaster motoring:motor sing:sing
conflated:conflat troubled:troubl hopping:hop falling:fall filing:file happy:happi sky:sky
relational:relat digitizer:digit sensibiliti:sensibl triplicate:triplic electrical:electr
goodness:good revival:reviv adoption:adopt effective:effect probate:probat rate:rate
controll:control generalizations:gener is:is
"""


def test_stems_of_porter():
    pairs = dict(pair.split(":") for pair in _STEMS.split())
    assert {word: porter_stem(word) for word in pairs} == pairs
