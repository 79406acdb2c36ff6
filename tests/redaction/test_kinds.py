"""Kinds of names, shapes and texts: which of them are secret, and which a lab needs."""

from typing import Any

import pytest
from msgspec.structs import replace

from realm_telemetry.event import Event
from realm_telemetry.redaction import REDACTED, REDACTED_KEY, Redactor
from realm_telemetry.redaction.rules import NAME_HINTS, PASSWORDS, PHRASES, WORDS
from realm_telemetry.redaction.text import clean_text

R = REDACTED
LETTERS = "abcdefghij0123456789"


def details_after(details: dict[str, Any]) -> dict[str, Any]:
    event = Event("note", "debug", "info", "hello", details, 1, "0123456789abcdef", 1)
    after = Redactor()(event)
    return {name: value for name, value in after.details.items() if name != REDACTED_KEY}


SECRET_NAMES = [
    *("PassWord", "pass_word", "pass-word", "pass word", "PASS_WORD", "pass_phrase"),
    *("user_pass_word", "token_v2", "password_v2", "api_key_v1", "passwordNew", "password_list"),
    *("storepass", "keypass", "mysqlpass", "bindpw", "rootpw", "priv_key", "privkey"),
    *("private_key_pem", "private_key_data", "secret_data", "token_raw", "auth_code", "psk"),
    *("jwt_key", "token_key", "redis_key", "GEMINI_KEY", "DEEPSEEK_KEY", "api_key_openai"),
    *("otp", "totp", "seed_phrase", "password_mysql", "token_github", "PassPhrase"),
    *("preshared_key", "encryption_key_b64", "passKey", "oauth_code", "truststorepass"),
]


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", ["very-private", "hunter2", LETTERS])
def test_a_name_of_a_secret_is_known_in_every_spelling(name: str, value: str) -> None:
    assert details_after({name: value, "n": 1}) == {name: R, "n": 1}


@pytest.mark.parametrize("name", sorted(PASSWORDS | WORDS | PHRASES))
def test_a_name_of_a_secret_is_found_in_text(name: str) -> None:
    assert any(hint in name for hint in NAME_HINTS)


KEPT_DETAILS: list[tuple[str, Any]] = [
    *(("tokens", text) for text in ("~12k", "512 / 1024", "12 345", "5 tok/s", "1.2B of 3B")),
    ("kv_tokens", "12 GiB"),
    ("cost_per_1k_tokens", "$0.03"),
    *(("token", text) for text in ("the", "Ġthe", "▁1a", "##ing", ",", "don't", " cat", "é")),
    *((f"{word}_token", "x1") for word in ("pred", "gold", "answer", "prefix", "suffix", "middle")),
    ("tokens", ["def__init__", "C++", "hello_world", "Ġ2024", "▁1a", "x="]),
    ("tokens", [{"token": "the", "logprob": -1.2}, {"text": "Ġcat", "id": 5}]),
    ("token", {"text": "the"}),
    ("pass", 10_001),
    ("compass", "north"),
    ("bandpass", "2 Hz"),
    ("storage_key", "runs/1"),
    ("server_key", "a/b"),
    ("wandb_key", "loss/train"),
    ("mlflow_key", "loss"),
    ("cred", 0.9),
    ("pw", 0.5),
    ("secret", 0),
    ("webhook", 200),
    ("webhook", "slack"),
    ("auth", {"user": "bob", "type": "ldap", "host": "h"}),
    ("secrets", [{"name": "db"}]),
    ("rows", [{"name": "loss", "value": 1}]),
    ("columns", ["Password", "name"]),
]


@pytest.mark.parametrize(("name", "value"), KEPT_DETAILS)
def test_what_a_lab_records_under_such_names_is_kept(name: str, value: Any) -> None:
    assert details_after({name: value}) == {name: value}


@pytest.mark.parametrize(
    "text",
    [
        *("tokens: ~12k", "tokens: 1.2M/2.4M", 'token: "the"', "Token: 'hello' (id 123)"),
        *("forward pass: 12.3ms", "first pass: done", "pass: eval", "pass: 100000 fail: 5"),
        *("write key: kv_cache", "root key: layers", "storage_key: runs/1", "mlflow_key: loss"),
        *("run sk-learn-classifier-v2-baseline", "cred: 5", "pw: 0.5", "webhook: slack"),
        *("http://localhost:PORT/x@y", "s3://bucket:name/a@b.txt", "pkg://npm:name/@scope/x"),
        *("https://github.com:org/repo@v1", "model://llama:70b/x@v2", "https://u:${PW}@h"),
        "https://u:<pw>@h",
        *(
            "token -> id",
            "token='the'",
            "http://HOST:PORT/x@y",
            "tests/test_token ...... PASSED",
            "answer_token: cat",
        ),
    ],
)
def test_ordinary_text_of_these_kinds_is_kept(text: str) -> None:
    assert clean_text(text) is text
    assert details_after({"note": text}) == {"note": text}


