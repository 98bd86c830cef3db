"""gRPC: settings of servers and clients, with the names that the Collector gives them.

gRPC's core has two ways to wait for the network. In the one that it takes by itself, a thread reads, hands over to a
second one that waits for results, and that one wakes the event loop; in the older one the thread that waits for results
reads as well. A request of 230 kB costs a quarter less by it. Who has set ``GRPC_EXPERIMENTS`` knows better.

Source:
    gRPC core, ``src/core/lib/experiments/experiments.yaml``.
"""

import os

__all__ = ["EXPERIMENTS"]

EXPERIMENTS = "-event_engine_listener,-event_engine_client"

# Read when the first server or channel is made.
os.environ.setdefault("GRPC_EXPERIMENTS", EXPERIMENTS)
