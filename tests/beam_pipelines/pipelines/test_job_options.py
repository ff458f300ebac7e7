"""Options of jobs: ours, Beam's and a runner's own."""

import argparse
import importlib
import inspect

import pytest

import mmstack
from beam_pipelines.pipelines import beam_options
from mmstack import main
from tests.beam_pipelines.media.small_media import write_lines
from tests.beam_pipelines.pipelines import memory_filesystem  # noqa: F401  Makes memory:// known.


def _options(name: str) -> set[str]:
    parser = argparse.ArgumentParser()
    importlib.import_module(mmstack.COMMANDS[name][0]).add_arguments(parser)
    return beam_options.option_names(parser)


def test_no_option_of_ours_hides_one_of_beams():
    theirs = beam_options.option_names(beam_options.beam_parser())
    assert {"--runner", "--region", "--project", "--flink_master", "--s3_region_name"} <= theirs
    assert len(theirs) > 150
    passing = {
        name
        for name, (module, _) in mmstack.COMMANDS.items()
        if "accepts_passthrough" in inspect.getsource(importlib.import_module(module))
    }
    assert passing == {"preprocess", "features", "vocabulary"}
    for name in passing:
        assert _options(name) & theirs == {"-h", "--help"}


@pytest.mark.parametrize("command", ["preprocess", "vocabulary"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--regoin=europe-west4"], "did you mean --region?"),
        (["--overwritten"], "did you mean --overwrite?"),
        (["--work=3"], "did you mean --workers?"),
        (["--zzzzzzzz"], "--zzzzzzzz is neither an option of this command nor of Beam; see"),
        (["stray"], "stray is neither an option"),
        (["--num_workers=many"], "--num_workers: invalid int value: 'many' (an option of Beam)"),
        (["--runner=FlnkRunner"], "did you mean FlinkRunner?"),
        (["--runner=dask"], "silently writes nothing"),
        (["--runner=apache_beam.runners.portability.prism_runner.PrismRunner"], "downloads"),
        (["--runner=DataflowRunner", "--temp_location=gs://b/t"], "required option: project"),
        (["--runner=no.such.module.Runner"], "No module named 'no'"),
    ],
)
def test_mistakes_in_options_are_named_before_any_work(tmp_path, capsys, command, words, said):
    write_lines(tmp_path / "m.jsonl", [{"id": "a", "media": "a.mp4"}])
    flags = [f"--manifest={tmp_path}/m.jsonl", f"--output={tmp_path}/records"]
    if any("Dataflow" in word for word in words):
        flags[1] = "--output=memory://bucket/out/d"
    assert main([command, *flags, *words]) == 2
    error = capsys.readouterr().err
    assert said in error, error
    assert "Traceback" not in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


def test_options_of_beam_and_of_a_runner_alone_go_through():
    words = ["--region=r", "--num_workers", "3", "--", "--state_backend=rocksdb"]
    assert beam_options.checked_words(words, set()) == [*words[:3], words[4]]
    parser = mmstack.build_parser(["preprocess"])
    args, rest = parser.parse_known_args(
        ["preprocess", "--manifest=m", "--output=o", *words, "--overwritten"]
    )
    assert not args.overwrite and rest[-1] == "--overwritten"
    assert rest[: len(words)] == words
