"""A sweep as a job of a Ray cluster: the files sent with it, the job server, and the submission that joins both."""
