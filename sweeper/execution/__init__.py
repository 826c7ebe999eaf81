"""Jobs on machines: in this process, or with Ray Tune on this machine or a cluster.

An `Executor` asks a source for jobs, runs them where there is room, and reports how each one ended.

May import: the ground floor alone. Owns ray, which `driver/jobs/server.py` shares.
Must not know: what a job trains, which sweep it belongs to, and why it comes next.
"""
