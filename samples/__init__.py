"""Inputs to try Holdfast with: one real shop and one simulated shop, as Segment messages.

`samples.cdnow` replays every transaction of 23,570 real customers; nobody knows when they left.
`samples.shop` simulates a web shop of any size whose truth is known: when each customer left, when
they came back and how likely leaving was. Both give plain dictionaries in event-time order, and
`samples.write` turns them into lines of JSON.
"""
