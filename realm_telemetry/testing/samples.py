"""Events for tests."""

from realm_telemetry.event import SEVERITIES, Event


def sample_events(count: int, first: int = 1, producer: str = "c0" * 8) -> list[Event]:
    """Return events like a training run's, numbered from `first`."""
    return [
        Event(
            "training_step",
            "training",
            SEVERITIES[number % 4],
            f"Step {number}",
            {"step": number, "loss": 1 / number, "nested": {"path": ["a", None, True]}},
            1_764_374_400_000_000_000 + number,
            producer,
            number,
            hero_id="dio",
            observed_unix_nano=1_764_374_401_000_000_000 + number,
        )
        for number in range(first, first + count)
    ]
