"""The paper's peer systems, each written from its own paper on shared parts.

A peer is one generator function, `train` of its module: it reads cells, trains, and gives after every epoch a
function that encodes any cells. `benchmarks.peers.common` turns that into both protocols.
"""
