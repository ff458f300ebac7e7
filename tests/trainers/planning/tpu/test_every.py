"""The table of a folder, and the flags of `mmstack plan --compile`, without the compiler."""

import dataclasses
import pathlib
import shutil
import sys

import pytest

import mmstack
from mm_models.errors import UserError
from tests.repository.source_tree import ROOT
from trainers.config.loading import load_config
from trainers.planning.estimate import StepEstimate
from trainers.planning.tpu import compiled_plan, every, plan_text
from trainers.planning.tpu.compiled_plan import CompiledPlan
from trainers.planning.tpu.kept_reports import KeptReports
from trainers.planning.tpu.placement import placements
from trainers.planning.tpu.step_report import LargeBuffer, StepReport, from_json, grown, to_json

REPORT = StepReport(
    streams=("clips",),
    examples=8,
    fits=True,
    needed_bytes=3 << 30,
    available_bytes=16 << 30,
    argument_bytes=1 << 30,
    temporary_bytes=2 << 30,
    flops=2e12,
    traffic_bytes=8.19e9,
    collectives={"all-reduce": 1 << 20},
    buffers=[LargeBuffer("f32[8]", 512, 32, "tower/mlp/MatMul", "mm_models/x.py:3")],
)
CONFIG = "configs/vatt/digits_debug.yaml"


def plan_of(report):
    (placement,) = placements("v5e:2x2", 2)
    return CompiledPlan(placement, [report], {"clips": StepEstimate(2 << 30, 2e12)})


def test_a_report_survives_its_file():
    assert from_json(to_json(REPORT)) == REPORT


def test_a_plan_as_text_by_hand():
    text = plan_text.plan_text(plan_of(REPORT))
    rows = {line[:32].strip(): line[32:].strip() for line in text.splitlines() if line}
    assert "2 replicas over 2 devices each" in text
    assert rows["compiled / by hand"] == "1.50"
    # 2e12 operations at 197e12 a second; 8.19e9 bytes at 819e9.
    assert rows["step takes at least, ms"] == "10.2"
    assert rows["bound by"] == "compute"
    # Each of the two devices does half of the model's 2e12.
    assert rows["utilization (MFU) at most"] == "50%"
    assert "tower/mlp/MatMul mm_models/x.py:3" in text


def test_deep_models_follow_from_shallow_ones_by_hand():
    """A stack of 5 and one of 12 blocks from models of 2, and of 3 in one of them."""
    narrow = dataclasses.replace(REPORT, temporary_bytes=2 << 28, needed_bytes=1 << 29, flops=1.0)
    first = dataclasses.replace(narrow, needed_bytes=3 << 28, flops=4.0, collectives={"sum": 10})
    second = dataclasses.replace(narrow, needed_bytes=5 << 27, flops=2.0)
    deep = grown(narrow, [(3, first), (10, second)])
    assert deep.needed_bytes == (1 << 29) + 3 * (1 << 28) + 10 * (1 << 27)
    assert deep.flops == 1 + 3 * 3 + 10 * 1
    assert deep.collectives == {"all-reduce": -2 * (1 << 20), "sum": 30}
    assert deep.fits
    assert not grown(narrow, [(3, first), (1000, second)]).fits
    refused = StepReport(("clips",), 8, False, 1 << 30, 16 << 30)
    assert grown(narrow, [(4, refused)]) == StepReport(
        ("clips",), 8, False, (1 << 29) + 4 * (1 << 29), 16 << 30
    )


def test_a_step_that_does_not_fit_says_what_it_needs():
    report = StepReport(("clips",), 8, False, 40 << 30, 16 << 30)
    cells = plan_text.row_of(plan_of(report), report)
    assert cells[:4] == ["clips", "v5e:2x2, model over 2", "8", "40.00 (does not fit)"]
    assert "no, in 16.00" in plan_text.plan_text(plan_of(report))


def test_slices_among_which_batches_do_not_divide_are_passed_over(monkeypatch):
    monkeypatch.chdir(ROOT)
    config = load_config([CONFIG])
    assert config.streams["clips"].input.batch_size == 16
    seen, said = [], []
    monkeypatch.setattr(compiled_plan, "count_steps", lambda config: NoMemory())

    def compile_for(config, placement, how, counted):
        seen.append(placement.target.topology)
        return CompiledPlan(placement, [dataclasses.replace(REPORT, fits=False)], {})

    monkeypatch.setattr(compiled_plan, "compiled_plan", compile_for)
    how = compiled_plan.HowToCompile(KeptReports(""), said.append)
    compiled_plan.first_that_fits(config, placements("v5e:2x2,v5e:4x4,v5e:8x8", 1), how)
    assert seen == ["v5e:2x2", "v5e:4x4"] and "v5e:8x8: passed over" in said[0]
    # Where none is left, the last one says so.
    compiled_plan.first_that_fits(config, placements("v5e:8x8,v5e:16x16", 1), how)
    assert seen[2:] == ["v5e:16x16"]


