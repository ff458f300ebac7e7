"""One update from a batch of every stream: what alternation is compared with."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainers.loop.steps.compiled_step import CompiledStep, StepParts
from trainers.loop.steps.step import TrainStep
from trainers.tasks.terms import Batch


class SummedStep(CompiledStep):
    """The update of loss = sum_i w_i L_i / sum_i w_i over the streams i.

    L_i is the mean loss of the stream's batch, over all replicas, and w_i the stream's weight.
    Dividing by the sum of the weights makes the gradient a mean of those that alternation would
    apply one after the other, so that one learning rate suits both; alternation in proportion to
    the same weights has this loss as its expectation.

    Outputs have each stream's terms as `term/<stream>/<name>`; `term/loss` is the loss above.
    """

    def __init__(self, steps: Sequence[TrainStep], weights: Mapping[str, float], parts: StepParts):
        """Takes the steps whose gradients are added, and weights by stream name."""
        super().__init__(tuple(step.stream for step in steps), parts)
        self._steps = steps
        total = sum(weights[stream] for stream in self.streams)
        self._shares = {stream: weights[stream] / total for stream in self.streams}

    def reduced(self, *batches: Batch) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        outputs: dict[str, tf.Tensor] = {}
        gradients: dict[str, tf.Tensor] = {}
        loss = tf.zeros([])
        for step, batch in zip(self._steps, batches, strict=True):
            # One stream after the other, or their activations would be alive together.
            with tf.control_dependencies(list(gradients.values())):
                batch = {name: tf.identity(value) for name, value in batch.items()}
            terms, own = step.reduced_gradients(batch)
            share = self._shares[step.stream]
            loss += share * tf.math.divide_no_nan(*terms["loss"])
            outputs |= {
                f"term/{step.stream}/{name}": tf.stack(term) for name, term in terms.items()
            }
            for path, value in own.items():
                value = value * tf.cast(share, value.dtype)
                gradients[path] = gradients[path] + value if path in gradients else value
        outputs["term/loss"] = tf.stack([loss, 1.0])
        return outputs, gradients
