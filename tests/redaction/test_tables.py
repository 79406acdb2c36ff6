"""Secrets in lists, tables, sentences and command lines that spread over cells, lines or words."""

from typing import Any

import pytest

from realm_telemetry.event import Event
from realm_telemetry.redaction import REDACTED, REDACTED_KEY, Redactor
from realm_telemetry.redaction.text import ALL_HINTS, clean_text, is_plain

R = REDACTED
AB = "aB1" * 20

LISTS = [
    ("tokens:\n  - abc123def\n  - qw456\nuser: x", f"tokens:\n  - {R}\n  - {R}\nuser: x"),
    ("tokens:\n- abc123\nuser: x", f"tokens:\n- {R}\nuser: x"),
    ("tokens:\n  - the\n  - abc123def9\n", f"tokens:\n  - the\n  - {R}\n"),
    ("passwords:\n  - a\n  - 'b c'  # ours\nu: x", f"passwords:\n  - {R}\n  - {R}  # ours\nu: x"),
    ("api_keys:\n    - a\n\nu: x", f"api_keys:\n    - {R}\n\nu: x"),
    ("a: 1\npassword:\n  x\nu: y", f"a: 1\npassword:\n  {R}\nu: y"),
    ("password:\n          x\nu: y", f"password:\n          {R}\nu: y"),
    ("secrets:\n  db: x\n  n: ''\nu: y", f"secrets:\n  db: {R}\n  n: ''\nu: y"),
    ("creds:\n  - user: b\n    value: hunter2", f"creds:\n  - user: b\n    value: {R}"),
    ("got tokens:\n- abc123\n- def456\n", f"got tokens:\n- {R}\n- {R}\n"),
    ("- passwords:\n    - x\n  u: y", f"- passwords:\n    - {R}\n  u: y"),
    ('password = """\nx\ny"""\nu=1', f'password = """\n{R}"""\nu=1'),
    ("api_key='''x'''\nu=1", f"api_key='''{R}'''\nu=1"),
    ('token = """\na1b2c3d4e5\n"""', f'token = """\n{R}"""'),
]

TABLES = [
    (
        "| user | password |\n|---|---|\n| b | x |\n",
        f"| user | password |\n|---|---|\n| b | {R} |\n",
    ),
    ("| api_key |  | n |\n| x |  | 1 |\nend", f"| api_key |  | n |\n| {R} |  | 1 |\nend"),
    ("user\tpassword\nb\tx1\nc\tx2\n", f"user\tpassword\nb\t{R}\nc\t{R}\n"),
    ("user\tpassword\th\nb\t\th1\nc\tx2\th2", f"user\tpassword\th\nb\t\th1\nc\t{R}\th2"),
    ('user,password\nb,"x, y"\nc,z\n', f'user,password\nb,"{R}"\nc,{R}\n'),
    ("user;token;h\nb;abc123def;h\n", f"user;token;h\nb;{R};h\n"),
    ("user  password  h\nb     x         y\n", f"user  password  h\nb     {R}         y\n"),
    ("  user  password\n0  b     x\n1  c     y", f"  user  password\n0  b     {R}\n1  c     {R}"),
    (
        "+--+--+\n| user | pwd |\n+--+--+\n| b | x |",
        f"+--+--+\n| user | pwd |\n+--+--+\n| b | {R} |",
    ),
    ("┃ user ┃ token ┃\n┡━━╇━━┩\n│ b │ qw1er2ty3 │", f"┃ user ┃ token ┃\n┡━━╇━━┩\n│ b │ {R} │"),
    ("| user | pass |\n| b | hunter2 |", f"| user | pass |\n| b | {R} |"),
    ("| lr | 0.1 |\n| password | x |", f"| lr | 0.1 |\n| password | {R} |"),
    ("password\thunter2", f"password\t{R}"),
    ("  password   hunter2", f"  password   {R}"),
]

