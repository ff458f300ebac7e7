"""Writing sequences token by token with any model that offers a cached step.

A model gives a `DecoderState` and a step function (`state.py`); everything else is here: choosing
(`sampling.py`, `beam_search.py`, as a config says in `options.py`), constraints (`processors.py`),
several branches per sample (`guidance.py`), prompts that are read at once (`prefill.py`), partial
results (`token_loop.py`), scores of given labels (`scoring.py`), one compiled graph per length
(`compiled.py`):

    state = model.start(memory, memory_mask, max_length, num_beams)
    decoded = beam_search(
        model.step, state, start_ids, max_length=max_length, end_id=1, num_beams=num_beams
    )

Call it inside `tf.function(jit_compile=True)`, on CPU too: a loop without XLA gives the same ids,
but a small model spends most of its time between operations there.
"""
