"""What holds for every test."""

from hypothesis import settings

# Timings live in benchmarks/: beside another test an example may take any time.
settings.register_profile("realm", deadline=None)
settings.load_profile("realm")
