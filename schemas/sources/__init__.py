"""Messages of other collectors, turned into ours: one module a format, one path of checks for all.

Each format is decoded once, into a Struct of the fields that are read, and translated into the envelope
of a Segment message; what is an event, which times and amounts are sane and which ids are refused is then
decided in `schemas.codec`, as for every message. Which format an input has is chosen once, at the start
(`schemas.sources.registry`), so the default costs what it cost without the others.
"""
