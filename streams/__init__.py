"""What events mean: pure, deterministic, the same live and in replay.

Nothing here reads a clock, does I/O or draws an unseeded random number. Time moves only because a
record says so, or because the caller passes a tick in. Everything takes values and returns values;
`agents` is the edge that brings them from Kafka and carries them back.
"""
