"""Speech: repeatable, timed, and clear about what is missing."""

import subprocess
import sys

import numpy as np
import pytest

from beam_pipelines.sources.digits.config import SECONDS_PER_DIGIT
from beam_pipelines.sources.digits.language.lexicon import DIGIT_WORDS
from beam_pipelines.sources.digits.speech import voices
from mm_models.errors import UserError

_SAY = {"words_per_minute": 170, "pitch": 50}
_PRINT_DIGEST = """
import hashlib
from beam_pipelines.sources.digits.speech.voices import synthesize
speech = synthesize("six", "en-us+f2", words_per_minute=170, pitch=50)
print(hashlib.sha256(speech.samples.tobytes()).hexdigest())
"""


def test_speech_does_not_depend_on_what_was_said_before():
    first = voices.synthesize("six", "en-us+f2", **_SAY)
    voices.synthesize("seven", "de+m7", words_per_minute=220, pitch=20)
    again = voices.synthesize("six", "en-us+f2", **_SAY)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert first.phonemes == again.phonemes


def test_speech_is_the_same_in_another_process():
    command = [sys.executable, "-c", _PRINT_DIGEST]
    digests = {
        subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)
    }
    assert len(digests) == 1 and len(digests.pop().strip()) == 64


def test_phonemes_are_timed_within_the_sound():
    speech = voices.synthesize("three", "en-us+m3", **_SAY)
    assert [phoneme.symbol.strip("'") for phoneme in speech.phonemes] == ["T", "r", "i:"]
    edges = [edge for p in speech.phonemes for edge in (p.start_seconds, p.end_seconds)]
    assert edges == sorted(edges)
    assert speech.seconds == pytest.approx(edges[-1], abs=1e-4)
    vowel = speech.phonemes[-1]
    middle = int((vowel.start_seconds + vowel.end_seconds) / 2 * voices.SAMPLE_RATE_HZ)
    vowel_energy = np.square(speech.samples[middle - 400 : middle + 400]).mean()
    assert vowel_energy > 10 * np.square(speech.samples[:800]).mean()


def test_rate_pitch_and_voice_matter():
    plain = voices.synthesize("nine", "en-us+m1", **_SAY)
    fast = voices.synthesize("nine", "en-us+m1", words_per_minute=260, pitch=50)
    assert fast.seconds < 0.8 * plain.seconds
    for other in (
        voices.synthesize("nine", "en-us+m1", words_per_minute=170, pitch=90),
        voices.synthesize("nine", "en-us+f1", **_SAY),
        voices.synthesize("nine", "en-gb-scotland+m1", **_SAY),
    ):
        assert other.samples.tobytes() != plain.samples.tobytes()


def test_test_only_voices():
    assert len(voices.TEST_ONLY_TIMBRES) >= 2
    assert set(voices.timbres("train")) == set(voices.timbres("val"))
    assert not set(voices.timbres("train")) & set(voices.TEST_ONLY_TIMBRES)
    assert set(voices.timbres("test")) > set(voices.TEST_ONLY_TIMBRES)


def test_every_name_fits_its_time_at_the_fastest_rate():
    fastest = {"words_per_minute": voices.FASTEST_WORDS_PER_MINUTE, "pitch": 50}
    for language, accents in voices.ACCENTS.items():
        for timbre in voices.timbres("test"):
            for word in DIGIT_WORDS[language]:
                speech = voices.synthesize(word, f"{accents[0]}+{timbre}", **fastest)
                assert 0.03 < speech.seconds < SECONDS_PER_DIGIT - 0.05, (word, timbre)


def test_unknown_voice():
    with pytest.raises(UserError, match="xx-klingon"):
        voices.synthesize("one", "xx-klingon", **_SAY)


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"pip install mmstack\[corpus\]"):
        voices.synthesize("one", "en-us", **_SAY)
