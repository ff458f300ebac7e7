"""Speech by eSpeak NG through its C library: text to samples and phonemes with their times."""

import _ctypes
import ctypes
import dataclasses

import numpy as np

from mm_models.errors import UserError

SAMPLE_RATE_HZ = 22050
FASTEST_WORDS_PER_MINUTE = 320

# Timbres by eSpeak's variant names; a voice is `<accent>+<timbre>`.
TRAIN_TIMBRES = ("m1", "m3", "m4", "m7", "Andy", "f1", "f2", "f5", "Annie", "steph")
TEST_ONLY_TIMBRES = ("f4", "m2", "belinda")
ACCENTS = {
    "en": ("en-us", "en", "en-gb-scotland"),
    "de": ("de",),
    "fr": ("fr", "fr-be"),
    "es": ("es", "es-419"),
}

_SYNCHRONOUS_OUTPUT = 2
_PHONEME_EVENTS_AND_DO_NOT_EXIT = 0x8001
_UTF8 = 1
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4
_EVENT_END_OF_LIST, _EVENT_PHONEME = 0, 7


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("message", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("symbol", ctypes.c_char * 8),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclasses.dataclass(frozen=True)
class Phoneme:
    """One phoneme in eSpeak's mnemonics, timed from the start of its utterance."""

    symbol: str
    start_seconds: float
    end_seconds: float


@dataclasses.dataclass(frozen=True)
class Speech:
    """One utterance: samples float32[samples] in [-1, 1] at `SAMPLE_RATE_HZ`, and its phonemes."""

    samples: np.ndarray
    phonemes: tuple[Phoneme, ...]

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return len(self.samples) / SAMPLE_RATE_HZ


def timbres(split: str) -> tuple[str, ...]:
    """Timbres that `split` may use; the test split adds those that only it has."""
    return TRAIN_TIMBRES + (TEST_ONLY_TIMBRES if split == "test" else ())


def find_library() -> tuple[str, str]:
    """Paths of eSpeak's shared library and of its data.

    Raises:
        UserError: the package that brings them is not installed.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise UserError(
            "spoken digits need the eSpeak NG speech synthesiser (package espeakng-loader);"
            " run `pip install mmstack[corpus]`."
        ) from error
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()


def synthesize(
    text: str, voice: str, *, words_per_minute: int, pitch: int, pitch_range: int = 50
) -> Speech:
    """Speaks `text`; equal arguments give equal samples, whatever was spoken before.

    Args:
        text: what to say.
        voice: eSpeak voice name, `<accent>+<timbre>`.
        words_per_minute: rate, 80 to 450.
        pitch, pitch_range: 0 to 100.

    Raises:
        UserError: eSpeak is missing, or does not know the voice.
    """
    library_path, data_path = find_library()
    recorder = _Recorder()
    # The library keeps the phase of its oscillators and its random state between utterances, so a
    # fresh copy is loaded for each (3 ms): otherwise lengths would depend on what was said before.
    library = ctypes.CDLL(library_path)
    try:
        rate_hz = library.espeak_Initialize(
            _SYNCHRONOUS_OUTPUT, 0, data_path.encode(), _PHONEME_EVENTS_AND_DO_NOT_EXIT
        )
        if rate_hz != SAMPLE_RATE_HZ:
            raise UserError(f"eSpeak NG could not start from {data_path}; reinstall the package.")
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        ctypes.CDLL(None).srand(1)
        library.espeak_SetSynthCallback(recorder.callback)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UserError(f"eSpeak NG has no voice '{voice}'; choose another.")
        library.espeak_SetParameter(_RATE, words_per_minute, 0)
        library.espeak_SetParameter(_PITCH, pitch, 0)
        library.espeak_SetParameter(_PITCH_RANGE, pitch_range, 0)
        encoded = text.encode()
        library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)
    return recorder.speech()


class _Recorder:
    """Collects what the C library hands over while it speaks."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._events: list[tuple[str, int]] = []
        self.callback = _Callback(self._receive)

    def _receive(self, samples, num_samples, events) -> int:
        if samples and num_samples > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * num_samples))
        place = 0
        while events[place].type != _EVENT_END_OF_LIST:
            if events[place].type == _EVENT_PHONEME:
                symbol = events[place].symbol.decode("utf-8", "replace")
                self._events.append((symbol, events[place].audio_ms))
            place += 1
        return 0

    def speech(self) -> Speech:
        samples = np.frombuffer(b"".join(self._chunks), np.int16).astype(np.float32) / 32768
        phonemes = []
        for place, (symbol, start_ms) in enumerate(self._events[:-1]):
            # `_:` is a pause and `(en)` a change of language: neither sounds.
            if not symbol.startswith(("_", "(")):
                end_ms = self._events[place + 1][1]
                phonemes.append(Phoneme(symbol, start_ms / 1000, end_ms / 1000))
        end = round(phonemes[-1].end_seconds * SAMPLE_RATE_HZ) if phonemes else len(samples)
        return Speech(samples[:end], tuple(phonemes))
