"""Secrets in sentences, command lines and addresses, as data."""

from typing import Final

from realm_telemetry.redaction.rules import BEYOND_ASCII, FOREIGN, Form

_PASSWORD: Final = r"pass(?:word|wort|phrase|code)"
_IS: Final = r"(?:is(?:\s{1,3}now)?|was|ist|lautet)"
_VALUE: Final = r"[\"'`]?([^\s\"'`<>,;]{1,256}+)"
_VALUE_OF_4: Final = r"[\"'`]?([^\s\"'`]{4,256}+)"
_WORD: Final = r"[\"']?([^\s\"'-][^\s\"']{0,255}+)"
_TYPED: Final = r"([^\s\"'|$]{1,256}+)"
_ECHO: Final = r"echo\s{1,4}(?:-n\s{1,4})?[\"']?"
_ADJECTIVES: Final = (
    "ed|ing|[ai]ble|ical|less|ful|ly|word|ong|ort|ect|urs|ine|here|th|ent|ant|ory|ive|own|ost|eak"
    "|alid|ank|pty|lank|null|none"
)
"""How words end that may follow `password is` at the end of a sentence and are no password."""

# fmt: off
LOOSE_FORMS: Final[tuple[Form, ...]] = (
    Form("Weights & Biases", "wandb",
         r"wandb(?:\s{1,3}|[_.-])(?:login|api|key)[\w .:=\"'-]{0,40}?"
         r"(?<![0-9a-f])([0-9a-f]{40})(?![0-9a-f])"),
    Form("Slack", "hook", r"hooks\.slack\.com\\{0,4}/([^\s\"'<>]++)"),
    Form("Discord", "hook",
         r"discord(?:app)?\.com\\{0,4}/api"
         r"(?:\\{0,4}/v\d{1,3})?\\{0,4}/webhooks\\{0,4}/([^\s\"'<>]++)"),
    Form("Teams", "hook", r"webhook\.office\.com\\{0,4}/([^\s\"'<>]++)"),
    Form("Zapier, Feishu", "hook",
         r"(?:zapier\.com\\{0,4}/hooks|/bot\\{0,4}/"
         r"v2\\{0,4}/hook)\\{0,4}/([^\s\"'<>]++)"),
    Form("Telegram", "//", r"api\.telegram\.org/bot([^\s\"'<>/]++)"),
    Form("curl", "-u", r"(?<!\w)(?:-u|--user)[\s=]{1,3}[\"']?[\w.@+-]{1,64}:([^\s\"']++)"),
    Form("curl", "-u",
         r"curl\s(?:[^\n]{0,200}?\s)?-u[\"']?[\w.@+-]{1,64}:([^\s\"']++)"),
    Form("docker, podman", "-u", r"login\s[^\n]{0,120}?\s-p[\s=]{1,3}[\"']?([^\s\"'-][^\s\"']*+)"),
    Form("mysql", "mysql", r"mysql\w{0,8}\s(?:[^\n]{0,120}?\s)?-p([^\s\"']{1,256}+)", mark=" -"),
    Form("7-Zip", "7z",
         r"(?<!\w)7z\w?\s{1,3}[a-z]{1,2}\s[^\n]{0,120}?(?<!\S)-p([^\s\"']{1,256}+)", mark=" -"),
    Form("redis-cli", "redis",
         r"redis-cli\s(?:[^\n]{0,120}?\s)?-a\s{1,3}[\"']?([^\s\"']{1,256}+)", mark=" -"),
    Form("zip", "zip",
         r"zip\s[^\n]{0,120}?(?<!\S)(?-i:-P)\s{0,3}[\"']?([^\s\"']{1,256}+)", mark=" -"),
    Form("openssl", "openssl",
         r"openssl\s[^\n]{0,120}?\s-k\s{1,3}[\"']?([^\s\"']{1,256}+)", mark=" -"),
    Form("aws", "aws",
         r"aws\s{1,3}configure\s{1,3}set\s{1,3}\S{0,64}(?:secret|token)\S{0,64}\s{1,3}(\S++)"),
    Form("Kaggle", "username",
         r"username\\{0,4}[\"']\s{0,3}:\s{0,3}\\{0,4}[\"'][^\"'\\]{1,64}+\\{0,4}[\"']\s{0,3},\s{0,3}"
         r"\\{0,4}[\"']key\\{0,4}[\"']\s{0,3}:\s{0,3}\\{0,4}[\"']([0-9a-f]{32})(?![0-9a-f])"),
    Form("a sentence", "pass", r"password\s{1,3}(?:is\s{1,3})?[\"'`]([^\s\"'`]{4,256}+)[\"'`]"),
    Form("a sentence", "pass",
         rf"{_PASSWORD}\w{{0,8}}\s{{1,3}}{_IS}\s{{0,3}}:\s{{0,3}}{_VALUE}(?![ \t]{{1,3}}[A-Za-z])"),
    Form("a sentence", "pass",
         rf"{_PASSWORD}\s{{1,3}}{_IS}\s{{0,3}}:?\s{{0,3}}(?=\S{{0,64}}[\d@$!#%^&*]){_VALUE_OF_4}"),
    Form("a sentence", "pass",
         rf"{_PASSWORD}\s{{1,3}}{_IS}\s{{1,3}}(?!(?:\w{{0,24}}(?:{_ADJECTIVES})|same|secret)\b)"
         r"([a-z]{4,32})(?=[.!]?\s{0,3}(?:\n|\Z))"),
    Form("a sentence", "pass",
         rf"mot de passe\s{{1,3}}(?:est|c'est)\s{{0,3}}:?\s{{0,3}}{_VALUE_OF_4}"),
    Form("a sentence", "pass",
         rf"(?:with|using)\s{{1,3}}(?:the\s{{1,3}})?password\s{{1,3}}(?=\D{{0,64}}\d){_VALUE_OF_4}",
         key=True),
    Form("a sentence", "secret",
         rf"secret\s{{1,3}}{_IS}\s{{0,3}}:\s{{0,3}}{_VALUE}(?![ \t]{{1,3}}[A-Za-z])"),
    Form("a sentence", "secret",
         rf"secret\s{{1,3}}{_IS}\s{{1,3}}(?=[a-z]{{1,64}}\d){_VALUE_OF_4}(?![ \t]{{1,3}}[A-Za-z])"),
    *(
        Form("a sentence", hint,
             rf"{word}\s{{1,3}}{_IS}\s{{0,3}}:?\s{{0,3}}{_VALUE_OF_4}", key=True)
        for hint, word in (("secret", "secret"), ("token", "token"), ("key", "(?:api|access) key"))
    ),
    Form("FTP, POP", "pass", r"user \S{1,255}[ \t]{0,4}\r?\n[^\n\w]{0,40}pass (\S{1,512}+)"),
    Form("Redis", "pass", r"requirepass\s{1,4}[\"']?([^\s\"']{1,512}+)"),
    Form("Redis", "auth", r"masterauth\s{1,4}[\"']?([^\s\"']{1,512}+)"),
    Form("chpasswd", "pass",
         rf"[\"']?[\w.-]{{1,64}}:{_TYPED}[\"']?\s{{0,4}}\|\s{{0,4}}(?:sudo\s{{1,4}})?chpasswd"),
    Form("to a program", "pass",
         rf"{_ECHO}{_TYPED}[\"']?\s{{0,4}}\|[^\n|]{{0,120}}(?:--password-stdin|passwd\s{{1,4}}--stdin)"),
    Form("sudo", "sudo -", rf"{_ECHO}{_TYPED}[\"']?\s{{0,4}}\|\s{{0,4}}sudo\s{{1,4}}-\w{{0,4}}s"),
    Form("htpasswd", "pass",
         r"htpasswd\s{1,4}-\w{0,4}b\w{0,4}\s{1,4}(?:-\w{1,4}\s{1,4}){0,4}(?:\S{1,255}\s{1,4}){1,2}"
         r"(\S{1,255}+)"),
    Form("net use", "\\\\",
         r"net\s{1,4}use\s{1,4}(?:\S{1,3}\s{1,4})?\\{2,8}\S{1,255}+"
         r"(?:\s{1,4}/\S{1,255}+){0,6}\s{1,4}([^\s/*]\S{0,255}+)"),
    Form("SMB", "%", r"smb\w{1,12}\s[^\n]{0,200}?-u\s{0,3}[\w.\\@-]{1,64}%(\S{1,255}+)"),
    Form("LDAP", " -w", rf"ldap\w{{3,12}}\s(?:[^\n]{{0,200}}?\s)?-w\s{{1,3}}{_WORD}"),
    Form("MongoDB", " -p", rf"mongo\w{{0,10}}\s(?:[^\n]{{0,200}}?\s)?-p\s{{1,3}}{_WORD}"),
    Form("SQL Server, psexec", "-u",
         rf"(?:sqlcmd|bcp|isql|osql|psexec)\S{{0,8}}\s[^\n]{{0,200}}?\s-p\s{{0,3}}{_WORD}"),
    Form("RAR", " -hp", r"rar\s[^\n]{0,120}?\s-hp([^\s\"']{1,256}+)"),
    Form("ssh-keygen", "ssh-keygen",
         rf"ssh-keygen\s(?:[^\n]{{0,200}}?\s)?(?-i:-[NP])\s{{1,3}}{_WORD}"),
    Form("schtasks", "/rp", rf"schtasks\s[^\n]{{0,200}}?\s/rp\s{{1,3}}{_WORD}"),
    Form("PowerShell", "-securestring",
         r"convertto-securestring\s{1,3}(?:-string\s{1,3})?[\"']([^\"'\n]{1,256}+)"),
    *(
        Form("SQL", "ied",
             rf"{before}identified\s{{1,3}}(?:with\s{{1,3}}\S{{1,64}}\s{{1,3}})?by\s{{1,3}}[\"']"
             rf"{value}([^\"'\n]{{1,256}}+)", mark="'")
        for before, value in (("", r"(?=[^\s\d]{0,64}\d)"),
                              (r"(?:user|role|to)\s{1,3}\S{1,128}\s{1,3}", ""))
    ),
    Form("hash of a password", "$",
         r"\$(?:apr1|2[abxy]?|1|5|6|7|y|gy|md5|sha1|scrypt|argon2(?:id?|d)|pbkdf2[\w-]{0,12}"
         r"|bcrypt[\w-]{0,12})\$([\w./$=,+-]{20,}+)"),
    Form("hash of a password", "{",
         r"\{(?:s?sha(?:-?\d{3})?|s?md5|crypt|x-pbkdf2|pbkdf2[\w-]{0,10}|bcrypt|argon2\w{0,2})\}"
         r"([\w./$=,+-]{12,}+)"),
    *(
        Form("a password in another language", word,
             rf"{word}\w{{0,8}}[\"'`]?\s{{0,3}}(?::|=|：|＝|->|→)\s{{0,4}}{_VALUE}",
             mark=BEYOND_ASCII)
        for word in FOREIGN
    ),
    Form("sshpass", "pass", r"sshpass\s{1,3}-p\s{0,3}[\"']?([^\s\"']++)"),
    Form(".netrc", "pass", r"login\s{1,4}\S{1,255}+\s{1,4}password\s{1,4}(\S{1,512}+)"),
    Form(".pgpass", ":5432:", r":5432:[\w*-]{1,64}+:[\w.@*-]{1,64}+:(\S{1,512}+)"),
    Form("Oracle", "jdbc", r"jdbc:oracle:\w{1,16}:[\w$]{1,64}/([^@\s]{1,255}+)(?=@)"),
    Form("bearer", "bearer", r"bearer\s{1,3}(?=[\w.~+/=-]{0,512}\d)([\w.~+/=-]{8,}+)"),
    Form("PuTTY", "key", r"putty-user-key-file-[\s\S]{1,2048}?private-lines:([\s\S]*+)"),
    Form("Mailgun", "key", r"(?<![\w-])key-[0-9a-f]{32}(?!\w)"),
    Form("Tailscale", "key", r"tskey-[\w-]{16,}+"),
    Form("age", "key", r"age-secret-key-1[0-9a-z]{20,}+"),
)
"""Hints of these are looked for in the text in lower case."""
# fmt: on
