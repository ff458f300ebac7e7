"""What an installed package would say of a system that brings a part of its own."""

from trainers.registry import System

SYSTEM = System(
    task="tests.trainers.toy_task:ToyTask",
    task_config="tests.trainers.toy_task:ToyTaskConfig",
    signatures="",
    input_parts={"regions": "tests.trainers.data.regions.config:RegionsInputConfig"},
)
