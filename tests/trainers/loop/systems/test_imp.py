"""IMP on records through the whole loop: six streams of four input shapes, resumed, compiled."""

import numpy as np
import pytest

from tests.trainers import record_factory
from tests.trainers.loop.support import assert_same_tensors, losses, metric_lines, tensors
from trainers.config.loading import load_config
from trainers.loop.modes import run_experiment
from trainers.loop.steps.compiled_step import CompiledStep

YAML = """
name: imp_test
task:
  name: imp
  model:
    size: debug
    num_experts: 2
    experts: {{group_size: 64}}
    video: {{patches: {{default: [2, 8, 8], coarse: [4, 16, 16]}}}}
    text: {{vocabulary_size: 64}}
    classifiers: {{digits: 10}}
  objectives:
    captions: {{pairs: {{video_text: 1.0}}, drop_token: {{video: 0.5}}}}
    large: {{pairs: {{video_text: 1.0}}, patch: coarse}}
    stills: {{pairs: {{video_text: 1.0}}, label_prompts: image, class_names: &names [zero, one, two,
      three, four, five, six, seven, eight, nine]}}
    sounds: {{pairs: {{audio_text: 1.0}}}}
    classes: {{classifier: digits, class_names: *names}}
    sound_classes: {{pairs: {{audio_text: 1.0}}, label_prompts: audio, classifier: digits,
      classifier_modality: audio, class_names: *names}}
streams:
  clips: &clips
    objective: captions
    input: &input
      batch_size: 8
      datasets: {{small: {{path: {folder}}}}}
      video: {{num_frames: 4, height: 16, width: 16, crop: center, flip: false}}
      text: {{num_candidates: 2, num_tokens: 8, vocabulary: {vocabulary}}}
  large:
    objective: large
    input: {{<<: *input,
      video: {{num_frames: 4, height: 32, width: 32, crop: center, flip: false}}}}
  stills:
    objective: stills
    input: {{<<: *input, labels: {{num_labels: 1}},
      video: {{num_frames: 1, height: 16, width: 16, crop: center, flip: false}}}}
  sounds:
    objective: sounds
    input: &sounds {{<<: *input, video: null, audio: {{num_samples: 4000, sample_rate_hz: 8000,
      noise_std_share: 0.0}}}}
  classes: {{objective: classes, input: {{<<: *input, text: null, labels: {{num_labels: 1}}}}}}
  sound_classes: {{objective: sound_classes, input: {{<<: *sounds, labels: {{num_labels: 1}}}}}}
trainer:
  train_steps: 12
  alternation: {{sampler: interval}}
  checkpoint: {{interval_steps: 6}}
  summaries: {{log_interval_steps: 6}}
  ema: {{decay: 0.9}}
runtime: {{jit_compile: false, peak_flops_per_second: 1.0e9}}
"""
STREAMS = ("clips", "large", "stills", "sounds", "classes", "sound_classes")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imp")
    data = record_factory.write_record_folder(folder / "data")
    vocabulary = record_factory.write_word_vocabulary(folder / "words.txt")
    path = folder / "imp.yaml"
    path.write_text(YAML.format(folder=data, vocabulary=vocabulary))
    return folder, str(path)


def _run(experiment, name, *overrides):
    folder, path = experiment
    rate = ["task.model.audio.sample_rate_hz=8000", "task.model.audio.high_hz=3800"]
    config = load_config([path], [*rate, *overrides])
    assert run_experiment(config, mode="train", model_dir=str(folder / name)) == 0
    return folder / name


@pytest.fixture(scope="module")
def whole(experiment):
    """A run of 12 steps, two of every stream, and how often each step was traced."""
    traces = {}
    check = CompiledStep.check_traces

    def recorded(step):
        traces[step.streams] = step.num_traces
        check(step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompiledStep, "check_traces", recorded)
        return _run(experiment, "whole"), traces


@pytest.mark.slow
def test_six_streams_are_traced_once_each_and_learn_in_turn(whole):
    run, traces = whole
    assert traces == {(stream,): 1 for stream in STREAMS}
    last = metric_lines(run)[-1]
    for stream in STREAMS:
        assert np.isfinite(last[f"train/{stream}/loss"])
    assert last["train/sound_classes/experts_0_z_loss"] > 0


@pytest.mark.slow
def test_resumed_bit_by_bit(experiment, whole):
    _run(experiment, "parts", "trainer.train_steps=6")
    parts = _run(experiment, "parts")
    assert_same_tensors(tensors(parts, 12), tensors(whole[0], 12))
    assert losses(parts)[12] == losses(whole[0])[12]


@pytest.mark.slow
def test_several_steps_in_one_call_change_nothing(experiment, whole):
    several = _run(
        experiment, "several", "trainer.alternation.multi_step=3", "trainer.steps_per_loop=6"
    )
    ours, theirs = tensors(several, 12), tensors(whole[0], 12)
    for name, value in theirs.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(ours[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_two_replicas_equal_one(experiment):
    quiet = [
        "task.objectives.captions.drop_token.video=0",
        "task.model.experts.group_size=2",
        "trainer.train_steps=6",
        *(
            f"streams.{name}.input.video.color_jitter_probability=0"
            for name in ("clips", "large", "stills", "classes")
        ),
        "streams.stills.weight=0",
        "streams.sound_classes.weight=0",
    ]
    two = ["runtime.distribution_strategy=mirrored", "runtime.num_virtual_devices=2"]
    one = losses(_run(experiment, "one", *quiet))
    both = losses(_run(experiment, "two", *quiet, *two))
    assert both == pytest.approx(one, rel=1e-4)


@pytest.mark.slow
def test_every_step_compiles(experiment):
    run = _run(experiment, "compiled", "trainer.train_steps=6", "runtime.jit_compile=true")
    assert np.isfinite(losses(run)[6])
