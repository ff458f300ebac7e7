"""The smallest experiment of every system through the TPU compiler."""

import dataclasses

import pytest

from tests.trainers.smallest_experiments import place_with_records, smallest_experiments
from trainers import registry
from trainers.config.loading import load_config
from trainers.planning.estimate import count_steps
from trainers.planning.tpu import plan_text
from trainers.planning.tpu.compiled_plan import HowToCompile, compiled_plan, largest_batches
from trainers.planning.tpu.kept_reports import KeptReports
from trainers.planning.tpu.lowering.faults import contents
from trainers.planning.tpu.lowering.program import hollow_assembly, lower
from trainers.planning.tpu.placement import placements

# Splits of weights over devices, which the partitioner takes out.
ALLOWED_CALLS = {"Sharding"}
# How near what follows from shallow models is to what the compiler says of the deep one.
COMPARED = {"flops": 0.02, "argument_bytes": 0.02, "needed_bytes": 0.25, "traffic_bytes": 0.25}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return place_with_records(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(autouse=True)
def at_the_records(place, monkeypatch):
    """Some experiments take the names of their classes from their records."""
    monkeypatch.chdir(place)


@pytest.mark.slow
@pytest.mark.parametrize("system", sorted(registry.SYSTEMS))
def test_every_system_compiles_and_asks_nothing_of_the_host(system, tmp_path):
    pytest.importorskip("libtpu")
    (path,) = smallest_experiments()[system]
    config = load_config([path])
    (placement,) = placements("v5e:2x2", 1)
    said = []
    how = HowToCompile(KeptReports(str(tmp_path)), said.append)
    plan = compiled_plan(config, placement, how)
    assert {step.streams for step in plan.steps} == set(hollow_assembly(config, 1).steps)
    for step in plan.steps:
        assert step.fits and step.flops > 0 and step.traffic_bytes > 0
        # Gradients are reduced over the four replicas.
        assert step.collectives["all-reduce"] > 0
        assert set(step.custom_calls) <= ALLOWED_CALLS, step.custom_calls
    text = plan_text.plan_text(plan)
    assert "4 devices of 15.75 GiB, 4 replicas" in text
    assert compiled_plan(config, placement, how).steps == plan.steps
    assert said[-1].endswith("compiled before")


@pytest.mark.parametrize("system", ["imp", "vit_classification"])
def test_classes_that_the_data_name_are_known_to_the_estimate(system):
    config = load_config(smallest_experiments()[system])
    examples = {name: 4 for name, stream in config.streams.items() if stream.weight > 0}
    found = count_steps(config).at(examples, 1)
    assert all(one.memory_bytes > 0 and one.flops > 0 for one in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("system", sorted(registry.SYSTEMS))
def test_a_lowered_step_has_no_host_calls_no_changing_shapes_and_no_wide_floats(system):
    (path,) = smallest_experiments()[system]
    assembly = hollow_assembly(load_config([path]), 2)
    for streams in list(assembly.steps)[:1]:
        program = lower(assembly, streams, dict.fromkeys(streams, 4))
        found = contents(program.hlo)
        assert not found.host and not found.dynamic and not found.wide_floats
        assert set(found.custom_calls) <= ALLOWED_CALLS, found.custom_calls
        assert program.num_replicas == 2 and program.argument_bytes > 0
        assert "step" in program.arguments


@pytest.mark.slow
def test_a_deep_model_follows_from_two_shallow_ones(tmp_path):
    pytest.importorskip("libtpu")
    (path,) = smallest_experiments()["vit_classification"]
    sizes = {"depth": 12, "width": 256, "mlp_dim": 1024, "num_heads": 2, "image_size": 64}
    overrides = [f"task.model.{name}={size}" for name, size in sizes.items()]
    overrides += [f"streams.pictures.input.video.{side}=64" for side in ("height", "width")]
    config = load_config([path], [*overrides, "evaluators.test=null"])
    (placement,) = placements("v5e:2x2", 1)
    said = []
    how = HowToCompile(KeptReports(str(tmp_path)), said.append, batch_size=512)
    whole = compiled_plan(config, placement, how)
    few = compiled_plan(config, placement, dataclasses.replace(how, blocks=1))
    assert (whole.blocks, few.blocks) == (0, 1)
    (deep,), (followed,) = whole.steps, few.steps
    print({name: getattr(followed, name) / getattr(deep, name) for name in COMPARED})
    for name, tolerance in COMPARED.items():
        assert getattr(followed, name) == pytest.approx(getattr(deep, name), rel=tolerance), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "reason"), [(3, "would not take much less"), (12, "stays on the chip")]
)
def test_what_follows_from_no_shallow_model_is_compiled_whole(depth, reason, tmp_path):
    pytest.importorskip("libtpu")
    (path,) = smallest_experiments()["vit_classification"]
    config = load_config([path], [f"task.model.depth={depth}"])
    (placement,) = placements("v5e:2x2", 1)
    said = []
    how = HowToCompile(KeptReports(str(tmp_path)), said.append, blocks=1)
    plan = compiled_plan(config, placement, how)
    assert plan.blocks == 0 and reason in " ".join(said)


@pytest.mark.slow
def test_the_largest_batch_is_searched_in_every_variant(tmp_path, monkeypatch):
    pytest.importorskip("libtpu")
    (path,) = smallest_experiments()["vit_classification"]
    (placement,) = placements("v5e:2x2", 1)
    # The search itself is tested by hand; here one try of each variant is enough.
    how = HowToCompile(KeptReports(str(tmp_path)), lambda line: None)
    monkeypatch.setattr(
        "trainers.planning.tpu.compiled_plan.largest_batch",
        lambda attempt, start, available: (attempt(start), [attempt(start)]),
    )
    found = largest_batches(load_config([path]), placement, how)
    assert {one.variant.split(",")[0] for one in found} == {"float32", "bfloat16"}
    assert all(one.report.fits for one in found)
    first, *others = (one.report for one in found)
    assert any(one.temporary_bytes != first.temporary_bytes for one in others)
    assert "largest batch of a replica" in plan_text.largest_text(placement, found)
