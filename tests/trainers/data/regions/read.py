"""Loads the experiment `sys.argv[1]`, which names a part of another package, and reads from it."""

import json
import sys

from mm_models.errors import UserError
from trainers.config.loading import load_config
from trainers.data import pipeline
from trainers.data import plan as data_plan
from trainers.data.first_batch import check_input
from trainers.data.parts.base import batch_specs


def mistake(*overrides: str) -> str:
    try:
        data_plan.plan(
            load_config(sys.argv[1:], list(overrides)).streams["main"].input, "streams.x"
        )
    except UserError as error:
        return str(error)
    return ""


def numbers(batches) -> list:
    return [
        {name: value.tolist() for name, value in b.items()} for b in batches.as_numpy_iterator()
    ]


given = load_config(sys.argv[1:], ["streams.main.input.regions.jitter=0.5"]).streams["main"].input
exact = load_config(sys.argv[1:]).streams["main"].input
train = pipeline.build_train_dataset(given, seed=3)
print(
    json.dumps(
        {
            "plan": str(data_plan.plan(exact)),
            "specs": batch_specs(given) == train.element_spec,
            "train": numbers(train.take(2)),
            "later": numbers(pipeline.build_train_dataset(given, seed=3, start_step=1).take(1)),
            "evaluated": numbers(pipeline.build_eval_dataset(exact)),
            "facts": check_input(exact, seed=3),
            "mistakes": [
                mistake("streams.main.input.regions.colour=3"),
                mistake("streams.main.input.regions.num_regions=0"),
                mistake("streams.main.input.datasets.r.path=" + exact.datasets["r"].path + "/bare"),
            ],
        }
    )
)
