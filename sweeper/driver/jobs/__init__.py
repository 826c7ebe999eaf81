"""A sweep as a job of a Ray cluster: what travels, the job server, and how both are joined."""
