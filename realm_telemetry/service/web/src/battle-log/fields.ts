// Written by `make fields` from realm_telemetry/log/fields.py.

/** What events can be filtered by. `of`: the event's field; `absent`: the name for "has none". */
export const FIELDS = [
  { name: "channel", of: "channel", label: "Channel", alias: "channels", absent: "" },
  { name: "kind", of: "kind", label: "Kind", alias: "", absent: "" },
  { name: "severity", of: "severity", label: "Severity", alias: "", absent: "" },
  { name: "hero", of: "hero_id", label: "Hero", alias: "", absent: "" },
  { name: "campaign", of: "campaign_id", label: "Campaign", alias: "", absent: "" },
  { name: "run", of: "run_id", label: "Run", alias: "", absent: "" },
  { name: "rank", of: "rank", label: "Rank", alias: "", absent: "" },
  { name: "producer", of: "producer", label: "Producer", alias: "", absent: "" },
  { name: "source", of: "source", label: "Source", alias: "", absent: "none" },
  { name: "trace", of: "trace_id", label: "Trace", alias: "", absent: "" },
] as const;
