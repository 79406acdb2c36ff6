"""How the pages call heroes and campaigns."""

from pathlib import Path

import pytest

from realm_telemetry.config import load_settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.service import ServiceSettings
from realm_telemetry.service.settings import Labels
from tests.waiting import wait_until

from .conftest import PRODUCER, asking, free_ports, serving

ELSEWHERE = {"hero": "Model", "campaign": "Project"}


def test_the_words_of_the_lab_are_those_of_logs_with_a_guild(tmp_path: Path) -> None:
    """Elsewhere they are plain."""
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        assert client.get("/api/labels").json() == ELSEWHERE
        earned = {"kind": "title_earned", "producer": PRODUCER, "number": 1, "hero_id": "dio"}
        client.post("/api/v1/events", json={"events": [earned | {"details": {"title": "Sage"}}]})
        expected = {"hero": "Hero", "campaign": "Campaign"}
        wait_until(lambda: client.get("/api/labels").json() == expected)


def test_labels_are_settings(tmp_path: Path) -> None:
    """One may be given without the other."""
    settings = free_ports(tmp_path, labels=Labels(hero="Network"))
    with serving(settings) as server, asking(server) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        assert client.get("/api/labels").json() == ELSEWHERE | {"hero": "Network"}


def test_the_table_of_the_file_is_read_and_checked(tmp_path: Path) -> None:
    """A wrong name is an error that names the table."""
    file = tmp_path / "realm.toml"
    file.write_text('[labels]\nhero = "Network"\n')
    settings = ServiceSettings.of(load_settings({"home": tmp_path}, environ={}))
    assert settings.labels == Labels(hero="Network")
    file.write_text('[labels]\nheroes = "Network"\n')
    with pytest.raises(ConfigError, match=r"\[labels\] in realm\.toml"):
        ServiceSettings.of(load_settings({"home": tmp_path}, environ={}))
