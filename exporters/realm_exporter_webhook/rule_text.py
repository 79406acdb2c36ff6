"""A rule as sentences for people: in the page of alerts, on the command line, and over HTTP."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from realm_exporter_webhook.conditions import Comparison
from realm_exporter_webhook.rules import Rule
from realm_telemetry.log import to_params
from realm_telemetry.values.paths import read_names

_SUBJECTS: Final[Mapping[str, str]] = {
    "loss_not_finite": "a loss or another number becomes NaN or infinite",
    "disk_low": "a disk that a run writes to is nearly full",
    "host_lost": "a machine with open runs falls silent",
    "job_failed": "a job fails",
    "training_failed": "a training fails",
    "checkpoint_saved": "a checkpoint is saved",
}
"""What happens, of some kinds."""

_VERBS: Final[Mapping[str, str]] = {
    "running": "goes on",
    "stalled": "makes no progress for far longer than usual",
    "paused": "pauses",
    "completed": "completes",
    "failed": "fails",
    "cancelled": "is cancelled",
    "killed": "is killed",
    "crashed": "crashes",
    "out_of_memory": "runs out of memory",
    "terminated": "is terminated",
    "preempted": "is preempted",
    "lost": "is lost",
}

_WORDS: Final[Mapping[str, str]] = {
    "kind": "of the kind",
    "channel": "of the channel",
    "severity": "of the severity",
    "hero": "of the hero",
    "campaign": "of the campaign",
    "run": "of the run",
    "rank": "of the rank",
    "producer": "of the process",
    "source": "from the source",
    "trace": "of the trace",
    "q": "with the words",
    "has": "with the detail",
    "not": "without the detail",
}
"""How a filter is said."""

_TEXTS: Final = ("q", "has", "not")

_OPERATORS: Final[Mapping[str, str]] = {
    ">": "is over",
    ">=": "is at least",
    "<": "is under",
    "<=": "is at most",
    "==": "is",
    "!=": "is not",
}

_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def when(rule: Rule) -> str:
    """Return when a rule sends something: "When a job fails. Then nothing for 1 hour."."""
    return " ".join(f"{each[0].upper()}{each[1:]}." for each in (_what(rule), *_limits(rule)))


def _what(rule: Rule) -> str:
    params = to_params(rule.filters)
    if rule.period_s:
        return _absence(rule, params)
    if rule.statuses:
        verbs = [_VERBS.get(status, f"becomes {status}") for status in rule.statuses]
        return f"when a run{_chosen_runs(params)} {_either(verbs)}{_where(rule.where)}"
    kinds = params.get("kind", [])
    if rule.threshold == 1 and len(kinds) == 1 and kinds[0] in _SUBJECTS:
        rest = {name: values for name, values in params.items() if name != "kind"}
        tail = f"{_chosen(rest)}{_where(rule.where)}"
        return f"when {_SUBJECTS[kinds[0]]}{f', in an event{tail}' if tail else ''}"
    tail = f"{_chosen(params)}{_where(rule.where)}"
    if rule.threshold == 1:
        return f"when an event{tail} comes" if tail else "at every event"
    return f"when {rule.threshold:,} events{tail} come within {_duration(rule.window_s)}"


def _absence(rule: Rule, params: Mapping[str, Sequence[str]]) -> str:
    kinds = rule.expect.kinds if rule.expect is not None else params.get("kind", [])
    of_run = {name: values for name, values in params.items() if name != "kind"}
    subject = f"when a run{_chosen_runs(of_run)} goes on and"
    period = _duration(rule.period_s)
    if rule.expect is not None:
        since = "since its start, or since the one before"
        return f"{subject} no event of the kind {_either(kinds)} comes for {period} {since}"
    if kinds:
        return f"{subject} no event{_chosen({'kind': kinds})} comes for {period}"
    return f"{subject} is silent for {period}"


def _chosen(params: Mapping[str, Sequence[str]]) -> str:
    """What the filters ask for, each after a blank."""
    return "".join(f" {phrase}" for name in _WORDS for phrase in _phrases(name, params))


def _chosen_runs(params: Mapping[str, Sequence[str]]) -> str:
    return _chosen(params).replace(" of the run ", " named ")


def _phrases(name: str, params: Mapping[str, Sequence[str]]) -> Iterable[str]:
    values = params.get(name, ())
    if name in _TEXTS:
        return [f"{_WORDS[name]} {each}" for each in values]
    names = [each for value in values for each in read_names(value)]
    wanted = [text for is_unwanted, text in names if not is_unwanted]
    unwanted = [text for is_unwanted, text in names if is_unwanted]
    phrases = [f"{_WORDS[name]} {_either(wanted)}"] if wanted else []
    return [*phrases, f"not {_WORDS[name]} {_either(unwanted)}"] if unwanted else phrases


def _where(comparisons: Sequence[Comparison]) -> str:
    parts = [
        f"{each.path} {_OPERATORS[each.operator]} {_value(each.value)}" for each in comparisons
    ]
    return f" where {' and '.join(parts)}" if parts else ""


def _value(value: float | str) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:,.10g}"


def _limits(rule: Rule) -> Iterable[str]:
    if rule.once or rule.statuses:
        yield "once for each run"
    apart = [name for name in rule.group_by if name != "run" or not (rule.once or rule.statuses)]
    if apart:
        yield f"apart for each {' and '.join(apart)}"
    if rule.cooldown_s:
        yield f"then nothing for {_duration(rule.cooldown_s)}"
    if rule.collect_s:
        yield f"with what else comes within {_duration(rule.collect_s)}"


def _either(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _duration(duration_s: float) -> str:
    """Return a duration in its largest whole unit: 90 seconds, 2 hours."""
    unit, size = next(
        (one for one in _UNITS if duration_s >= one[1] and duration_s % one[1] == 0), _UNITS[-1]
    )
    count = duration_s / size
    return f"{count:g} {unit if count == 1 else f'{unit}s'}"
