"""Where settings come from, and the error when one is wrong."""

import inspect
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import realm_telemetry as realm
from realm_telemetry.config import (
    MAX_SERVICE_URLS,
    MIN_SPOOL_BYTES,
    SETTINGS,
    Settings,
    load_settings,
    token_for,
    variable_marks,
)
from realm_telemetry.errors import ConfigError

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def load(home: Path, environ: dict[str, str] | None = None, **arguments: Any) -> Settings:
    return load_settings({"home": home, **arguments}, environ=environ or {})


def test_arguments_win_over_environment_over_the_parent_over_the_file(tmp_path: Path) -> None:
    """One layer is taken away at a time."""
    (tmp_path / "realm.toml").write_text('service_url = "http://file:1"\n')
    environ = {"REALM_SERVICE_URL": "http://environment:1"}
    inherited = {"service_url": "http://parent:1"}
    arguments = {"home": tmp_path, "service_url": "http://argument:1"}

    def resolve(*layers: dict[str, Any]) -> str:
        return load_settings(layers[0], environ=layers[1], inherited=layers[2]).service_url

    assert resolve(arguments, environ, inherited) == "http://argument:1"
    assert resolve({"home": tmp_path}, environ, inherited) == "http://environment:1"
    assert resolve({"home": tmp_path}, {}, inherited) == "http://parent:1"
    assert resolve({"home": tmp_path}, {}, {}) == "http://file:1"
    (tmp_path / "realm.toml").unlink()
    assert resolve({"home": tmp_path}, {}, {}) == "http://127.0.0.1:8866"


@pytest.mark.parametrize(
    "given",
    [
        ["http://one:1", "http://two:1/"],
        ("http://one:1", "http://two:1"),
        "http://one:1,http://two:1",
        " http://one:1 , http://two:1/, http://one:1/,",
    ],
)
def test_a_service_may_have_several_addresses(tmp_path: Path, given: Any) -> None:
    settings = load_settings({"home": tmp_path, "service_url": given}, environ={})
    assert settings.service_url == "http://one:1,http://two:1"
    again = load_settings({"home": tmp_path}, environ={"REALM_SERVICE_URL": settings.service_url})
    assert again.service_url == settings.service_url


@pytest.mark.parametrize(
    "given",
    [
        [],
        ",",
        "http://one:1,two:1",
        ["http://one:1,http://two:1"],
        [1],
        7,
        ["http://one:1", ""],
        [f"http://host{number}" for number in range(MAX_SERVICE_URLS + 1)],
    ],
)
def test_what_is_no_list_of_addresses_is_refused(tmp_path: Path, given: Any) -> None:
    with pytest.raises(ConfigError, match="service_url"):
        load_settings({"home": tmp_path, "service_url": given}, environ={})


def test_as_many_addresses_as_there_may_be(tmp_path: Path) -> None:
    given = [f"http://host{number}" for number in range(MAX_SERVICE_URLS)]
    settings = load_settings({"home": tmp_path, "service_url": given}, environ={})
    assert settings.service_url.split(",") == given


def test_the_homes_token_is_for_a_list_of_this_hosts_addresses_alone(tmp_path: Path) -> None:
    (tmp_path / "realm.toml").write_text('access = "token"\n')

    def token(*urls: str) -> str | None:
        return load_settings({"home": tmp_path, "service_url": urls}, environ={}).token

    own = token("http://127.0.0.1:1", "http://localhost:2")
    assert own
    assert token("http://127.0.0.1:1", "http://elsewhere:2") is None
    both = "http://127.0.0.1:1,http://elsewhere:2"
    assert token_for(tmp_path, own, both) is None
    assert token_for(tmp_path, "chosen", both) == "chosen"


