"""Annotation files whose unit is a segment of a video → one manifest item a segment.

A reader of a layout yields `AnnotatedVideo`s, or `(name, Reject)` for a video that cannot be used;
`segment_items` finds their media and makes the items, which name their video as `group` and their
place in it as `group_index`.
"""
