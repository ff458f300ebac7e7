"""Media files to arrays: probe, decode, and decode in a child that may die.

`probe.probe`, `decode.decode`, `decode.clip_media`, `decode.clip_windows` work in this process;
`isolated.IsolatedDecoder` runs them in a limited child, which is how untrusted files are read.
`source_properties.SourceProperty` lists what is undone or named on the way; `pictures` holds what
works on one picture.
"""
