"""Writing sequences token by token with any model that offers a cached step.

A model gives a `DecoderState` and a step function (`state.py`); everything else is here: choosing
(`sampling.py`, `beam_search.py`, `options.py`), constraints (`processors.py`), several branches per
sample (`guidance.py`), prompts that are read at once (`prefill.py`), partial results
(`token_loop.py`), scores of given labels (`scoring.py`), one compiled graph per length
(`compiled.py`).
"""
