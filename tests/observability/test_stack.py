"""Collector, compose file, Prometheus and pages fit each other and the service."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from realm_exporter_otlp import OtlpExporter
from realm_exporter_otlp.metrics import OtlpMetricsExporter
from realm_exporter_otlp.traces import OtlpTracesExporter

from realm_telemetry.config import load_settings
from realm_telemetry.folds.metrics import BUILT_IN
from realm_telemetry.folds.metrics.definition import RESERVED
from realm_telemetry.folds.metrics.instruments import prometheus_name
from realm_telemetry.plugins import installed_exporters, read_options
from realm_telemetry.service import ServiceSettings

from .conftest import STACK, Running, read

COMPOSE = read("compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
COLLECTOR = read("config/collector.yaml")
PAGES = (STACK / "README.md", STACK.parents[1] / "docs" / "observability.md")

# What the images listen at, besides what the files here say.
OWN_PORTS = {"jaeger": {4317, 4318, 16686}, "prometheus": {9090}, "grafana": {3000}}


def listening(service: str) -> set[int]:
    """The ports that a service has by its own configuration."""
    if service == "collector":
        protocols = COLLECTOR["receivers"]["otlp"]["protocols"].values()
        places = [
            each["endpoint"] for each in (*protocols, COLLECTOR["extensions"]["health_check"])
        ]
        return {int(place.rpartition(":")[2]) for place in places}
    if service == "loki":
        return {read("config/loki.yaml")["server"]["http_listen_port"]}
    if service == "tempo":
        tempo = read("config/tempo.yaml")
        protocols = tempo["distributor"]["receivers"]["otlp"]["protocols"].values()
        otlp = {int(each["endpoint"].rpartition(":")[2]) for each in protocols}
        return otlp | {tempo["server"]["http_listen_port"]}
    return OWN_PORTS.get(service, set())


def published() -> dict[int, str]:
    """Ports of this machine, and whose they are."""
    found = {}
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            address, outside, inside = port.split(":")
            assert address == "127.0.0.1", f"{name} would be reachable from elsewhere"
            assert int(inside) in listening(name), f"{name} does not listen at {inside}"
            found[int(outside)] = name
    return found


def test_components_of_the_pipelines_exist_and_all_are_used() -> None:
    """A pipeline that names another component keeps the collector from starting."""
    for sort in ("receivers", "processors", "exporters"):
        used = {name for each in COLLECTOR["service"]["pipelines"].values() for name in each[sort]}
        assert used == set(COLLECTOR[sort])
    assert set(COLLECTOR["service"]["extensions"]) == set(COLLECTOR["extensions"])
    assert set(COLLECTOR["service"]["pipelines"]) == {"logs", "traces", "metrics"}


def test_every_address_names_a_service_that_listens_there() -> None:
    """In the collector, in Grafana's data sources, and where readiness is looked at."""
    sources = read("grafana/provisioning/datasources/realm.yaml")["datasources"]
    addresses = [each["endpoint"] for each in COLLECTOR["exporters"].values()]
    addresses += [each["url"] for each in sources]
    looked_at = re.findall(r"http://\S+", SERVICES["ready"]["healthcheck"]["test"][1])
    for address in (*addresses, *looked_at):
        parts = urlsplit(address.rstrip(";"))
        assert parts.port in listening(parts.hostname or ""), address
    assert {urlsplit(each).hostname for each in looked_at} == SERVICES.keys() - {"ready"}


def test_ports_are_on_loopback_and_nobody_is_in_anothers_way() -> None:
    """Nor in the service's own: 8866, 8767 and 8888."""
    ports = published()
    assert len(ports) == sum(len(each.get("ports", [])) for each in SERVICES.values())
    assert not ports.keys() & {8866, 8767, 8888}
    assert {4317, 4318, 3000, 16686} <= ports.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.parent.name)
def test_addresses_in_the_pages_are_ports_of_the_stack_or_the_service(page: Path) -> None:
    """5000 and 6006 are what MLflow and Phoenix listen at."""
    named = re.findall(r"127\.0\.0\.1:(\d+)", page.read_text(encoding="utf-8"))
    assert named
    assert {int(port) for port in named} <= published().keys() | {8866, 5000, 6006}


def test_images_have_a_version_each() -> None:
    """What works today works tomorrow."""
    for service in SERVICES.values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]
    jaeger = re.search(r"jaegertracing/jaeger:\S+", PAGES[1].read_text(encoding="utf-8"))
    assert jaeger
    assert jaeger[0] == SERVICES["jaeger"]["image"]


def test_mounted_files_are_there_and_volumes_are_declared() -> None:
    """A file that is not there becomes an empty directory in the container."""
    volumes = set()
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source, target, *mode = mount.split(":")
            if source.startswith("."):
                assert (STACK / source).exists(), source
                assert mode == ["ro"], mount
            else:
                volumes.add(source)
            assert target.startswith("/")
        for config in service.get("configs", []):
            assert config["source"] in COMPOSE["configs"]
        assert set(service.get("depends_on", [])) <= SERVICES.keys()
    assert volumes == set(COMPOSE["volumes"])


