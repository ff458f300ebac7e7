"""Caption files: subtitles, transcripts, alignments, tables and JSON, as they are in the wild.

`caption_file.read_captions` reads any of them. What cannot be trusted is left out and noted: a
damaged cue costs itself, and only a file that cannot be used as a whole is a reject.
"""
