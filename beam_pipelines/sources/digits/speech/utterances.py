"""Who says what, when: the utterances of one clip, laid out so that they fit."""

import dataclasses

import numpy as np

from beam_pipelines.sources.digits.config import LANGUAGES, DigitsConfig
from beam_pipelines.sources.digits.language.lexicon import DIGIT_WORDS
from beam_pipelines.sources.digits.randomness import choose
from beam_pipelines.sources.digits.speech import voices

_LEAD_SECONDS = 0.05


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One spoken digit name and its place in the clip."""

    digit: int
    text: str
    start_seconds: float
    speech: voices.Speech

    @property
    def end_seconds(self) -> float:
        """End of the sound."""
        return self.start_seconds + self.speech.seconds


@dataclasses.dataclass(frozen=True)
class SpokenClip:
    """A clip's speech: one speaker, utterances in order of time."""

    voice: str
    language: str
    words_per_minute: int
    pitch: int
    seen_in_training: bool
    utterances: tuple[Utterance, ...]


def speak(
    random: np.random.Generator, config: DigitsConfig, split: str, digits: list[int]
) -> SpokenClip:
    """Speaks `digits` in order, with pauses drawn so that all of them end within the clip."""
    language = config.speech_language
    if language == "mixed":
        language = choose(random, LANGUAGES)
    timbre = choose(random, voices.timbres(split))
    voice = f"{choose(random, voices.ACCENTS[language])}+{timbre}"
    rate, pitch = int(random.integers(130, 211)), int(random.integers(25, 76))
    pauses = random.dirichlet(np.ones(len(digits) + 1))
    words = [DIGIT_WORDS[language][digit] for digit in digits]
    while True:
        speeches = [
            voices.synthesize(word, voice, words_per_minute=rate, pitch=pitch) for word in words
        ]
        spare = config.clip_seconds - _LEAD_SECONDS - sum(speech.seconds for speech in speeches)
        if spare >= 0.05 * len(digits) or rate >= voices.FASTEST_WORDS_PER_MINUTE:
            break
        rate = min(round(rate * 1.2), voices.FASTEST_WORDS_PER_MINUTE)
    starts, now = [], _LEAD_SECONDS
    for pause, speech in zip(pauses, speeches, strict=False):
        now += pause * max(spare, 0.0)
        starts.append(round(float(now), 4))
        now += speech.seconds
    utterances = map(Utterance, digits, words, starts, speeches)
    seen = timbre not in voices.TEST_ONLY_TIMBRES
    return SpokenClip(voice, language, rate, pitch, seen, tuple(utterances))


def mix(random: np.random.Generator, config: DigitsConfig, spoken: SpokenClip) -> np.ndarray:
    """The clip's sound, as long as its video: float32[samples] in [-1, 1] at `SAMPLE_RATE_HZ`."""
    num_samples = round(config.clip_seconds * voices.SAMPLE_RATE_HZ)
    gain = float(random.uniform(0.4, 0.85))
    mixed = config.audio_noise * random.standard_normal(num_samples, np.float32)
    for utterance in spoken.utterances:
        start = round(utterance.start_seconds * voices.SAMPLE_RATE_HZ)
        samples = utterance.speech.samples[: num_samples - start]
        loudest = max(float(np.abs(samples).max()), 1e-3)
        mixed[start : start + len(samples)] += samples * (gain / loudest)
    return np.clip(mixed, -1, 1)
