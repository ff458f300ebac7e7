"""Where a prompted input's examples come from: one source for each task and data set."""

import dataclasses

import numpy as np

from beam_pipelines.record.survey import Survey, survey
from mm_models.errors import UserError
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from mm_models.text.templates import Templates, load_templates
from trainers.data.config import InputConfig
from trainers.data.parts.prompted.builder import Filters, PromptBuilder
from trainers.data.parts.prompted.rates import task_weights
from trainers.data.parts.prompted.scene import see
from trainers.data.parts.prompted.validation import check_templates, open_tokenizer
from trainers.data.parts.record_facts import RecordFacts, read_facts
from trainers.data.parts.sampling import sampled_frames
from trainers.data.reading.index import RecordIndex

# Records looked at before training, and those before a data set is said to lack what a task needs.
_PROBED = (48, 1024)


@dataclasses.dataclass(frozen=True)
class TaskSource:
    """A task's part of a data set.

    Attributes:
        task, dataset: places in the configuration.
        weight: share among the input's sources.
        num_records: records of the data set.
    """

    task: int
    dataset: int
    weight: float
    num_records: int


@dataclasses.dataclass(frozen=True)
class PromptedSources:
    """An opened prompted input.

    Attributes:
        config: the input.
        templates: its template file.
        tokenizer: its tokenizer.
        builders: one for each task.
        filters, names: one for each data set: what it lends, and its renamed keys.
        sources: in the order of tasks, then of data sets; weights sum to 1.
    """

    config: InputConfig
    templates: Templates
    tokenizer: SentencePieceTokenizer
    builders: list[PromptBuilder]
    filters: list[Filters]
    names: list[dict[str, str]]
    sources: list[TaskSource]

    def facts(self, source: TaskSource, content: bytes) -> RecordFacts:
        """What a record says, as far as the source's task asks."""
        asked = self.builders[source.task].template.facts
        with_boxes = bool(asked & {"objects", "boxes"})
        return read_facts(content, self.names[source.dataset], with_boxes=with_boxes)

    def frames(self, facts: RecordFacts, draw: float, *, training: bool) -> np.ndarray | None:
        """Frames of a record that the batch will show; None without video."""
        video = self.config.video
        if video is None:
            return None
        return sampled_frames(video, facts.num_frames, draw, training=training)


def open_sources(
    config: InputConfig, indexes: list[RecordIndex], name: str = "input"
) -> PromptedSources:
    """Opens templates and tokenizer, and looks whether the records have what the tasks need.

    Args:
        config: a validated input.
        indexes: its data sets.
        name: where it stands in the experiment's configuration, for messages.

    Raises:
        UserError: a file that cannot be read, an unknown task, slot or language, a vocabulary of
            another layout, a task that does not go with the input or that no record can serve.
    """
    prompted = config.prompted
    templates = load_templates(prompted.templates)
    check_templates(config, templates, name)
    tokenizer = open_tokenizer(config, templates, name)
    builders = [
        PromptBuilder(task, prompted, templates, tokenizer.split) for task in prompted.tasks
    ]
    for builder in builders:
        builder.require_language(f"{name}.prompted.tasks.{builder.name}")
    datasets = list(config.datasets.values())
    opened = PromptedSources(
        config,
        templates,
        tokenizer,
        builders,
        [Filters.of(*pair) for pair in zip(datasets, (i.info for i in indexes), strict=True)],
        [dict(dataset.feature_names) for dataset in datasets],
        _sources(config, indexes),
    )
    _probe(opened, indexes, name)
    return opened


def _sources(config: InputConfig, indexes: list[RecordIndex]) -> list[TaskSource]:
    names = list(config.datasets)
    read = {
        task: [names.index(dataset) for dataset in (each.datasets or names)]
        for task, each in config.prompted.tasks.items()
    }
    sizes = {
        task: sum(indexes[dataset].num_records for dataset in datasets)
        for task, datasets in read.items()
    }
    weights = task_weights(config.prompted, sizes)
    total = sum(weights.values())
    sources = []
    for place, (task, datasets) in enumerate(read.items()):
        shares = [config.datasets[names[dataset]].weight for dataset in datasets]
        for dataset, share in zip(datasets, shares, strict=True):
            weight = weights[task] / total * share / sum(shares)
            sources.append(TaskSource(place, dataset, weight, indexes[dataset].num_records))
    return sources


def _probe(opened: PromptedSources, indexes: list[RecordIndex], name: str) -> None:
    """Raises UserError for a task and data set of which no looked-at record makes an example."""
    samples: dict[tuple[int, int], list[bytes]] = {}

    def sample(dataset: int, count: int) -> list[bytes]:
        if (dataset, count) not in samples:
            samples[dataset, count] = indexes[dataset].sample(count)
        return samples[dataset, count]

    for source in opened.sources:
        if any(_serves(opened, source, sample(source.dataset, count)) for count in _PROBED):
            continue
        held = survey(sample(source.dataset, max(_PROBED)))
        raise UserError(_lacking(opened, source, held, name))


def _serves(opened: PromptedSources, source: TaskSource, contents: list[bytes]) -> bool:
    """Whether the source makes an example of one of the records."""
    builder, filters = opened.builders[source.task], opened.filters[source.dataset]
    for content in contents:
        facts = opened.facts(source, content)
        scene = see(facts, opened.frames(facts, 0.0, training=False))
        if builder.options(facts, scene, filters):
            return True
    return False


def _lacking(opened: PromptedSources, source: TaskSource, held: Survey, name: str) -> str:
    builder, filters = opened.builders[source.task], opened.filters[source.dataset]
    dataset = list(opened.config.datasets.items())[source.dataset]
    task = opened.config.prompted.tasks[builder.name]
    needs = sorted(builder.template.facts)
    chosen = {
        "languages": builder.languages,
        "caption_styles": task.caption_styles or filters.styles,
        "question_kinds": task.question_kinds,
    }
    words = "; ".join(f"{key} {', '.join(value)}" for key, value in chosen.items() if value)
    return (
        f"{name}.prompted.tasks.{builder.name} needs {', '.join(needs)} ({words}), which none of "
        f"{held.num_records} records looked at in {dataset[1].path} ({dataset[1].split}) has; "
        f"{held.held()}; leave the data set {dataset[0]!r} out of the task's datasets, or widen "
        "what it keeps"
    )