def test_what_a_parent_was_told_by_its_code_wins_over_a_variable_that_it_had_too(
    tmp_path: Path,
) -> None:
    """A variable of the child's own wins over both; so does one that the parent did not have."""
    had = {"REALM_HOME": str(tmp_path / "shell"), "REALM_SERVICE_URL": "http://shell:1"}
    inherited = {
        "home": str(tmp_path / "code"),
        "service_url": "http://code:1",
        "environ": variable_marks(had),
    }

    def resolve(environ: dict[str, str], inherited: dict[str, Any]) -> tuple[Path, str]:
        settings = load_settings(environ=environ, inherited=inherited)
        return settings.home, settings.service_url

    assert resolve(had, inherited) == (tmp_path / "code", "http://code:1")
    own = {"REALM_HOME": str(tmp_path / "own"), "REALM_SERVICE_URL": "http://own:1"}
    assert resolve(own, inherited) == (tmp_path / "own", "http://own:1")
    added = inherited | {"environ": variable_marks({})}
    assert resolve(had, added) == (tmp_path / "shell", "http://shell:1")
    # Where the parent's code said nothing, the variable counts; garbage is no mark.
    unsaid = {"environ": variable_marks(had)}
    assert resolve(had, unsaid) == (tmp_path / "shell", "http://shell:1")
    assert resolve(had, inherited | {"environ": "x"}) == (tmp_path / "shell", "http://shell:1")


def test_opentelemetrys_variables_are_honoured(tmp_path: Path) -> None:
    """Service name, resource attributes with percent-encoding, and the off switch."""
    environ = {
        "OTEL_SERVICE_NAME": "named",
        "OTEL_RESOURCE_ATTRIBUTES": "team=a%20b,deployment.environment.name=lab,broken",
        "OTEL_SDK_DISABLED": "TRUE",
    }
    settings = load(tmp_path, environ)
    assert settings.service_name == "named"
    assert settings.resource == {"team": "a b", "deployment.environment.name": "lab"}
    assert settings.disabled
    by_attribute = load(tmp_path, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=other"})
    assert by_attribute.service_name == "other"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"REALM_SHIPPER": "proces"}, "REALM_SHIPPER: 'proces' is none of process, thread, none"),
        ({"REALM_SERVICE_URL": "localhost:8866"}, "begin with http:// or https://"),
        ({"REALM_MAX_SPOOL_BYTES": "many"}, "needs a whole number of bytes"),
        ({"REALM_EXIT_WAIT": "maybe"}, "is none of auto, always, never"),
        ({"REALM_DURABILITY": "disk"}, "is none of process, power"),
    ],
)
def test_a_wrong_value_names_the_setting_and_the_fix(
    tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    """And where to read more."""
    with pytest.raises(ConfigError, match=r"See docs/configuration\.md") as raised:
        load(tmp_path, environ)
    assert message in str(raised.value)


def test_a_wrong_argument_is_called_one(tmp_path: Path) -> None:
    """As a variable and a key of the file are called by their names."""
    with pytest.raises(ConfigError, match="the argument shipper: 'rocket' is none of"):
        load(tmp_path, shipper="rocket")


def test_a_wrong_token_is_not_shown(tmp_path: Path) -> None:
    """Messages end up in logs."""
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, token=["hunter2"])
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("size", "accepted"),
    [(MIN_SPOOL_BYTES - 1, False), (MIN_SPOOL_BYTES, True), (MIN_SPOOL_BYTES + 1, True)],
)
def test_the_spool_bound_has_a_least_value(tmp_path: Path, size: int, accepted: bool) -> None:
    """Below one segment a spool would be useless."""
    if accepted:
        assert load(tmp_path, max_spool_bytes=size).max_spool_bytes == size
    else:
        with pytest.raises(ConfigError, match="at least"):
            load(tmp_path, max_spool_bytes=size)


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    """In the file as in the call."""
    (tmp_path / "realm.toml").write_text('servce_name = "x"\n')
    with pytest.raises(ConfigError, match="Did you mean service_name"):
        load(tmp_path)


