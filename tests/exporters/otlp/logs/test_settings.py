"""Options over OpenTelemetry's variables, and those by its specification."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from realm_exporter_otlp.over_http import HttpChannel
from realm_exporter_otlp.settings import TRANSPORT_DEFAULTS, SignalName, Target, resolve

from realm_telemetry.errors import ConfigError
from realm_telemetry.plugins import read_options


def target(
    environment: Mapping[str, str] | None = None, signal: SignalName = "logs", **options: Any
) -> Target:
    prefixed = {f"OTEL_EXPORTER_OTLP_{name}": v for name, v in (environment or {}).items()}
    return resolve(signal, {**TRANSPORT_DEFAULTS, **options}, prefixed)


def test_nothing_set_is_the_protocols_default_on_this_host() -> None:
    found = target()
    assert (found.protocol, found.endpoint) == ("http/protobuf", "http://localhost:4318/v1/logs")
    assert (found.compression, found.timeout_s, found.headers) == ("none", 10.0, {})
    over_grpc = target(protocol="grpc")
    assert (over_grpc.endpoint, over_grpc.insecure) == ("http://localhost:4317", True)


@pytest.mark.parametrize(
    ("environment", "options", "endpoint"),
    [
        ({"ENDPOINT": "http://c:4318"}, {}, "http://c:4318/v1/logs"),
        ({"ENDPOINT": "http://c:4318/"}, {}, "http://c:4318/v1/logs"),
        ({"ENDPOINT": "https://c/otlp"}, {}, "https://c/otlp/v1/logs"),
        ({"ENDPOINT": " "}, {}, "http://localhost:4318/v1/logs"),
        ({"LOGS_ENDPOINT": "http://c/in"}, {}, "http://c/in"),
        ({"LOGS_ENDPOINT": "http://c/in", "ENDPOINT": "http://d"}, {}, "http://c/in"),
        ({"TRACES_ENDPOINT": "http://c/in"}, {}, "http://localhost:4318/v1/logs"),
        ({"LOGS_ENDPOINT": "http://c/in"}, {"endpoint": "http://e"}, "http://e/v1/logs"),
        ({}, {"signal_endpoint": "http://e/x/", "endpoint": "http://f"}, "http://e/x/"),
    ],
)
def test_only_the_general_endpoint_gets_the_signals_path(
    environment: dict[str, str], options: dict[str, Any], endpoint: str
) -> None:
    """A signal's own is used as it is, to the last slash."""
    assert target(environment, **options).endpoint == endpoint


def test_each_signal_has_its_path_variables_and_options() -> None:
    environment = {"TRACES_HEADERS": "a=1", "HEADERS": "a=2", "METRICS_TIMEOUT": "3"}
    traces, metrics = target(environment, "traces"), target(environment, "metrics")
    assert (traces.endpoint, traces.exporter) == ("http://localhost:4318/v1/traces", "otlp_traces")
    assert (traces.headers, metrics.headers) == ({"a": "1"}, {"a": "2"})
    assert (traces.timeout_s, metrics.timeout_s) == (10.0, 3.0)
    assert metrics.exporter == "otlp_metrics"


def test_every_variable_is_honoured(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("ca", "cert", "key")}
    for path in files.values():
        Path(path).touch()
    found = target(
        {
            "PROTOCOL": "grpc",
            "ENDPOINT": "collector:4317",
            "INSECURE": "true",
            "HEADERS": "Authorization=Basic%20abc=,x-scope-orgid=lab",
            "COMPRESSION": "gzip",
            "TIMEOUT": "2.5",
            "CERTIFICATE": files["ca"],
            "CLIENT_CERTIFICATE": files["cert"],
            "CLIENT_KEY": files["key"],
        }
    )
    assert found == Target(
        signal="logs",
        exporter="otlp",
        protocol="grpc",
        endpoint="collector:4317",
        headers={"authorization": "Basic abc=", "x-scope-orgid": "lab"},
        compression="gzip",
        timeout_s=2.5,
        certificate=files["ca"],
        client_certificate=files["cert"],
        client_key=files["key"],
        insecure=True,
    )


def test_options_win_over_variables_and_headers_join() -> None:
    found = target(
        {"PROTOCOL": "grpc", "HEADERS": "a=1,b=2", "TIMEOUT": "3", "COMPRESSION": "gzip"},
        protocol="http/protobuf",
        headers={"B": "3"},
        timeout_s=4,
        compression="deflate",
    )
    assert (found.protocol, found.timeout_s, found.compression) == ("http/protobuf", 4.0, "deflate")
    assert found.headers == {"a": "1", "b": "3"}
    assert target(headers={"a": " x "}).headers == {"a": "x"}  # the client would refuse it, shown


