"""Published data sets of pictures with phrases and the boxes that they mean.

- `flickr30k_entities`, `visual_genome`, `refclef`: their own layouts.
- `box_dictionary`: a dict by picture, which programs that ground phrases exchange.
- `coco_phrases`: phrases of COCO captions, which `sources.coco` adds to its items.

All make items of the same form: an object for each different box of a label, with the phrases that
mean it, and objects without a track for phrases that cannot be found in their picture.
"""