def test_a_file_that_is_not_toml_names_the_line(tmp_path: Path) -> None:
    """The parser's own words are in the message."""
    (tmp_path / "realm.toml").write_text("a = 1\nb = = 2\n")
    with pytest.raises(ConfigError, match=r"is not TOML.*line 2"):
        load(tmp_path)


def test_a_file_may_begin_with_a_byte_order_mark_and_has_to_be_utf_8(tmp_path: Path) -> None:
    """As editors on Windows write it."""
    (tmp_path / "realm.toml").write_bytes(b'\xef\xbb\xbfservice_name = "lab"\n')
    assert load(tmp_path).service_name == "lab"
    (tmp_path / "realm.toml").write_bytes(b'service_name = "J\xf6rg"\n')
    with pytest.raises(ConfigError, match=r"is not TOML: .*utf-8"):
        load(tmp_path)


def bind_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, Path.mkdir, bind_socket, lambda path: path.symlink_to("/dev/zero")],
    ids=["pipe", "directory", "socket", "endless device"],
)
def test_what_is_no_file_in_its_place_is_neither_waited_for_nor_read_for_ever(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "realm.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings({"home": tmp_path})


def test_a_file_that_is_nested_without_end_is_no_toml(tmp_path: Path) -> None:
    """Its parser runs out of stack."""
    (tmp_path / "realm.toml").write_text("a = " + "[" * 5_000)
    with pytest.raises(ConfigError, match="is not TOML"):
        load(tmp_path)


def test_objects_make_the_shipper_a_thread(tmp_path: Path) -> None:
    """No other process could use them; asked for a process, it is refused with the reason."""
    assert load(tmp_path, exporters=["battle_log", object()]).shipper == "thread"
    with pytest.raises(ConfigError, match="is an object of this process"):
        load(tmp_path, exporters=[object()], shipper="process")


def test_every_setting_is_documented() -> None:
    """With its environment variables."""
    text = DOCUMENT.read_text()
    for name, setting in SETTINGS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert all(f"`{variable}`" in row for variable in setting.variables)
    fields = set(Settings.__struct_fields__)
    derived = {"home", "run_origin", "shared_home"}
    assert fields == {*derived, *SETTINGS}, "they say where others are from"


def test_every_setting_is_an_argument_of_configure() -> None:
    """But for the off switch, OpenTelemetry's variable, and what service and shipper are set by."""
    arguments = set(inspect.signature(realm.configure).parameters)
    assert arguments == {"home", *SETTINGS} - {
        *("access", "disabled", "labels", "output_bytes", "run", "service", "watch")
    }


@pytest.mark.parametrize("name", inspect.signature(realm.configure).parameters)
def test_configure_reads_each_of_its_arguments(tmp_path: Path, name: str) -> None:
    """An argument that is missing in the table in `configure` would be ignored."""
    arguments: dict[str, Any] = {"home": tmp_path, name: object()}
    with pytest.raises(ConfigError, match=name):
        realm.configure(**arguments)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("cluster_pin, pin", ("cluster_pin", "pin")),
        (["a", "/lab-[0-9]{1,6}/"], ("a", "/lab-[0-9]{1,6}/")),
        ("off", ("off",)),
    ],
)
def test_redact_takes_names_patterns_and_off(
    tmp_path: Path, given: Any, kept: tuple[str, ...]
) -> None:
    assert load(tmp_path, redact=given).redact == kept


@pytest.mark.parametrize("given", [["/lab-[/"], ["/lab"], ["/"], ["//"], [7]])
def test_redact_refuses_what_is_no_pattern_and_no_name(tmp_path: Path, given: Any) -> None:
    with pytest.raises(ConfigError, match="redact"):
        load(tmp_path, redact=given)


def test_an_error_about_an_address_does_not_show_its_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {"REALM_SERVICE_URL": "ftp://bob:hunter2x@lab/?token=abc"})
    assert "ftp://bob:[redacted]@lab/?token=[redacted]" in str(caught.value)
    assert "hunter2x" not in str(caught.value) + caught.value.problem
