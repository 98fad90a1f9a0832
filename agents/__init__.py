"""The only I/O: Kafka, files, the terminal, the clock.

Each agent here is the edge of the machine with the same name in `streams`. It brings values in, carries
what the machine returns out, and decides nothing about customers.
"""
