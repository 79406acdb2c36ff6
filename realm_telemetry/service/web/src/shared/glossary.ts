// Written by `make fields` from docs/glossary.md.

/** Words of the pages, with what they mean. */
export const GLOSSARY: Readonly<Record<string, string>> = {
  "run": "One training or evaluation, with all its processes and attempts; the field run_id of its events.",
  "attempt": "One start of all processes of a run; a run that is started again goes on as its next attempt.",
  "rank": "The number of a process among those of its run, from 0.",
  "event": "Something that happened: kind, channel, severity, message, details, time, id.",
  "kind": "What happened, in snake_case: checkpoint_saved.",
  "channel": "Where an event shows: system, jobs, training, eval, vault, guild, debug, data, checkpoint.",
  "routine kind": "A kind that repeats by the thousand: training_step, worker_heartbeat. Overviews leave it out or thin it.",
  "producer": "One run of one process. Its id is random; its events are numbered 1, 2, 3.",
  "source": "The name of the part of a program that emitted an event, where one was given.",
  "cursor": "The row id of an event in the log. Row ids are in commit order.",
  "receipt": "The account of one producer: emitted, stored, dropped; complete or not.",
  "trace": "What belongs together across processes; the field trace_id of events that have one.",
  "span": "One piece of work in a trace; the field span_id.",
  "checkpoint": "The weights of a model at a step, saved so that its training can go on from there.",
  "NaN": "Not a number: what a computation gives that has no result. A model with a NaN in it gives nothing else.",
  "rule": "When a message goes to which targets; built in, or of realm.toml.",
  "target": "Where messages go: an address and a template.",
  "hero": "The model that is trained; the field hero_id.",
  "campaign": "A series of runs with one goal; the field campaign_id.",
  "champion": "The best checkpoint so far.",
  "guild": "The channel of skills, levels and titles that a model earns.",
  "vault": "Long-term storage of checkpoints, and the channel about it.",
};
