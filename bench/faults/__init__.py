"""The scorecard: 26 kinds of failure, each against real workers on Apache Kafka, as a program.

Each row states a promise, breaks something on purpose, and compares what is left with an oracle: a
single-threaded fold over the same input. A harness that never fails proves nothing, so four rows are run
again on a deliberately stock Faust program (`bench.faults.stock`), and must fail there.

Where a fault has to strike inside a worker, the worker is started by `bench.faults.worker`, which patches
a named seam and then runs the ordinary program: nothing in the product knows of faults.

The live rows have one input topic that carries everything in the order of its log. With two, which of
them is ahead by a moment depends on the network, and the oracle could not know what a worker saw first;
rows 15, 16 and 18 cover the merge.
"""
