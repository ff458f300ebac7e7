"""Adapters: where manifests come from.

An adapter is a function that yields manifest items (dicts as `beam_pipelines.items.schema`
describes them), and `(name, Reject)` for what it found but could not use. What else it leaves out
or changes it notes in an `account.Account`, so that everything is accounted for. To add one, write
`sources/<name>.py` with such a function and a subcommand for it in `commands/manifest.py`, which
checks the items, counts the rejects and writes the manifest.

- `folder`: a folder of media with sidecar captions.
- `csv_table`: a table of files or segments; columns are found by name or chosen by flags.
- `coco`: COCO caption annotations and a folder of pictures.
- `nlvr`: NLVR examples, pictures with sentences that are true or false of them; `drawn_scenes`: the
  objects in these.
- `phrases`: pictures with phrases and their boxes: Flickr30k Entities, Visual Genome, RefCLEF, and
  others.
- `segments`: videos with a caption for each segment: YouCookII, ActivityNet Captions, MSR-VTT, and
  tables with columns of lists.
- `captions`: parsers of caption files, used by the adapters; `captions_by_id`: files of many media.
- `digits`: the spoken-digits sample corpus, which also makes its media.
"""
