"""What VATT's signatures mean, for the documentation that travels with an export."""

from export.signatures.base import SignatureDoc
from export.signatures.shared.media import input_docs
from export.version.model_info import ModelInfo


def signature_docs(
    info: ModelInfo, temperature: float, spaces: dict[str, list[str]]
) -> dict[str, SignatureDoc]:
    """Documentation of every signature a VATT model may have.

    Args:
        info: rates and sizes.
        temperature: of the probabilities.
        spaces: embedding outputs by modality.
    """
    docs = input_docs(info)
    jpeg, frames, waveform, wav = (
        docs[name] for name in ("frames_jpeg", "frames", "waveform", "wav_bytes")
    )
    text = f"string[batch]: UTF-8; the first {info.num_tokens} tokens are used"
    texts = f"string[batch, texts]: UTF-8 sentences to compare with, {info.num_tokens} tokens each"
    compared = {
        "similarity": "float32[batch, texts]: cosine similarity in [-1, 1]",
        "probability": f"float32[batch, texts]: softmax(similarity / {temperature:g}) over texts",
    }
    video, audio, text_spaces = (_embeddings(spaces[name]) for name in ("video", "audio", "text"))
    return {
        "embed_video_jpeg": SignatureDoc("Embeds clips.", {"frames_jpeg": jpeg}, video),
        "embed_video_frames": SignatureDoc("Embeds clips.", {"frames": frames}, video),
        "embed_audio": SignatureDoc("Embeds sounds.", {"waveform": waveform}, audio),
        "embed_audio_wav": SignatureDoc("Embeds sounds.", {"wav_bytes": wav}, audio),
        "embed_text": SignatureDoc("Embeds sentences.", {"text": text}, text_spaces),
        "similarity": SignatureDoc(
            "Compares clips with sentences.", {"frames_jpeg": jpeg, "texts": texts}, compared
        ),
        "similarity_frames": SignatureDoc(
            "Compares clips with sentences.", {"frames": frames, "texts": texts}, compared
        ),
        "similarity_audio": SignatureDoc(
            "Compares sounds with sentences.", {"waveform": waveform, "texts": texts}, compared
        ),
        "classify": SignatureDoc(
            "Finds each clip's best sentence.",
            {"frames_jpeg": jpeg, "texts": texts},
            {
                "probability": compared["probability"],
                "best_index": "int32[batch]: position of the most similar sentence",
                "best_text": "string[batch]: that sentence",
            },
        ),
    }


def _embeddings(names: list[str]) -> dict[str, str]:
    meanings = {"va": "video-audio", "vt": "video-text"}
    return {
        name: f"float32[batch, dim]: place in the {meanings[name[-2:]]} space, length 1"
        for name in names
    }