SENTENCES = [
    *(
        (f"{name}: x1", f"{name}: {R}")
        for name in (
            *("mot de passe", "Mot de Passe ", "Passwort", "Kennwort", "contraseña", "Contraseñas"),
            *("contrasena", "senha", "wachtwoord", "passord", "hasło", "пароль", "密码", "口令"),
            *("パスワード", "비밀번호", "lösenord", "κωδικός"),
        )
    ),
    ("密码：x1", f"密码：{R}"),
    ("the secret is: x", f"the secret is: {R}"),
    ("the secret is hunter2", f"the secret is {R}"),
    ("password is: x", f"password is: {R}"),
    ("Your password is 1234.", f"Your password is {R}"),
    ("the password is sesame", f"the password is {R}"),
    ("Das Passwort lautet: x", f"Das Passwort lautet: {R}"),
    ("le mot de passe est : sesame", f"le mot de passe est : {R}"),
    ("your token is abc123def456", f"your token is {R}"),
    ("the API key is abc123def456", f"the API key is {R}"),
    ("login with password hunter2x failed", f"login with password {R} failed"),
    ("USER b\r\nPASS x\r\n", f"USER b\r\nPASS {R}\r\n"),
    (
        "GRANT X ON y TO 'b'@'h' IDENTIFIED BY 'x'",
        f"GRANT X ON y TO 'b'@'h' IDENTIFIED BY '{R}'",
    ),
    ("requirepass x", f"requirepass {R}"),
    ("masterauth x", f"masterauth {R}"),
    ("ENV DB_PASSWORD x", f"ENV DB_PASSWORD {R}"),
    ("setenv API_KEY x", f"setenv API_KEY {R}"),
]

COMMANDS = [
    (r"net use X: \\host\share x1 /user:u", rf"net use X: \\host\share {R} /user:u"),
    (r"net use \\host\share /user:D\u x1", rf"net use \\host\share /user:D\u {R}"),
    ("b:$apr1$abcdefgh$0123456789abcdefghijkl", f"b:$apr1${R}"),
    ("b:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", f"b:{{SHA}}{R}"),
    (f"b:$2y$05${AB[:53]}", f"b:$2y${R}"),
    (f"root:$6$salt${AB}:19000:0:99999:7:::", f"root:$6${R}:19000:0:99999:7:::"),
    ("echo x1 | sudo -S apt", f"echo {R} | sudo -S apt"),
    ("echo 'x1' | docker login --password-stdin", f"echo '{R}' | docker login --password-stdin"),
    ("echo b:x1 | chpasswd", f"echo b:{R} | chpasswd"),
    ("htpasswd -cb f bob x1", f"htpasswd -cb f bob {R}"),
    ("smbclient -U b%x1 //h/s", f"smbclient -U b%{R} //h/s"),
    ("ldapsearch -x -D cn=a -w x1", f"ldapsearch -x -D cn=a -w {R}"),
    ("mongo -u b -p x1", f"mongo -u b -p {R}"),
    ("sqlcmd -U sa -P x1 -Q q", f"sqlcmd -U sa -P {R} -Q q"),
    ("rar a -hpx1 f", f"rar a -hp{R} f"),
    ("ssh-keygen -t rsa -N 'x1' -f k", f"ssh-keygen -t rsa -N '{R}' -f k"),
    ("schtasks /create /ru b /rp x1", f"schtasks /create /ru b /rp {R}"),
    ("ConvertTo-SecureString 'x1' -AsPlainText", f"ConvertTo-SecureString '{R}' -AsPlainText"),
]


@pytest.mark.parametrize(("text", "left"), LISTS + TABLES + SENTENCES + COMMANDS)
def test_a_secret_is_taken_out_and_its_neighbours_stay(text: str, left: str) -> None:
    assert clean_text(text) == left
    assert not is_plain(text, ALL_HINTS)
    assert clean_text(left) is left
    event = Event("note", "debug", "info", "hello", {"n": text}, 1, "0123456789abcdef", 1)
    assert Redactor()(event).details["n"] == left


