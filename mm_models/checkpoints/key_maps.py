"""What code bases call the weights of backbones that systems share, as data.

A system brings maps of its own in the same form (`System.key_maps` in trainers/registry.py); what
is done with them is in `weight_formats`. Nothing heavy is imported here.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class KeyMap:
    """One code base's names for one kind of model; functions and classes as `module:name`.

    Attributes:
        format: what users call it, as in `--to`.
        container: key of `weight_formats.CONTAINERS`, in which weights are written; they are read
            from any.
        signature: regular expression, found in a key of every such file and in no key of another.
        part: class of the models or layers whose weights they are.
        places: (part, source or None) -> list of Place; None when exporting. Raises UserError for a
            model that this code base does not have.
        canonical: (RenamedSource, part) -> Source, with the keys that `places` uses: what brings
            the variants of a format, and what `part` can not hold as it is, to one form. Empty: as
            they are.
        fits: part -> bool, whether this map can hold it in an export; empty: always.
        check: (part, source as opened) -> None; raises UserError where sizes, or settings beside
            the weights, are those of another model. Empty: shapes alone say what does not fit.
        settings: part -> dict, what is written beside the weights; empty: nothing.
        files: (part, content of a SentencePiece model or empty) -> further files beside the weights
            by name, such as a tokenizer's: bytes, or what becomes JSON. Empty: none.
        takes_vocabulary: whether `files` has a place for a SentencePiece model.
        elsewhere: see `mapping.load`, on canonical keys.
        apart: part -> weights of it that this code base does not know, as those of an option of
            ours; they stay as they start, and cannot be written. Empty: none.
    """

    format: str
    container: str
    signature: str
    part: str
    places: str
    canonical: str = ""
    fits: str = ""
    check: str = ""
    settings: str = ""
    files: str = ""
    takes_vocabulary: bool = False
    elsewhere: str = ""
    apart: str = ""


_VIT = "mm_models.backbones.vit:Vit"
_T5 = "mm_models.backbones.t5:T5"
_T5_APART = "mm_models.checkpoints.keys.t5_apart:apart"

KEY_MAPS = (
    KeyMap(
        format="big_vision",
        container="npz",
        signature=r"(^|/)Transformer/encoder_norm/",
        part=_VIT,
        places="mm_models.checkpoints.keys.big_vision_vit:places",
        canonical="mm_models.checkpoints.keys.big_vision_vit:canonical",
        check="mm_models.checkpoints.keys.big_vision_vit:check",
        elsewhere=r"^(txt/|t$|b$)",
    ),
    KeyMap(
        format="huggingface",
        container="safetensors",
        signature=r"(^|\.)layernorm_before\.weight$",
        part=_VIT,
        places="mm_models.checkpoints.keys.huggingface_vit_names:places",
        canonical="mm_models.checkpoints.keys.huggingface_vit_names:canonical",
        fits="mm_models.checkpoints.keys.huggingface_vit_names:fits",
        check="mm_models.checkpoints.keys.huggingface_vit_names:check",
        settings="mm_models.checkpoints.keys.huggingface_vit_names:settings",
        files="mm_models.checkpoints.keys.huggingface_vit_names:files",
    ),
    KeyMap(
        format="huggingface",
        container="safetensors",
        signature=r"(^|\.)embeddings\.patch_embedding\.weight$",
        part=_VIT,
        places="mm_models.checkpoints.keys.huggingface_siglip:places",
        canonical="mm_models.checkpoints.keys.huggingface_siglip:canonical",
        fits="mm_models.checkpoints.keys.huggingface_siglip:fits",
        check="mm_models.checkpoints.keys.huggingface_siglip:check",
        settings="mm_models.checkpoints.keys.huggingface_siglip:settings",
        files="mm_models.checkpoints.keys.huggingface_siglip:files",
        elsewhere=r"^(text_model\.|logit_(scale|bias)$)",
    ),
    KeyMap(
        format="huggingface",
        container="safetensors",
        signature=r"^encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight$",
        part=_T5,
        places="mm_models.checkpoints.keys.huggingface_t5:places",
        check="mm_models.checkpoints.keys.huggingface_t5:check",
        settings="mm_models.checkpoints.keys.huggingface_t5:settings",
        files="mm_models.checkpoints.keys.huggingface_t5:files",
        takes_vocabulary=True,
        # Old files have a table that cross-attention never reads.
        elsewhere=r"\.EncDecAttention\.relative_attention_bias\.weight$",
        apart=_T5_APART,
    ),
    KeyMap(
        format="t5x",
        container="t5x",
        signature=r"(^|/)token_embedder/embedding$",
        part=_T5,
        places="mm_models.checkpoints.keys.t5x_t5:places",
        canonical="mm_models.checkpoints.keys.t5x_t5:canonical",
        apart=_T5_APART,
    ),
    KeyMap(
        format="mesh_tensorflow",
        container="mesh_tensorflow",
        signature=r"^shared/embedding$",
        part=_T5,
        places="mm_models.checkpoints.keys.mesh_t5:places",
        apart=_T5_APART,
    ),
)
