"""One clip, from nothing but (config, split, index): its MP4 bytes and its manifest line."""

import dataclasses

import numpy as np

from beam_pipelines.sources.digits.config import DigitsConfig
from beam_pipelines.sources.digits.ground_truth import GroundTruth
from beam_pipelines.sources.digits.language import captions
from beam_pipelines.sources.digits.language.lexicon import DIGIT_WORDS
from beam_pipelines.sources.digits.language.phrases import refer
from beam_pipelines.sources.digits.language.questions import write_questions
from beam_pipelines.sources.digits.pictures.moments import split_into_moments
from beam_pipelines.sources.digits.pictures.mp4_encoding import encode_mp4
from beam_pipelines.sources.digits.pictures.render import Sighting, render
from beam_pipelines.sources.digits.pictures.scene import SceneObject, draw_digits, draw_looks
from beam_pipelines.sources.digits.pictures.scene_choice import stage_scene
from beam_pipelines.sources.digits.randomness import clip_random
from beam_pipelines.sources.digits.speech import voices
from beam_pipelines.sources.digits.speech.utterances import SpokenClip, mix, speak


@dataclasses.dataclass(frozen=True)
class DigitsClip:
    """A finished clip: the manifest's item and the media file's bytes."""

    item: dict
    media: bytes


@dataclasses.dataclass(frozen=True)
class DigitsClipPlan:
    """A clip before it is drawn.

    Attributes:
        objects: what is shown.
        sightings: what can be seen of each.
        timeline: speech that names what is shown; the digits' appearances follow it.
        spoken: speech that is heard; another one in clips with wrong sound.
    """

    objects: list[SceneObject]
    sightings: list[list[Sighting]]
    timeline: SpokenClip
    spoken: SpokenClip


def make_clip(config: DigitsConfig, split: str, index: int) -> DigitsClip:
    """Draws, speaks, describes and encodes one clip."""
    plan = plan_clip(config, split, index)
    frames = render(clip_random(config.seed, split, index, "pixels"), config, plan.objects)
    sound = mix(clip_random(config.seed, split, index, "sound"), config, plan.spoken)
    media = encode_mp4(frames, config.frame_rate_hz, sound, voices.SAMPLE_RATE_HZ)
    return DigitsClip(describe_clip(config, split, index, plan), media)


def plan_clip(config: DigitsConfig, split: str, index: int) -> DigitsClipPlan:
    """Decides what one clip shows and says."""

    def random(purpose: str) -> np.random.Generator:
        return clip_random(config.seed, split, index, purpose)

    digits = draw_digits(random("digits"), config)
    timeline = speak(random("speech"), config, split, digits)
    looks = draw_looks(random("looks"), config, split, digits)
    objects, seen = stage_scene(random("places"), config, looks, timeline)
    noise = random("wrong audio")
    if float(noise.uniform()) >= config.wrong_audio_share:
        return DigitsClipPlan(objects, seen, timeline, timeline)
    others = [digit for digit in range(10) if digit not in digits]
    said = [int(digit) for digit in noise.permutation(others)[: len(digits)]]
    return DigitsClipPlan(objects, seen, timeline, speak(random("speech"), config, split, said))


def describe_clip(config: DigitsConfig, split: str, index: int, plan: DigitsClipPlan) -> dict:
    """The manifest's line of a planned clip."""
    truth = GroundTruth(
        config, plan.objects, plan.sightings, split_into_moments(plan.timeline, config.clip_seconds)
    )
    written = captions.write_captions(
        clip_random(config.seed, split, index, "captions"),
        clip_random(config.seed, split, index, "wrong captions"),
        truth,
    )
    return {
        "id": f"{split}/{index:06d}",
        "media": f"media/{split}/{index:06d}.mp4",
        "split": split,
        "captions": [caption.manifest_entry() for caption in written],
        "labels": truth.labels,
        "objects": [
            {
                "id": shown.object_id,
                "label": truth.label(shown.object_id),
                "phrases": refer(truth, shown.object_id),
                "track": truth.track(shown.object_id),
            }
            for shown in plan.objects
        ],
        "relations": [
            {"subject_id": subject, "predicate": predicate, "object_id": other}
            for subject, predicate, other in truth.relations
        ],
        "utterances": _utterances(plan.spoken),
        "questions": write_questions(
            clip_random(config.seed, split, index, "questions"),
            truth,
            [utterance.digit for utterance in plan.spoken.utterances],
        ),
        "metadata": _metadata(config, plan, written),
    }


def _utterances(spoken: SpokenClip) -> list[dict]:
    return [
        {
            "text": utterance.text,
            "voice": spoken.voice,
            "language": spoken.language,
            "start_seconds": utterance.start_seconds,
            "end_seconds": round(utterance.end_seconds, 4),
            "phonemes": [
                {
                    "symbol": phoneme.symbol,
                    "start_seconds": round(utterance.start_seconds + phoneme.start_seconds, 4),
                    "end_seconds": round(utterance.start_seconds + phoneme.end_seconds, 4),
                }
                for phoneme in utterance.speech.phonemes
            ],
        }
        for utterance in spoken.utterances
    ]


def _metadata(config: DigitsConfig, plan: DigitsClipPlan, written: list[captions.Caption]) -> dict:
    return {
        "corpus": "digits",
        "preset": config.preset,
        "objects": [
            {
                "id": shown.object_id,
                "digit": shown.digit,
                "image_index": shown.image_index,
                "colour": shown.color,
                "rgb": list(shown.rgb),
                "size": shown.size,
                "speed_heights_per_second": round(shown.path.speed, 4),
                "enters_from": shown.path.enters_from,
                "leaves_to": shown.path.leaves_to,
                "bounces": shown.path.bounces,
            }
            for shown in plan.objects
        ],
        "shown": [DIGIT_WORDS["en"][shown.digit] for shown in plan.objects],
        "said": [DIGIT_WORDS["en"][utterance.digit] for utterance in plan.spoken.utterances],
        "wrong_audio": plan.spoken is not plan.timeline,
        "wrong_captions": captions.wrong_caption_notes(written),
        "voice": plan.spoken.voice,
        "voice_seen_in_training": plan.spoken.seen_in_training,
        "words_per_minute": plan.spoken.words_per_minute,
        "pitch": plan.spoken.pitch,
    }
