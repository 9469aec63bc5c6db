"""How long a workload takes: the queue's own planning code, two baselines and the lower bound, simulated."""
