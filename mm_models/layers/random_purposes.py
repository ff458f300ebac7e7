"""What random numbers are drawn for: one table, so that no two draws share one by accident."""

import enum


@enum.unique
class Purpose(enum.StrEnum):
    """Names that `randomness.fold_in` makes seeds of; results depend on their values.

    A seed goes down from a model to its layers, which fold in what each of their parts is for. A
    system of another package folds in names of its own.
    """

    # Parts of models.
    VISION = "vision"
    VIDEO = "video"
    AUDIO = "audio"
    WAVEFORM = "waveform"
    TEXT = "text"
    ENCODER = "encoder"
    DECODER = "decoder"
    TOKENS = "tokens"
    STACK = "stack"
    READ_FORWARD = "read_forward"
    READ_BACKWARD = "read_backward"
    # Dropout, by what is dropped.
    EMBEDDED = "embedded"
    EMBEDDING = "embedding"
    EMBEDDINGS = "embeddings"
    ATTENTION = "attention"
    ATTENTION_WEIGHTS = "attention_weights"
    ATTENTION_RESIDUAL = "attention_residual"
    CROSS_ATTENTION = "cross_attention"
    CROSS_ATTENTION_RESIDUAL = "cross_attention_residual"
    MLP = "mlp"
    MLP_HIDDEN = "hidden"
    MLP_RESIDUAL = "mlp_residual"
    STACK_OUTPUT = "final"
    CLASSIFIER_INPUT = "classifier"
    # Roles that attention binds, and what they are made of.
    POSITIONS = "positions"
    ROLE = "role"
    ROLE_WEIGHTS = "role_weights"
    ROLE_CODES = "role_codes"
    ROLE_OUTPUT = "role_output"
    CODE_SIMILARITIES = "code_similarities"
    CODE_CANDIDATES = "code_candidates"
    # Choices in training.
    DROP_TOKEN = "drop_token"
    LEVEL = "level"
    TOKEN_CORRUPTION = "token_corruption"
    MIXUP = "mixup"
    SAMPLED_WORDS = "sampled_words"
    CLASS_OF_CAPTION = "prompt/label"
    SENTENCE_OF_CLASS = "prompt/sentence"
    SHUFFLED_CONFLICTS = "random_scores"