@pytest.mark.parametrize(
    ("environment", "options", "insecure"),
    [
        ({"ENDPOINT": "http://c:1"}, {}, True),
        ({"ENDPOINT": "https://c:1"}, {}, False),
        ({"ENDPOINT": "https://c:1", "INSECURE": "true"}, {}, False),
        ({"ENDPOINT": "c:1"}, {}, False),
        ({"ENDPOINT": "c:1", "INSECURE": "TRUE"}, {}, True),
        ({"ENDPOINT": "c:1", "INSECURE": "true", "LOGS_INSECURE": "false"}, {}, False),
        ({"ENDPOINT": "c:1", "INSECURE": "true"}, {"insecure": False}, False),
    ],
)
def test_grpc_goes_without_tls_by_scheme_then_by_setting(
    environment: dict[str, str], options: dict[str, Any], insecure: bool
) -> None:
    assert target(environment, protocol="grpc", **options).insecure is insecure


@pytest.mark.parametrize(
    ("environment", "options", "words"),
    [
        (
            {"PROTOCOL": "http/json"},
            {},
            r"PROTOCOL\): there is no 'http/json'. Use one of http/prot",
        ),
        (
            {"ENDPOINT": "collector:4318"},
            {},
            "'collector:4318' is not an address. Write it like http",
        ),
        ({"ENDPOINT": "http://c:port"}, {}, "is not an address"),
        ({"COMPRESSION": "zip"}, {}, "there is no 'zip'. Use one of none, gzip, deflate"),
        ({"COMPRESSION": "deflate"}, {"protocol": "grpc"}, "Use one of none, gzip"),
        ({"TIMEOUT": "soon"}, {}, r"timeout_s \(OTEL_EXPORTER_OTLP_TIMEOUT\): 'soon' is no time"),
        ({"TIMEOUT": "-1"}, {}, "is no time"),
        ({"TIMEOUT": "nan"}, {}, "is no time"),
        ({"CERTIFICATE": "/nowhere.pem"}, {}, "there is no file /nowhere.pem"),
        ({}, {"headers": {"a": 1}}, "the value of a is not text"),
        ({}, {"headers": {"a": "x\ny"}}, "'a' cannot be sent"),
        ({}, {"headers": {"a b": "x"}}, "'a b' cannot be sent"),
        ({}, {"headers": {"a-bin": "x"}}, "'a-bin' cannot be sent"),
        ({}, {"headers": {"": "x"}}, "'' cannot be sent"),
        ({"HEADERS": "no-header"}, {}, "not written as name=value"),
    ],
)
def test_a_wrong_setting_is_named_with_its_variable_and_the_fix(
    environment: dict[str, str], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        target(environment, **options)


def test_secrets_are_in_no_message() -> None:
    for options in (
        {"headers": {"authorization": "s3cret\nX: y"}},
        {"endpoint": "ftp://user:s3cret@c"},
    ):
        with pytest.raises(ConfigError) as caught:
            target(**options)
        assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError, match="needs dict, got str") as caught:
        read_options("options.otlp", {"headers": "authorization=s3cret"}, TRANSPORT_DEFAULTS)
    assert "s3cret" not in str(caught.value)
    shown = target(signal_endpoint="https://user:s3cret@c/v1/logs?key=s3cret").shown
    assert shown == "https://c/v1/logs"


def test_every_option_is_documented() -> None:
    """In the exporter's own page and among the settings."""
    root = Path(__file__).parents[4]
    for page in ("exporters/realm_exporter_otlp/README.md", "docs/configuration.md"):
        text = (root / page).read_text()
        missing = [name for name in TRANSPORT_DEFAULTS if f"`{name}`" not in text]
        assert missing == [], page


def test_a_header_is_not_replaced_by_that_of_a_netrc_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may know another login for the same host."""
    login = tmp_path / "netrc"
    login.write_text("machine collector login somebody password else\n")
    login.chmod(0o600)
    monkeypatch.setenv("NETRC", str(login))
    given = target(endpoint="http://collector:4318", headers={"Authorization": "Bearer t0ken"})
    with closing(HttpChannel(given)) as channel:
        request = requests.Request("POST", given.endpoint, headers=given.headers)
        sent = channel._open().prepare_request(request)
    assert sent.headers["authorization"] == "Bearer t0ken"