class NoMemory:
    """Steps that need none."""

    def at(self, examples, model_parallel):
        return {"clips": StepEstimate(0, 0.0)}


def test_experiments_are_told_from_templates_and_studies(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = set(every.experiments("configs"))
    assert {"configs/demo.yaml", CONFIG, "configs/pali/pretrain_17b.yaml"} <= found
    assert not any("studies" in path or "templates" in path for path in found)
    with pytest.raises(UserError, match="holds no experiment"):
        every.compile_every("configs/studies", every.Asked("v5e:2x2"), print)


def test_what_is_done_is_not_done_again_and_what_fails_is_a_row(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    shutil.copy(CONFIG, tmp_path / "one.yaml")
    shutil.copy("configs/demo.yaml", tmp_path / "two.yaml")
    text = pathlib.Path("configs/demo.yaml").read_text(encoding="utf-8")
    other = text.replace("seed: 1", "seed: 2")
    assert other != text
    (tmp_path / "without_data.yaml").write_text(other, encoding="utf-8")
    done = []

    def compile_one(path, asked):
        done.append(path)
        if path.endswith("two.yaml"):
            return [("-", asked.slices, "-", "too large")], True
        if path.endswith("without_data.yaml"):
            return [("-", asked.slices, "-", "no vocabulary")], False
        return [plan_text.row_of(plan_of(REPORT), REPORT)], True

    monkeypatch.setattr(every, "_in_own_process", compile_one)
    said = []
    asked = every.Asked("v5e:2x2", results=str(tmp_path / "results"))
    for _ in range(2):
        rows = every.compile_every(str(tmp_path), asked, said.append)
    # What an experiment lacked may be there the next time.
    assert len(done) == 4 and done[2:] == [str(tmp_path / "without_data.yaml")] * 2
    assert "3/3" in said[-1]
    table = every.markdown(rows)
    assert len(table) == 5 and len({line.count("|") for line in table}) == 1
    assert "| clips | v5e:2x2, model over 2 | 8 | 3.00 | 1.50 |" in table[2]
    assert "too large" in table[3]
    # Another config is another answer; with this seed two of the three are one.
    other = dataclasses.replace(asked, overrides=["trainer.seed=7"])
    every.compile_every(str(tmp_path), other, said.append)
    assert len(done) == 6


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch_size=8"], "--batch_size is for --compile"),
        (["--bisect_batch"], "--bisect_batch is for --compile"),
        (["--blocks=2"], "--blocks is for --compile"),
        (["--compile=v5e:2x2", "--num_devices=4"], "--num_devices does not go with --compile"),
        (["--compile=v5e:2x2", "--device_memory_gib=9"], "--device_memory_gib does not go with"),
        (["--compile=v5e:2x2", "--no_activations"], "--no_activations does not go with --compile"),
        (["--compile=v5e:2x2", "--bisect_batch", "--blocks=1"], "--blocks does not go with --bis"),
        (["--compile=v5e:2x2", "--bisect_batch", "--batch_size=1"], "--batch_size does not go wi"),
        (["--compile=v5e:2x2,v5e:4x4", "--bisect_batch"], "--bisect_batch is for one slice"),
        (["--compile=v5e"], "give a chip and its topology"),
        (["--compile=v5e:2x2", "--model_parallel=3"], "--model_parallel=3 does not divide"),
        (["--compile=v5e:16x16"], "which 256 replicas times"),
        (
            ["--compile=v5e:2x2", "--batch_size=3", "--set=trainer.accumulation_steps=2"],
            "trainer.accumulation_steps = 2 do not divide",
        ),
    ],
)
def test_flags_that_cannot_work_are_refused(flags, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("trainers.planning.tpu.internals.check_installed", lambda: None)
    assert mmstack.main(["plan", f"--config_file={CONFIG}", *flags]) != 0
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--batch_size=8", "--bisect_batch", "--model_parallel=2"])
def test_flags_of_one_experiment_are_refused_for_a_folder(flag, capsys):
    assert mmstack.main(["plan", "--config_dir=configs", "--compile=v5e:2x2", flag]) != 0
    assert f"{flag.partition('=')[0]} does not go with --config_dir" in capsys.readouterr().err


def test_without_the_compiler_the_command_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(sys.modules, "libtpu", None)
    assert mmstack.main(["plan", f"--config_file={CONFIG}", "--compile=v5e:2x2"]) != 0
    assert "pip install 'mmstack[tpu-compile]'" in capsys.readouterr().err