@pytest.mark.parametrize(
    ("details", "left"),
    [
        ({"name": "PASSWORD", "value": "hunter2"}, {"name": "PASSWORD", "value": R}),
        ({"NAME": "TOKEN", "VALUE": "hunter2"}, {"NAME": "TOKEN", "VALUE": R}),
        ({"name": "a", "key": "token", "val": "b-1"}, {"name": "a", "key": "token", "val": R}),
        ({"tokens": {"password": "x"}}, {"tokens": {"password": R}}),
        ({"token": {"api_key": "x"}}, {"token": {"api_key": R}}),
        ({"tokens": {"pass": "hunter"}}, {"tokens": {"pass": R}}),
        ({"cmd": "-password hunter2"}, {"cmd": f"-password {R}"}),
        ({"cmd": "\t-password x"}, {"cmd": f"\t-password {R}"}),
        ({"cmd": "(-password x"}, {"cmd": f"(-password {R}"}),
        ({"password": "hunter2", "cmd": "login hunter2"}, {"password": R, "cmd": f"login {R}"}),
        ({"a": ["x hunter2"], "password": "hunter2"}, {"a": [f"x {R}"], "password": R}),
        ({"password": "hunter", "cmd": "a hunter"}, {"password": R, "cmd": "a hunter"}),
        (
            {"passwords": {"password=abcdef": 1, "password=xyzuvw": 2}},
            {"passwords": {f"password={R}": R, f"password={R} 2": R}},
        ),
        ({"auth": {"user": "bob", "x": "y"}}, {"auth": {"user": "bob", "x": R}}),
        ({"passwords": {"user": "x"}}, {"passwords": {"user": R}}),
        ({"argv": ["curl", "-u", "bob:x"]}, {"argv": ["curl", "-u", f"bob:{R}"]}),
        ({"argv": ["curl", "-ubob:x"]}, {"argv": ["curl", f"-ubob:{R}"]}),
        ({"argv": ["sshpass", "-p", "x"]}, {"argv": ["sshpass", "-p", R]}),
        (
            {"argv": ["docker", "login", "-u", "bob", "-p", "x"]},
            {"argv": ["docker", "login", "-u", "bob", "-p", R]},
        ),
        (
            {"argv": ["docker", "run", "-p", "8080:80"]},
            {"argv": ["docker", "run", "-p", "8080:80"]},
        ),
        ({"argv": ["7z", "x", "-pq1", "a.7z"]}, {"argv": ["7z", "x", f"-p{R}", "a.7z"]}),
        ({"argv": ["/bin/mysql", "-px"]}, {"argv": ["/bin/mysql", f"-p{R}"]}),
        (
            {"headers": ["X-Api-Key", "x", "Accept", "*"]},
            {"headers": ["X-Api-Key", R, "Accept", "*"]},
        ),
    ],
)
def test_a_secret_is_found_in_these_shapes(details: dict[str, Any], left: dict[str, Any]) -> None:
    assert details_after(details) == left
    assert details_after(left) == left


def test_every_field_loses_a_secret_that_details_name() -> None:
    event = Event("note", "debug", "info", "m", {"token": "hunter2"}, 1, "0" * 16, 1)
    after = Redactor()(replace(event, run_id="run-hunter2", source="run-hunter2"))
    assert (after.run_id, after.source) == (f"run-{R}", f"run-{R}")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            "https://discord.com/api/v10/webhooks/1/abc",
            f"https://discord.com/api/v10/webhooks/{R}",
        ),
        (
            "https:\\/\\/hooks.slack.com\\/services\\/T0\\/B0\\/x",
            f"https:\\/\\/hooks.slack.com\\/{R}",
        ),
        ("hf_token ......... x1", f"hf_token ......... {R}"),
        ("wandb_api_key .... x1", f"wandb_api_key .... {R}"),
        ("password        : x", f"password        : {R}"),
        ("auth=('bob', 'pw')", f"auth={R}"),
        ("curl -ubob:pw h", f"curl -ubob:{R} h"),
        ("curl --user=bob:pw", f"curl --user=bob:{R}"),
        ("password: |\n  s3cret\nuser: x", f"password: |\n  {R}\nuser: x"),
        ("password: >-\n  a\n  b\nuser: x", f"password: >-\n  {R}\nuser: x"),
        ("<password><![CDATA[x]]>", f"<password><![CDATA[{R}]]>"),
        ('<entry key="password">x</entry>', f'<entry key="password">{R}</entry>'),
        ('<password value="x"/>', f'<password value="{R}"/>'),
        ("&quot;password&quot;:&quot;x&quot;", f"&quot;password&quot;:&quot;{R}&quot;"),
        ("password -> x", f"password -> {R}"),
        (f"token_ghp_{LETTERS}", f"token_{R}"),
        (f"key_sk-ant-{LETTERS}", f"key_{R}"),
        ("postgres://u:wrong@h", f"postgres://u:{R}@h"),
        ("https://u:$ABCD@h", f"https://u:{R}@h"),
        ("otp: 123456", f"otp: {R}"),
        ("webhook_url=abc", f"webhook_url={R}"),
    ],
)
def test_a_secret_is_found_in_these_texts(text: str, left: str) -> None:
    assert clean_text(text) == left
    assert clean_text(left) is left
    assert details_after({"note": text}) == {"note": left}
