"""Secrets in events: under names, at any depth, in pairs and command lines, in every field."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.event import Event
from realm_telemetry.redaction import (
    REDACTED,
    REDACTED_KEY,
    Redacted,
    RedactionProcessor,
    Redactor,
)
from realm_telemetry.redaction.values import MAX_DEPTH, MAX_FOUND

R = REDACTED
PEM = "-----BEGIN PRIVATE KEY-----"
END = "-----END PRIVATE KEY-----"


def event(message: str = "hello", details: dict[str, Any] | None = None, **fields: Any) -> Event:
    return Event(
        "note", "debug", "info", message, details or {}, 1, "0123456789abcdef", 1, **fields
    )


def details_after(details: dict[str, Any], *own: str) -> dict[str, Any]:
    after = Redactor(own)(event(details=details)).details
    return {name: value for name, value in after.items() if name != REDACTED_KEY}


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Passwd",
        "pwd",
        "pw",
        "pass",
        "db_pass",
        "passphrase",
        "PGPASSWORD",
        "password2",
        "password_confirmation",
        "mysqlPassword",
        "passwords",
        "secret",
        "client_secret",
        "secrets",
        "token",
        "hf_token",
        "accessToken",
        "authtoken",
        "API_KEY",
        "api-key",
        "apiKey",
        "apikeys",
        "X-Api-Key",
        "AWS_SECRET_ACCESS_KEY",
        "private_key",
        "ssh_key",
        "AccountKey",
        "wandb_key",
        "Authorization",
        "Proxy-Authorization",
        "auth",
        "cookie",
        "set-cookie",
        "session_id",
        "JSESSIONID",
        "credentials",
        "connection_string",
        "dsn",
        "jwt",
        "webhook_url",
        "token_prod",
    ],
)
def test_a_value_under_a_secret_name_is_taken_out(name: str) -> None:
    after = Redactor()(event(details={"step": 1, name: "very-private", "note": "x"}))
    assert after.details == {"step": 1, name: R, "note": "x", REDACTED_KEY: [name]}


@pytest.mark.parametrize(
    "words",
    [
        ["wandb", "login", "--relogin", "0123456789" * 4],
        ["curl", "-H", "Authorization:", "Basic", "aGk6dGhlcmU="],
        ["env", "PASSWORD", "=", "x1"],
        ["sh", "-c", "password:", "x1"],
        ["cat", "-----BEGIN PRIVATE", "KEY-----", "MIIabc", "-----END PRIVATE", "KEY-----"],
        ["run", "api_key", ":", "\x1b[31mx1"],
    ],
)
@pytest.mark.parametrize("name", ["command", "argv", "process.command_args"])
def test_the_words_of_a_command_are_read_as_one_line(name: str, words: list[str]) -> None:
    after = Redactor()(event(details={"step": 1, name: words}))
    assert R in str(after.details[name])
    assert all(secret not in str(after.details[name]) for secret in SPLIT)
    assert after.details[name][0] == words[0]
    assert Redactor()(after) is after


SPLIT = ("0123456789", "aGk6", "x1", "MIIabc")


@pytest.mark.parametrize("name", ["words", "lines", "tokens"])
def test_other_lists_are_read_word_by_word(name: str) -> None:
    before = event(details={name: ["the", "password", "=", "sesame"]})
    assert Redactor()(before) is before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("command", ["python", "train.py", "--token-count", "5", "--lr", "0.1"]),
        ("eos_token", "</s>"),
        ("pad_token", "<pad>"),
        ("tokens_per_second", 51234.5),
        ("token_count", 7),
        ("num_tokens", 5),
        ("max_tokens", 8192),
        ("tokens", 512),
        ("tokens", "512"),
        ("token", 5),
        ("tokens", [1, 2, 3]),
        ("tokens", ["the", "Ġcat", "##s"]),
        ("tokens", {"prompt": 512, "completion": 9}),
        ("tokenizer", "bpe"),
        ("loss_per_token", 0.3),
        ("author", "bob"),
        ("auth_method", "ldap"),
        ("pass_rate", 0.5),
        ("passed", 3),
        ("pass", 12),
        ("pass", True),
        ("pass", 99_999),
        ("pass@1", 0.31),
        ("forward_pass", "slow"),
        ("bypass", "on"),
        ("compass", "north"),
        ("secretary", "Ada"),
        ("key", "value"),
        ("monkey", "banana"),
        ("primary_key", "id"),
        ("public_key", "abc"),
        ("password", ""),
        ("password", None),
        ("password", "******"),
        ("has_password", True),
        ("pwd", "/home/dio"),
        ("secrets", 3),
        ("api_keys", 2),
        ("session_id", 7),
        ("signature", "f(x)"),
        ("cookies", 0),
        ("token", "${T}"),
        ("keys", ["a"]),
        ("token_type", "bearer"),
        ("password_file", "/run/x"),
    ],
)
def test_what_a_lab_talks_about_is_kept(name: str, value: Any) -> None:
    before = event(details={name: value})
    assert Redactor()(before) is before


@pytest.mark.parametrize(
    ("details", "left"),
    [
        ({"password": 12345}, {"password": R}),
        ({"pass": 100_000}, {"pass": R}),
        ({"passwords": ["a", 12345]}, {"passwords": [R, R]}),
        ({"tokens": ["a1b2"]}, {"tokens": [R]}),
        ({"tokens": {"a": "x-1", "n": 5}}, {"tokens": {"a": R, "n": 5}}),
        ({"auth": ["u", "p"]}, {"auth": [R, R]}),
        ({"secret": {"a": {"b": "c"}}}, {"secret": {"a": {"b": R}}}),
        ({"a": [{"b": {"password": "x", "n": 1}}]}, {"a": [{"b": {"password": R, "n": 1}}]}),
        (
            {"env": [{"name": "PASSWORD", "value": "x"}, {"name": "HOME", "value": "/"}]},
            {"env": [{"name": "PASSWORD", "value": R}, {"name": "HOME", "value": "/"}]},
        ),
        ({"h": {"key": "password", "value": 12345}}, {"h": {"key": "password", "value": R}}),
        (
            {"headers": [["Authorization", "Bearer x"], ["Accept", "*"]]},
            {"headers": [["Authorization", R], ["Accept", "*"]]},
        ),
        (
            {"argv": ["run", "--password", "x", "--lr", "1"]},
            {"argv": ["run", "--password", R, "--lr", "1"]},
        ),
        ({"argv": ["--token=x1", "-v"]}, {"argv": [f"--token={R}", "-v"]}),
        ({"argv": ["--max-tokens", "512"]}, {"argv": ["--max-tokens", "512"]}),
        ({"pem": [PEM, "MII", END, "x"]}, {"pem": [PEM, R, END, "x"]}),
        ({"https://u:p@h": 1, "n": 2}, {f"https://u:{R}@h": 1, "n": 2}),
        (
            {"https://u:p@h": 1, "https://u:q@h": 2},
            {f"https://u:{R}@h": 1, f"https://u:{R}@h 2": 2},
        ),
        ({"raw": b"password=x"}, {"raw": R}),
        ({"raw": ("password=x", 1)}, {"raw": [f"password={R}", 1]}),
        ({"note": "password=x", "n": 1}, {"note": f"password={R}", "n": 1}),
    ],
)
def test_secrets_are_found_in_every_shape(details: dict[str, Any], left: dict[str, Any]) -> None:
    assert details_after(details) == left
    again = Redactor()(event(details=left))
    assert again.details == left


def test_every_field_that_people_write_is_cleaned_and_named() -> None:
    secret = "https://u:p@h"
    clean = f"https://u:{R}@h"
    fields = ("hero_id", "campaign_id", "run_id", "source")
    context: dict[str, Any] = dict.fromkeys(fields, secret)
    before = event(f"see {secret}", **context)
    after = Redactor()(msgspec.structs.replace(before, kind="token=x"))
    assert (after.message, after.kind) == (f"see {clean}", f"token={R}")
    assert {getattr(after, name) for name in fields} == {clean}
    assert after.details[REDACTED_KEY] == ["message", "kind", *fields]
    assert after.id == before.id


def test_a_message_loses_the_secrets_that_details_name() -> None:
    after = Redactor()(event("hunter2x was typed by bob", {"password": "hunter2x", "u": "bob"}))
    assert after.message == f"{R} was typed by bob"


def test_a_resource_is_cleaned() -> None:
    resource = {"service.name": "t", "process.command_args": ["t", "--password", "x"], "token": "y"}
    assert Redactor().resource(resource) == {
        "service.name": "t",
        "process.command_args": ["t", "--password", R],
        "token": R,
    }


def test_names_and_patterns_of_the_users_own_count_too() -> None:
    own = ("cluster_pin", "/lab-[0-9]+/")
    details = {"clusterPin": "1-2", "note": "see lab-77", "password": "x", "n": 1}
    assert details_after(details, *own) == {
        "clusterPin": R,
        "note": f"see {R}",
        "password": R,
        "n": 1,
    }


def test_off_keeps_everything() -> None:
    before = event("password=x", {"password": "x"})
    off = Redactor(["off"])
    assert off(before) is before
    assert off.resource({"token": "x"}) == {"token": "x"}


def test_what_was_redacted_once_is_not_looked_at_again() -> None:
    redact = Redactor()
    clean = redact.batch([event("password=x"), event("fine")])
    assert type(clean) is Redacted
    assert redact.batch(clean) is clean


@pytest.mark.parametrize(
    ("depth", "kept"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, True), (MAX_DEPTH + 1, False)]
)
def test_what_is_too_deep_to_look_into_is_taken_out(depth: int, kept: bool) -> None:
    value: Any = "deep"
    for _ in range(depth):
        value = {"a": value}
    after = Redactor()(event(details={"a": value})).details["a"]
    for _ in range(depth):
        if after == R:
            break
        after = after["a"]
    assert (after == "deep") is kept


def test_a_tree_of_any_depth_is_no_fault() -> None:
    value: Any = "password=x"
    for turn in range(3000):
        value = [value] if turn % 2 else {"a": value}
    assert b"password=x" not in msgspec.json.encode(Redactor()(event(details={"a": value})).details)


@pytest.mark.parametrize("count", [MAX_FOUND - 1, MAX_FOUND, MAX_FOUND + 1, MAX_FOUND + 9])
def test_the_mark_has_a_bound(count: int) -> None:
    details = {f"token_of_{number}_password": "x1" for number in range(count)}
    marks = Redactor()(event(details=details)).details[REDACTED_KEY]
    assert len(marks) == min(count, MAX_FOUND + 1)
    assert (marks[-1] == "...") is (count > MAX_FOUND)


def test_marks_of_an_earlier_redaction_stay() -> None:
    once = Redactor()(event(details={"password": "x", "pin": "1-2"}))
    twice = Redactor(["pin"])(once)
    assert twice.details[REDACTED_KEY] == ["password", "pin"]


_json = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["password=x1", "https://u:p@h"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text() | st.sampled_from(["password", "tokens", "auth", "name", "value", "n"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
_details = st.dictionaries(
    st.text() | st.sampled_from(["password", "tokens", "note", "auth", "env"]), _json, max_size=4
)


@given(_details, st.text() | st.just("password: x"))
def test_redaction_takes_any_event_and_a_second_time_changes_nothing(
    details: dict[str, Any], message: str
) -> None:
    once = Redactor()(event(message, details))
    assert Redactor()(once) == once


@given(st.lists(st.tuples(_details, st.text()), max_size=4))
def test_an_event_is_redacted_alike_alone_and_among_others(
    pairs: list[tuple[dict[str, Any], str]],
) -> None:
    events = [event(message, details) for details, message in pairs]
    assert Redactor().batch(events) == [Redactor()(each) for each in events]


def test_the_name_of_0_1_0_takes_one_event_as_it_did() -> None:
    after = RedactionProcessor(["pin"])(event(details={"pin": "1-2"}))
    assert after.details["pin"] == R
