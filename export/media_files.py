"""Pictures, sounds, videos and arrays as the bytes of files; imports no TensorFlow."""

import fractions
import io
import wave

import numpy as np

JPEG_QUALITY = 90


def jpeg_frames(frames: np.ndarray) -> list[bytes]:
    """JPEG files of uint8[frames, height, width, 3]."""
    return [_picture_file(frame, "JPEG", quality=JPEG_QUALITY) for frame in frames]


def png_file(picture: np.ndarray) -> bytes:
    """A PNG file of uint8[height, width, 3]."""
    return _picture_file(picture, "PNG")


def picture_pixels(encoded: bytes) -> np.ndarray:
    """uint8[height, width, 3] of a picture's file."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def wav_file(waveform: np.ndarray, sample_rate_hz: int) -> bytes:
    """A mono 16-bit PCM WAV file of float32[samples] in [-1, 1]."""
    integers = np.clip(np.round(np.asarray(waveform) * 32767), -32768, 32767)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(integers.astype("<i2").tobytes())
    return stream.getvalue()


def npy_file(values: np.ndarray) -> bytes:
    """A NumPy file of an array."""
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def mp4_file(frames: np.ndarray, frame_rate_hz: float) -> bytes:
    """An H.264 MP4 file of uint8[frames, height, width, 3]; odd sides grow by a pixel."""
    import av

    # The chroma of H.264 has half the size.
    odd = [(0, 0), *((0, side % 2) for side in frames.shape[1:3]), (0, 0)]
    frames = np.pad(frames, odd, mode="edge")
    rate = fractions.Fraction(frame_rate_hz).limit_denominator(1001)
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
    return stream.getvalue()


def _picture_file(picture: np.ndarray, file_format: str, **options: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, file_format, **options)
    return stream.getvalue()
