"""What is taken for a secret: names, forms of text, and what only looks like one, as data.

docs/redaction.md shows these tables to users; tests/redaction holds the two together.
What public scanners look for (detect-secrets, gitleaks) was read; the rules are our own.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

REDACTED: Final = "[redacted]"

# fmt: off
PASSWORDS: Final = frozenset((
    "password", "passwd", "pwd", "passphrase", "passcode", "passwort", "userpass", "dbpass",
    "sshpass", "rootpass", "adminpass", "mypass", "dbpw", "mypw", "passkey", "kennwort", "senha",
    "contrasena", "wachtwoord", "passord", "motdepasse",
))
"""A name whose last word is one of these, or ends with one of five letters or more, is secret."""

WORDS: Final = frozenset((
    "secret", "authorization", "credential", "cred", "cookie", "bearer", "dsn", "jwt", "webhook",
    "auth", "otp", "totp", "psk", "apikey", "phpsessid", "jsessionid", "sessionid", "sessid",
))
"""The same for other words: `auth`, `client_secret`, `Cookie`."""

PHRASES: Final = frozenset((
    "session_id", "session_ids", "session_key", "connect_sid", "connection_string",
    "connection_strings", "conn_str", "conn_string", "connect_string", "webhook_url",
    "webhook_urls", "secret_id", "auth_header", "authorization_header", "cookie_header",
    "shared_access_signature", "amz_signature", "goog_signature", "mot_de_passe", "de_passe",
    "seed_phrase", "authorization_code", "oauth_code",
))
"""Names that end with these words together."""

KEYS_OF: Final = frozenset((
    "api", "access", "private", "secret", "signing", "encryption", "decryption", "auth", "master",
    "ssh", "account", "shared", "license", "licence", "deploy", "deployment", "storage", "service",
    "session", "consumer", "subscription", "functions", "hmac", "rsa", "dsa", "ecdsa", "ed25519",
    "pgp", "gpg", "ssl", "tls", "client", "server", "admin", "root", "write", "ingest", "webhook",
    "app", "application", "integration", "wandb", "openai", "anthropic", "hf", "huggingface",
    "aws", "azure", "gcp", "google", "github", "gitlab", "slack", "stripe", "sendgrid", "twilio",
    "mistral", "groq", "cohere", "replicate", "comet", "neptune", "mlflow", "pinecone", "kaggle",
    "datadog", "dd", "sentry", "crypto", "cipher", "aes", "fernet", "vault", "recovery", "bearer",
    "priv", "preshared", "jwt", "token", "redis", "mongo", "gemini", "deepseek", "claude", "gpt",
    "llm", "nvidia", "ngc", "perplexity", "together", "fireworks", "openrouter", "xai", "grok",
    "voyage", "jina", "elevenlabs", "deepgram", "assemblyai", "stability", "cerebras", "sambanova",
    "serpapi", "serper", "tavily", "langchain", "langsmith", "langfuse", "helicone", "weaviate",
    "qdrant", "runpod", "moonshot", "zhipu", "dashscope", "qwen", "kimi", "minimax", "mailgun",
    "cloudflare", "supabase", "firebase", "algolia", "mapbox", "discord", "telegram", "grafana",
    "clearml",
))
"""`<one of these>_key` is secret: `api_key`, `accountKey`, `X-Api-Key`; `key` alone is not."""

WEAK_KEYS_OF: Final = frozenset((
    "storage", "write", "root", "wandb", "mlflow", "comet", "neptune", "clearml", "server",
    "client", "app", "application", "shared", "service", "functions",
))
"""`<one of these>_key` may also be a name of data: `storage_key: runs/1`."""

OWNERS: Final = frozenset((
    "openai", "anthropic", "gemini", "deepseek", "mistral", "groq", "cohere", "hf", "huggingface",
    "wandb", "aws", "azure", "gcp", "google", "github", "gitlab", "slack", "stripe", "db",
    "database", "mysql", "postgres", "redis", "mongo", "root", "admin",
))
"""Last words that do not count after a password, a token, a key or a secret: `api_key_openai`."""

NO_PASSES: Final = frozenset((
    "com", "by", "encom", "tres", "sur", "over", "under", "pre", "post", "re", "out", "im", "fast",
    "bi", "go", "sub", "unit", "mid",
))
"""`<one of these>pass` is a word, as is each of PASSES with it: `compass`, `lowpass`."""

PASS_WORDS: Final = frozenset((
    "eval", "done", "train", "test", "forward", "backward", "validation", "inference", "warmup",
    "running", "complete", "completed", "finished", "started", "skipped", "skip", "fail", "all",
))
"""What is no password after `pass:`."""

FOREIGN: Final = (
    "contraseña", "contrasen\u0303a", "lösenord", "hasło", "şifre", "пароль", "密码", "密碼",
    "口令", "パスワード", "비밀번호", "암호",
    "mật khẩu", "รหัสผ่าน", "κωδικός", "סיסמה", "كلمة المرور",
)
"""Words for a password with letters beyond ASCII; a name that contains one is secret."""

VOCABULARY: Final = frozenset((
    "eos", "bos", "pad", "unk", "cls", "sep", "mask", "next", "last", "first", "special", "stop",
    "start", "end", "per", "image", "audio", "video", "text", "best", "worst", "top", "prompt",
    "completion", "input", "output", "total", "max", "min", "num", "n", "new", "generated",
    "cached", "reasoning", "context", "train", "eval", "test", "padding", "sub", "multi", "mean",
    "avg", "average", "sum", "seen", "billion", "million", "unexpected", "target", "source",
    "predicted", "vocab", "added", "draft", "accepted", "rejected", "visual", "of", "tool", "word",
    "used", "processed", "remaining", "left", "valid", "consumed", "trained", "sampled", "decoded",
    "pred", "gold", "answer", "prefix", "suffix", "middle", "label", "reference", "true", "correct",
    "wrong", "question", "expected", "actual", "begin", "control", "sentinel", "space", "newline",
    "chosen", "candidate", "greedy", "likely", "rare", "common", "frequent", "masked", "class",
    "patch", "register", "latent", "thinking", "whitespace", "byte", "subword", "separator",
    "delimiter", "fim", "encoder", "decoder", "option", "choice", "noise", "dummy", "trigger",
))
"""`<one of these>_token(s)` speaks of text: `eos_token`, `max_tokens`, "unexpected token: }"."""

PASSES: Final = frozenset((
    "forward", "backward", "first", "second", "third", "last", "final", "next", "single", "multi",
    "two", "one", "low", "high", "band", "by", "test", "tests", "eval", "train", "warmup", "full",
    "dry", "num", "n", "total", "per", "did", "all", "each", "must", "checks", "check", "can",
    "will", "should", "not", "to", "quick", "render", "optimization", "compiler",
))
"""`<one of these>_pass` is no password."""

ENDINGS: Final = frozenset((
    "value", "values", "plain", "plaintext", "b64", "base64", "hash", "prod", "production", "dev",
    "staging", "confirm", "confirmation", "repeat", "again", "old", "current", "previous",
    "encrypted", "var", "str", "string", "text", "v", "new", "raw", "data", "list", "pem",
    "code", "b",
))
"""Last words that do not count: `password_confirmation`, `TOKEN_PROD`, `secret_2`."""

SAY_NOTHING: Final = frozenset((
    "", "true", "false", "none", "null", "nil", "undefined", "nan", "yes", "no", "on", "off", "n/a",
    "required", "missing", "invalid", "expired", "wrong", "incorrect", "denied", "failed", "ok",
    "unset", "set", "empty", "enabled", "disabled", "optional", "hidden", "masked", "unknown",
    "unauthorized", "not", "is", "was", "must", "has", "cannot", "basic", "bearer", "oauth",
    "oauth2", "password", "token", "passed", "valid", "str", "string", "secretstr",
    "int", "float", "bool", "bytes", "any", "dict", "list", "success", "successful", "failure",
    "error", "found", "loaded", "verified", "accepted", "rejected", "refused", "changed", "reset",
    "updated", "used", "created",
))
"""Values that are kept under any name."""
# fmt: on

PLACEHOLDER: Final = re.compile(
    r"[*•]{1,64}|[xX]{3,64}|\.{2,10}|<[^<>]{0,64}>|\$\{[^{}]{1,64}\}|\$[A-Z_]{4,64}|\$\([^()]{1,64}\)"
    r"|\{\{?[\w. ]{0,64}\}\}?|%\(?\w{0,64}\)?s|\[(?:redacted|filtered|masked|hidden|removed)\]",
    re.IGNORECASE,
)
"""Values that stand for a secret and are none."""

_COUNT: Final = (
    r"[~≈<>≤≥±$€£+-]{0,3}\s?(?:\d[\d.,_]{0,31}(?:[\s\u202f]\d{3}){0,5}|\.\d{1,16})(?:e[+-]?\d{1,4})?"
    r"\s?(?:%|usd|eur|[kmbgtp]?i?b?(?:\s?(?:tok(?:en)?s?|words?|chars?|samples?|seqs?|bytes|steps?"
    r"|total|left|used))?|m?s|min|h)(?:/\w{1,8})?"
)
COUNT: Final = re.compile(
    rf"\(?{_COUNT}(?:\s?(?:/|of|-|–|to|out of|\+)\s?{_COUNT}){{0,3}}\)?", re.IGNORECASE
)
"""What may stand under the name of a count: `~12k`, `512 / 1024`, `12 345`, `5 tok/s`, `12 GiB`."""

MAX_COUNT: Final = 64
"""Characters of a count."""

NUMBER: Final = re.compile(r"[+-]?[\d.,_]{1,32}(?:e[+-]?\d{1,4})?\s?[kmbgt]?(?:/\w{1,8})?%?", re.I)
"""A count: `512`, `51,234`, `1.5k`, `3e9`, `120/s`."""

SCHEMES: Final = (
    "bearer",
    "basic",
    "token",
    "apikey",
    "api-key",
    "bot",
    "key",
    "splunk",
    "negotiate",
)
"""Words before the one secret word of an `Authorization`."""

LONG_SCHEMES: Final = ("digest", "aws4-hmac-sha256", "oauth", "hawk", "signature", "ntlm")
"""Schemes whose secret is the whole rest of the line."""

NAME_HINTS: Final = (
    "pass", "pw", "secret", "token", "key", "auth", "cookie", "cred", "sess", "conn", "dsn",
    "jwt", "sig", "otp", "psk", "bearer", "hook", "phrase", "kennwort", "senha",
    "contrasena", "wachtwoord",
)  # fmt: skip
"""One of these stands in every name that can be found in text."""


BEYOND_ASCII: Final = "\x80"
"""The mark of hints that only a text beyond ASCII can have."""


class Form(NamedTuple):
    """A secret that is known by its form.

    hint: stands in every such text, in this case (lower case where `any_case`).
    pattern: group 1, or all of it, is the secret. No part of it may need more than linear time.
    mixed: whether it must have a digit, so that words with hyphens are no secret.
    key: whether it must look like a key: words, numbers, names of data and paths are none.
    mark: a character that every such text has, where the hint has none that is rare.
    """

    name: str
    hint: str
    pattern: str
    mixed: bool = False
    mark: str = ""
    key: bool = False


EDGE: Final = r"(?:(?<![\w-])|(?<=\\[nrt]))"
"""Where a word begins, also after an escaped line end."""

EDGE_OR_NAME: Final = r"(?:(?<![\w-])|(?<=\\[nrt])|(?<=[A-Za-z]_))"
"""The same, and after `token_` or `key_`; only for forms that match once they are read."""

SCHEMES_WITH_PASSWORDS: Final = frozenset((
    "http", "https", "ws", "wss", "ftp", "ftps", "sftp", "ssh", "git", "smtp", "smtps", "imap",
    "imaps", "ldap", "ldaps", "postgres", "postgresql", "mysql", "mariadb", "mssql", "oracle",
    "redis", "rediss", "valkey", "amqp", "amqps", "mqtt", "mqtts", "nats", "kafka", "mongodb",
    "clickhouse", "cassandra", "neo4j", "bolt", "couchdb", "influxdb", "elasticsearch", "socks5",
    "cockroachdb", "snowflake", "redshift", "tcp", "proxy", "db", "sqlserver",
))  # fmt: skip
"""Addresses whose passwords may have a slash; in those of other schemes it ends a name."""

# fmt: off
FORMS: Final[tuple[Form, ...]] = (
    Form("OpenAI, Anthropic and others", "sk-", EDGE_OR_NAME + r"sk-[\w-]{16,}+", True),
    Form("Stripe", "k_live_", EDGE_OR_NAME + r"[sr]k_live_\w{8,}+"),
    Form("Stripe", "k_test_", EDGE + r"[sr]k_test_\w{8,}+"),
    Form("webhook signature", "whsec_", r"whsec_[\w+/=]{16,}+"),
    Form("GitHub", "gh", EDGE_OR_NAME + r"gh[pousr]_\w{16,}+", mark="_"),
    Form("GitHub, Docker", "_pat_", r"(?:github|dckr)_pat_[\w-]{16,}+"),
    Form("GitLab", "gl",
         EDGE_OR_NAME + r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[\w.-]{16,}+"),
    Form("Google API key", "AIza", r"AIza[\w-]{30,}+"),
    Form("Google OAuth", "ya29.", r"ya29\.[\w-]{20,}+"),
    Form("Google client secret", "GOCSPX-", r"GOCSPX-[\w-]{20,}+"),
    Form("AWS access key id", "AKIA", EDGE_OR_NAME + r"AKIA[A-Z0-9]{16}(?!\w)"),
    Form("AWS access key id", "ASIA", EDGE_OR_NAME + r"ASIA[A-Z0-9]{16}(?!\w)"),
    Form("Slack", "xox", EDGE_OR_NAME + r"xox[a-z]-[\w-]{10,}+", mark="-"),
    Form("Slack", "xapp-", r"xapp-[\w-]{10,}+"),
    Form("Hugging Face", "hf_", EDGE_OR_NAME + r"hf_[A-Za-z0-9]{16,}+"),
    Form("npm", "npm_", EDGE_OR_NAME + r"npm_[A-Za-z0-9]{20,}+"),
    Form("PyPI", "pypi-", EDGE + r"pypi-[\w-]{16,}+", True),
    Form("JWT", "eyJ", EDGE + r"eyJ[\w-]{8,}+(?:\.[\w-]*+){1,4}"),
    Form("JSON in base64", "eyJ", r"eyJ(?:hcGlf|rIjoi)[\w+/=-]{16,}+"),
    Form("SendGrid", "SG.", EDGE + r"SG\.[\w-]{16,}+\.[\w-]{16,}+"),
    Form("Twilio", "SK", EDGE + r"SK[0-9a-f]{32}(?!\w)"),
    Form("Telegram bot", ":AA", r"(?<!\d)\d{6,12}:AA[\w-]{30,}+"),
    Form("Weights & Biases, DigitalOcean", "_v1_", r"(?:wandb|do[opr])_v1_\w{20,}+"),
    Form("Groq", "gsk_", EDGE_OR_NAME + r"gsk_\w{20,}+"),
    Form("xAI", "xai-", EDGE_OR_NAME + r"xai-[\w-]{20,}+"),
    Form("NVIDIA", "nvapi-", EDGE_OR_NAME + r"nvapi-[\w-]{20,}+"),
    Form("Perplexity", "pplx-", EDGE_OR_NAME + r"pplx-\w{20,}+"),
    Form("Replicate", "r8_", EDGE_OR_NAME + r"r8_\w{20,}+"),
    Form("Databricks", "dapi", EDGE_OR_NAME + r"dapi[0-9a-f]{32}"),
    Form("HashiCorp Vault", "hvs.", EDGE_OR_NAME + r"hvs\.[\w-]{20,}+"),
    Form("Grafana", "gl", EDGE_OR_NAME + r"gl(?:sa|c)_[\w+/=]{20,}+"),
    Form("Shopify", "shp", EDGE + r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}", mark="_"),
    Form("Linear", "lin_api_", r"lin_api_\w{20,}+"),
    Form("LangSmith", "lsv2_", EDGE_OR_NAME + r"lsv2_(?:pt|sk)_\w{20,}+"),
    Form("Atlassian", "AT", EDGE_OR_NAME + r"ATATT3[\w=-]{40,}+"),
    Form("Notion", "ntn_", EDGE_OR_NAME + r"ntn_[A-Za-z0-9]{40,}+"),
    Form("Notion", "secret_", EDGE + r"secret_[A-Za-z0-9]{43}(?!\w)", True),
    Form("Sentry", "sntry", EDGE_OR_NAME + r"sntry[su]_[\w+/=-]{40,}+", mark="_"),
    Form("Figma", "figd_", EDGE_OR_NAME + r"figd_[\w-]{30,}+"),
    Form("Doppler", "dp.", EDGE + r"dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{40,}+"),
    Form("Square", "sq0", EDGE_OR_NAME + r"sq0(?:atp|csp|idp)-[\w-]{20,}+", mark="-"),
    Form("Postman", "PMAK-", r"PMAK-[0-9a-f-]{30,}+"),
    Form("Supabase", "sbp_", EDGE_OR_NAME + r"sbp_[0-9a-f]{40}"),
    Form("RunPod", "rpa_", EDGE_OR_NAME + r"rpa_[A-Za-z0-9]{40,}+"),
    Form("Together", "tgp_v1_", r"tgp_v1_[\w-]{20,}+"),
    Form("Fireworks", "fw_", EDGE_OR_NAME + r"fw_[A-Za-z0-9]{22,24}(?!\w)", True),
    Form("Pinecone", "pcsk_", EDGE_OR_NAME + r"pcsk_\w{30,}+"),
    Form("Tavily", "tvly-", EDGE_OR_NAME + r"tvly-[\w-]{20,}+"),
    Form("Jina", "jina_", EDGE_OR_NAME + r"jina_\w{40,}+"),
    Form("New Relic", "NRAK-", EDGE_OR_NAME + r"NRAK-[A-Z0-9]{20,}+"),
    Form("Pulumi", "pul-", EDGE_OR_NAME + r"pul-[0-9a-f]{40}"),
    Form("AWS bearer token and others", "ABIA", EDGE_OR_NAME + r"ABIA[A-Z0-9]{16}(?!\w)"),
    Form("Stripe", "k_prod_", EDGE + r"[sr]k_prod_\w{8,}+"),
    Form("Amazon MWS", "mws.", r"amzn\.mws\.[0-9a-f-]{36}"),
    Form("Facebook", "EAA", EDGE_OR_NAME + r"EAA[MC][A-Za-z0-9]{40,}+"),
    Form("Alibaba", "LTAI", EDGE_OR_NAME + r"LTAI[A-Za-z0-9]{16,24}(?!\w)", True),
    Form("Clojars", "CLOJARS_", r"CLOJARS_[A-Za-z0-9]{40,}+"),
    Form("Flutterwave", "FLWSECK", r"FLWSECK_TEST-[\w-]{10,}+", mark="-"),
    Form("EasyPost", "EZ", EDGE_OR_NAME + r"EZ[AT]K[A-Za-z0-9]{40,}+", True),
    Form("Adobe", "p8e-", EDGE_OR_NAME + r"p8e-[A-Za-z0-9]{32}(?!\w)"),
    Form("Heroku", "HRKU-", r"HRKU-[\w-]{36,}+"),
    Form("Linear", "lin_oauth_", r"lin_oauth_\w{20,}+"),
    Form("New Relic", "NR", EDGE_OR_NAME + r"NR(?:II|JS|IQ|RA)-[\w-]{19,}+", mark="-"),
    Form("NuGet", "oy2", EDGE_OR_NAME + r"oy2[a-z0-9]{43}(?!\w)"),
    Form("PlanetScale", "pscale_", r"pscale_(?:tkn|pw|oauth|oat|secret)_[\w.=-]{20,}+"),
    Form("Prefect", "pnu_", EDGE_OR_NAME + r"pnu_[A-Za-z0-9]{36}(?!\w)"),
    Form("ReadMe", "rdme_", EDGE_OR_NAME + r"rdme_[a-z0-9]{60,}+"),
    Form("RubyGems", "rubygems_", r"rubygems_[0-9a-f]{48}"),
    Form("Shippo", "shippo_", r"shippo_(?:live|test)_[0-9a-f]{40}"),
    Form("Sourcegraph", "sgp_", EDGE_OR_NAME + r"sgp_(?:[0-9a-f]{16}_|local_)?[0-9a-f]{40}"),
    Form("Typeform", "tfp_", EDGE_OR_NAME + r"tfp_[\w.=-]{40,}+"),
    Form("HashiCorp Vault", "hv", EDGE_OR_NAME + r"hv[br]\.[\w-]{20,}+", mark="."),
    Form("Brevo", "xkeysib-", r"xkeysib-[\w-]{40,}+"),
    Form("Bitbucket", "AT", EDGE_OR_NAME + r"ATBB[A-Za-z0-9]{24,}+", True),
    Form("Atlassian", "AT", EDGE_OR_NAME + r"ATCTT3[\w=-]{40,}+"),
    Form("Cloudflare", "v1.0-", EDGE_OR_NAME + r"v1\.0-[0-9a-f]{24}-[0-9a-f]{100,}+"),
    Form("GitLab runner", "1348941", r"GR1348941[\w-]{20,}+"),
    Form("Docker", "_oat_", r"dckr_oat_[\w-]{16,}+"),
    Form("Contentful", "CFPAT-", r"CFPAT-[\w-]{40,}+"),
    Form("Yandex", "y0_", EDGE_OR_NAME + r"y0_[\w-]{40,}+"),
    Form("Yandex", "AQVN", EDGE_OR_NAME + r"AQVN[\w-]{35,}+", True),
    Form("PostHog", "phx_", EDGE_OR_NAME + r"phx_[A-Za-z0-9]{30,}+"),
    Form("Buildkite", "bkua_", EDGE_OR_NAME + r"bkua_[a-z0-9]{40}"),
    Form("Netlify", "nfp_", EDGE_OR_NAME + r"nfp_[A-Za-z0-9]{36,}+"),
    Form("Fly.io", "fm2_", EDGE_OR_NAME + r"fm2_[\w+/=,-]{40,}+"),
    Form("Fly.io", "fo1_", EDGE_OR_NAME + r"fo1_[\w-]{40,}+"),
    Form("Resend", "re_", EDGE + r"re_[A-Za-z0-9]{6,12}_[A-Za-z0-9]{20,}+", True),
    Form("Render", "rnd_", EDGE + r"rnd_[A-Za-z0-9]{28,}+", True),
    Form("Adafruit", "aio_", EDGE_OR_NAME + r"aio_[A-Za-z0-9]{28}(?!\w)", True),
    Form("Hugging Face", "api_org_", EDGE_OR_NAME + r"api_org_[A-Za-z]{34}"),
    Form("CircleCI", "CCIPAT_", r"CCIPAT_[\w-]{30,}+"),
    Form("Chutes", "cpk_", EDGE_OR_NAME + r"cpk_[0-9a-f]{32}\.[\w.]{20,}+"),
    Form("Anyscale", "esecret_", EDGE_OR_NAME + r"esecret_[A-Za-z0-9]{24,}+", True),
    Form("ElevenLabs", "sk_", EDGE + r"sk_[0-9a-f]{48}(?!\w)"),
    Form("Zapier, Zuplo", "zpka_", EDGE_OR_NAME + r"zpka_[\w-]{24,}+"),
    Form("Duffel", "duffel_", r"duffel_(?:live|test)_[\w-]{40,}+"),
    Form("Dropbox", "sl.", EDGE + r"sl\.(?:u\.)?[AB][\w-]{100,}+"),
    Form("Dynatrace", "dt0c01.", r"dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    Form("Airtable", "pat", EDGE + r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}", mark="."),
    Form("Azure", "Q~", r"(?<![\w.~-])[\w.~-]{3}\dQ~[\w.~-]{31,34}(?![\w~-])", mark="~"),
    Form("Modal", "k-", EDGE + r"ak-[A-Za-z0-9]{20,24}(?!\w)", True),
    Form("Modal", "s-", EDGE + r"as-[A-Za-z0-9]{20,24}(?!\w)", True),
    Form("1Password", "A3-",
         EDGE + r"A3-[A-Z0-9]{6}-[A-Z0-9]{6,11}-(?:[A-Z0-9]{5}-){2,3}[A-Z0-9]{5}"),
    Form("Firebase messaging", ":APA91", r"[\w-]{11}:APA91[\w-]{100,}+", mark=":"),
    Form("1Password", "ops_", EDGE_OR_NAME + r"ops_eyJ[\w+/=-]{40,}+"),
)
"""Only looked for in texts with a word of MIN_FORM characters."""

MIN_FORM: Final = 18
# fmt: on

Span = tuple[int, int]
"""Where a secret begins and ends."""

Finder = Callable[[str, str], "list[Span]"]
"""Takes a text and the same in lower case; returns where secrets are."""