@pytest.mark.parametrize(
    "secret",
    [
        *(f"ABIA{'A1' * 8}", f"sk_prod_{AB}", f"amzn.mws.{'4ea3' * 2}-b7b1-4ea3-4ea3-{'4ea3' * 3}"),
        *(f"EAAC{AB}", f"LTAI5t{AB[:16]}", f"CLOJARS_{AB}", f"FLWSECK_TEST-{AB}", f"EZAK{AB}"),
        *(f"p8e-{'a1' * 16}", f"HRKU-AA{AB}", f"lin_oauth_{AB}", f"NRII-{AB}", f"oy2{'a' * 43}"),
        *(f"pscale_tkn_{AB}", f"pnu_{'a1' * 18}", f"rdme_{'a1' * 35}", f"rubygems_{'a1' * 24}"),
        *(
            f"shippo_live_{'a1' * 20}",
            f"sgp_{'a1' * 20}",
            f"tfp_{AB}",
            f"hvb.{AB}",
            f"ATBB{AB[:24]}",
        ),
        *(f"xkeysib-{'a1' * 32}-{AB[:16]}", f"ATCTT3xFf{AB}", f"v1.0-{'a1' * 12}-{'a1' * 73}"),
        *(f"GR1348941{AB[:20]}", f"dckr_oat_{AB[:32]}", f"CFPAT-{AB}", f"y0_AgAA{AB}"),
        *(f"ATBB{AB[:24]}", f"AQVN{AB}", f"pat{AB[:14]}.{'a1' * 32}"),
        *(f"phx_{AB[:43]}", f"bkua_{'a1' * 20}", f"nfp_{AB[:36]}", f"fm2_{AB}", f"rnd_{AB[:32]}"),
        *(f"re_aB1cD2eF_{AB[:24]}", f"aio_{'aB1x' * 7}", f"api_org_{'aB' * 17}", f"sk_{'a1' * 24}"),
        *(f"CCIPAT_{AB[:22]}_{'a1' * 20}", f"cpk_{'a1' * 16}.{AB[:32]}", f"esecret_{AB[:28]}"),
        *(
            f"zpka_{AB[:40]}",
            f"duffel_live_{AB[:43]}",
            f"sl.B{AB * 2}",
            f"pat{AB[:14]}.{'a1' * 32}",
        ),
        *(f"abc8Q~{AB[:34]}", f"ak-{AB[:22]}", f"as-{AB[:22]}", f"dt0c01.{'A1' * 12}.{'B2' * 32}"),
        *(f"{AB[:11]}:APA91{AB * 2}", "A3-ABCDEF-ABCDEF-ABCDE-ABCDE-ABCDE", f"fo1_{AB[:43]}"),
    ],
)
def test_a_token_of_a_service_is_known_by_its_form(secret: str) -> None:
    assert clean_text(f"sent {secret}, ok").startswith(f"sent {R}")
    event = Event("note", "debug", "info", f"(x {secret})", {}, 1, "0123456789abcdef", 1)
    assert secret not in Redactor()(event).message


@pytest.mark.parametrize(
    ("details", "left"),
    [
        ({"contraseña": "x"}, {"contraseña": R}),
        ({"密码": 1, "mot de passe": "x"}, {"密码": R, "mot de passe": R}),
        (
            {"columns": ["user", "password"], "data": [["b", "x"], ["c", 12]]},
            {"columns": ["user", "password"], "data": [["b", R], ["c", R]]},
        ),
        (
            {"fields": ["api_key", "n"], "rows": [["x", 1]]},
            {"fields": ["api_key", "n"], "rows": [[R, 1]]},
        ),
        (
            {"t": {"columns": ["token", "p"], "data": [["bfloat16", 1], ["a1b2c3d4e5", 2]]}},
            {"t": {"columns": ["token", "p"], "data": [["bfloat16", 1], [R, 2]]}},
        ),
        (
            {"table": [["user", "password"], ["b", "x"]]},
            {"table": [["user", "password"], ["b", R]]},
        ),
        (
            {"table": [["h", "n", "api_key"], ["b", 1, "x"]]},
            {"table": [["h", "n", "api_key"], ["b", 1, R]]},
        ),
    ],
)
def test_a_column_of_a_table_in_details_is_taken_out(
    details: dict[str, Any], left: dict[str, Any]
) -> None:
    event = Event("note", "debug", "info", "hello", details, 1, "0123456789abcdef", 1)
    after = Redactor()(event)
    assert {name: value for name, value in after.details.items() if name != REDACTED_KEY} == left
    assert Redactor()(after) is after


@pytest.mark.parametrize(
    "details",
    [
        {"columns": ["step", "loss"], "data": [[1, 0.5]]},
        {"columns": ["token", "p"], "data": [["the", 0.5], ["Ġ2024", 0.1], ["int32", 0.2]]},
        {"columns": ["Password", "name"]},
        {"table": [["step", "loss", "tokens"], [1, 0.5, 5123]]},
        {"pairs": [["a", "b"], ["c", "d"]]},
    ],
)
def test_a_table_of_a_training_stays(details: dict[str, Any]) -> None:
    event = Event("note", "debug", "info", "hello", details, 1, "0123456789abcdef", 1)
    assert Redactor()(event) is event
