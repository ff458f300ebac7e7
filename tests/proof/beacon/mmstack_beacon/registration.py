"""What the entry point of the package names."""

from trainers.registry import System

SYSTEM = System(
    task="mmstack_beacon.task:BeaconTask",
    task_config="mmstack_beacon.task:BeaconTaskConfig",
    signatures="mmstack_beacon.signatures:BeaconSignatures",
    evaluators={"box_overlap": "mmstack_beacon.overlap_evaluator:BoxOverlapEvaluator"},
    input_parts={"boxes": "mmstack_beacon.boxes_config:BoxesInputConfig"},
)