def test_programs_name_the_files_that_are_mounted() -> None:
    """Each by its own option."""
    for name in ("collector", "loki", "tempo", "prometheus"):
        argument = next(part for part in SERVICES[name]["command"] if "config" in part)
        mounted = {mount.split(":")[1] for mount in SERVICES[name]["volumes"]}
        assert argument.partition("=")[2] in mounted


SCRAPE = read("config/prometheus.yaml")["scrape_configs"][0]


def test_a_scrape_takes_what_does_not_come_over_otlp_and_nothing_twice() -> None:
    """All metrics of events are left out, and none of the service's own."""
    (rule,) = SCRAPE["metric_relabel_configs"]
    assert rule["action"] == "drop"
    for instrument in BUILT_IN:
        assert re.fullmatch(rule["regex"], prometheus_name(instrument))
    for prefix in RESERVED:
        assert not re.fullmatch(rule["regex"], f"{prefix}x")


def test_the_service_answers_a_scrape_set_up_as_the_readme_says(tmp_path: Path) -> None:
    """By its other name, with the token; without the setting or the token it does not."""
    (target,) = SCRAPE["static_configs"][0]["targets"]
    readme = PAGES[0].read_text(encoding="utf-8")
    allowed = re.search(r'allowed_hosts = \["([\w.]+)"\]', readme)
    assert allowed
    assert target == f"{allowed[1]}:8866"
    headers = {"host": target, "authorization": "Bearer secret-token"}
    settings = {"token": "secret-token", "host": "0.0.0.0"}
    with Running(tmp_path, **settings, allowed_hosts=(allowed[1],)) as server:
        url = f"http://127.0.0.1:{urlsplit(server.url).port}/metrics"
        assert httpx.get(url, headers=headers).status_code == 200
        assert httpx.get(url, headers={"host": target}).status_code == 401
    with Running(tmp_path, **settings) as server:
        url = f"http://127.0.0.1:{urlsplit(server.url).port}/metrics"
        assert httpx.get(url, headers=headers).status_code == 403


def test_the_token_reaches_prometheus() -> None:
    """Out of the environment, as a file that only it has."""
    (config,) = SERVICES["prometheus"]["configs"]
    assert config["target"] == SCRAPE["authorization"]["credentials_file"]
    assert COMPOSE["configs"][config["source"]]["content"] == "${REALM_TOKEN:-none}"
    assert "host.docker.internal:host-gateway" in SERVICES["prometheus"]["extra_hosts"]


def test_prometheus_takes_otlp_under_the_names_of_the_table() -> None:
    """The receiver is off unless it is asked for; the strategy is the one that is tested."""
    assert "--web.enable-otlp-receiver" in SERVICES["prometheus"]["command"]
    settings = read("config/prometheus.yaml")
    assert settings["otlp"]["translation_strategy"] == "UnderscoreEscapingWithSuffixes"
    endpoint = COLLECTOR["exporters"]["otlp_http/prometheus"]["endpoint"]
    assert urlsplit(endpoint).path == "/api/v1/otlp"


def test_exporters_in_the_pages_exist() -> None:
    """Otherwise the first command that somebody tries fails."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lists = re.findall(r"REALM_EXPORTERS=([\w,]+)", text)
        lists += [
            re.sub(r'[" ]', "", each) for each in re.findall(r"^exporters = \[(.*)\]", text, re.M)
        ]
        for names in lists:
            assert set(names.split(",")) <= installed_exporters()


def fenced(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.parent.name)
def test_settings_in_the_pages_are_settings(page: Path, tmp_path: Path) -> None:
    """TOML that is read as realm.toml is, with options that the exporters know."""
    known = {
        "otlp": OtlpExporter.defaults,
        "otlp_metrics": OtlpMetricsExporter.defaults,
        "otlp_traces": OtlpTracesExporter.defaults,
    }
    assert fenced(page, "toml")
    for number, text in enumerate(fenced(page, "toml")):
        home = tmp_path / str(number)
        home.mkdir()
        (home / "realm.toml").write_text(text)
        settings = load_settings(environ={"REALM_HOME": str(home)})
        for name, options in settings.options.items():
            read_options(f"options.{name}", options, known[name])
        ServiceSettings.of(settings)


def test_variables_in_the_pages_are_those_that_are_read() -> None:
    """OpenTelemetry's, or realm's own."""
    argument = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    signals = "(LOGS_|TRACES_|METRICS_)?"
    known = rf"OTEL_EXPORTER_OTLP_{signals}(ENDPOINT|HEADERS|PROTOCOL)|REALM_(EXPORTERS|TOKEN)"
    for name in re.findall(r"export (\w+)=", argument):
        assert re.fullmatch(known, name), name


def test_collector_and_prometheus_files_in_the_page_are_whole() -> None:
    """Pipelines name what there is; a scrape has its targets."""
    files = [yaml.safe_load(text) for text in fenced(PAGES[1], "yaml")]
    (collector,) = (each for each in files if "service" in each)
    for pipeline in collector["service"]["pipelines"].values():
        assert set(pipeline["receivers"]) <= set(collector["receivers"])
        assert set(pipeline["exporters"]) <= set(collector["exporters"])
    (scrape,) = (each for each in files if "scrape_configs" in each)
    assert scrape["scrape_configs"][0]["static_configs"][0]["targets"] == ["127.0.0.1:8866"]
