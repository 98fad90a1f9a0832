"""What crosses the wire: the messages read and written, and the topics that carry them.

A type here is a contract with somebody else's program. Nothing in this package knows what an event
means for a customer (that is `streams`) or how it travels (that is `agents`). It needs msgspec and
orjson only, so a downstream consumer can use it alone.
"""
