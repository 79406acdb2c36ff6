"""Traces from lifecycles: jobs, evals and trainings as spans."""
