"""What trainings, tokenizers, reports of tests and configurations print stays as it is."""

import pytest

from realm_telemetry.event import Event
from realm_telemetry.redaction import Redactor
from realm_telemetry.redaction.text import clean_text

LINES = [
    "step 100 | loss 0.2340 | lr 3.0e-4 | 51,234 tokens/s | 8 GPUs",
    "step: 100, loss: 0.234, tokens: 5123, tokens/s: 51234.5",
    "tokens: 5123",
    "tokens : 1.2B / 3B",
    "51234 tokens per second",
    "tokens per second per GPU: 6,404",
    "token per second: 51.2",
    "cost per 1k tokens: $0.03",
    "total tokens seen = 1.2e9",
    "secret sauce: a longer warmup",
    "the secret is a longer warmup",
    "the secret is patience",
    "The secret is: use a smaller learning rate",
    "the token is the",
    "the next token is 5123",
    "the next token is Ġ2024",
    "the token is bfloat16",
    "each token is embedded with 4096 dimensions",
    "the first token is llama-3-8b-instruct",
    "the key is 0.5",
    "the password is required",
    "password is too short",
    "your password is stored in the vault.",
    "The password is wrong.",
    "the password is needed\nand so on",
    "the password is visible",
    "password is not set",
    "tokens:\n  - the\n  - Ġcat\n  - ##s\n",
    "tokens:\n  - Ġ2024\n  - int32\n  - hello\n  - bfloat16\n",
    "tokens:\n- 5123\n- 17\n- 9\n",
    "tokens:\n  prompt: 512\n  completion: 9\n",
    "special tokens:\n  eos: </s>\n  bos: <s>\n  pad: <pad>\n",
    "token:\n  type: bpe\n  file: data/tokenizer2.json\n  version: v2\n",
    "auth:\n  method: ldap\n  enabled: true\n  timeout: 30s\n",
    "credentials:\n  user: bob\n  host: db1\n",
    "secrets:\n  # none here\n\nuser: x",
    "passwords:\n\nnext: 5",
    "password:\nuser: bob",
    "Password:\n    must have at least 8 characters",
    "error at token:\n  File train.py, line 12",
    "| token | id | logprob |\n|-------|----|---------|\n| the | 5 | -1.2 |\n| Ġcat | 77 | -0.2 |",
    "| token | count |\n|---|---|\n| bfloat16 | 5 |\n| int32 | 7 |\n| hello_world | 1 |",
    "token\tid\tscore\nthe\t5\t-1.2\n##s\t17\t-3.4\nGPT4\t8\t-9",
    "token,id,score\nthe,5,-1.2\nunhappy,17,-3.4\n",
    "epoch  tokens     loss\n1      5123       0.5\n2      10246      0.4",
    "     tokens  loss\n0      5123   0.5\n1     10246   0.4",
    "┃ tokens ┃ loss ┃\n┡━━━━━━━━╇━━━━━━┩\n│ 5123   │ 0.5  │\n│ 10,246 │ 0.4  │",
    "suite  pass  fail\nunit   120   3\nfuzz   9     0",
    "| suite | pass | fail |\n|---|---|---|\n| unit2 | 120 | 3 |\n| a | 98% | 2% |",
    "| endpoint | auth |\n|---|---|\n| /api/v1/events | bearer |\n| /health | none |",
    "I got a token, which is odd,\nbut it works now, more or less,\nand that is all, I think",
    "the token,  then  the loss\nwere both  quite  odd",
    "name,key,value\nloss,train,0.5\n",
    "| key | value |\n|---|---|\n| lr | 0.1 |",
    "session  started",
    "password  string",
    "token    str      the name of a token",
    "net use of memory: 12 GB",
    "costs $5 and $6 a day",
    "{loss} {step}",
    "{'sha': 'abc'} {sha256 of it}",
    'text = """\nhello\n"""',
    'tokens = """\nthe cat\n"""',
    "set tokens 5",
    "SET token count to 5",
    "export the tokens table",
    "the order is identified by 'id'",
    "le mot de passe est\n",
    "identified by its id",
    "scaling rar files, -hp 5",
    "mongo ran with -p",
    "parola rossa",
    "sk_learn k-means as-is ak-47",
    "pass 12: done",
    "user bob did pass",
    "AT 10:32 ATTENTION heads: 16",
    "re_run_1 rnd_seed_5 aio_pool",
    "patience 5.0, pattern v2",
    "loss_table:\n  train: 0.5\n  eval: 0.6\n",
    "key:\n  - a1b2c3d4\n",
    "hf_model: meta-llama/Llama-3-8b",
]


@pytest.mark.parametrize("text", LINES)
def test_what_a_lab_prints_is_the_same_object(text: str) -> None:
    assert clean_text(text) is text


def test_an_event_of_all_these_lines_is_the_same_object() -> None:
    for text in LINES:
        event = Event("note", "debug", "info", text, {"n": text}, 1, "0123456789abcdef", 1)
        assert Redactor()(event) is event
