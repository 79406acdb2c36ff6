import { describe, expect, it, vi } from "vitest";
import { EventStream, nameOf } from "../../src/stream/event-stream";
import type { StreamMessage } from "../../src/stream/event";
import { makeEvent } from "../events";

function opened() {
  let take: (batch: StreamMessage[]) => void = () => undefined;
  const left = vi.fn();
  const connect = vi.fn((_base: string, hand: (batch: StreamMessage[]) => void) => {
    take = hand;
    return left;
  });
  const stream = new EventStream("http://localhost/", connect);
  return { stream, connect, left, take: (...batch: StreamMessage[]) => take(batch) };
}

const step = makeEvent(1, { kind: "training_step", details: { step: 3, loss: 0.5 } });

describe("nameOf", () => {
  it("turns only the first underscore into a dot", () => {
    expect(nameOf("training_step")).toBe("training.step");
    expect(nameOf("eval_suite_triggered")).toBe("eval.suite_triggered");
    expect(nameOf("note")).toBe("note");
  });
});

describe("EventStream.on", () => {
  it("hands an event to its name, its prefix and to all", () => {
    const { stream, take } = opened();
    const got: string[] = [];
    stream.on("training.step", (event) => got.push(`exact ${String(event.data["loss"])}`));
    stream.on("training.*", (event) => got.push(`prefix ${event.name}`));
    stream.on("*", () => got.push("all"));
    stream.on("training.completed", () => got.push("wrong"));
    take({ type: "event", event: step });
    expect(got.sort()).toEqual(["all", "exact 0.5", "prefix training.step"]);
  });

  it("connects once, at the first subscription", () => {
    const { stream, connect } = opened();
    expect(connect).not.toHaveBeenCalled();
    stream.on("*", () => undefined);
    stream.messages(() => undefined);
    expect(connect).toHaveBeenCalledOnce();
  });

  it("does not call a handler that was removed", () => {
    const { stream, take } = opened();
    const handler = vi.fn();
    stream.on("*", handler)();
    take({ type: "event", event: step });
    expect(handler).not.toHaveBeenCalled();
  });

  it("continues after a handler that throws", () => {
    const { stream, take } = opened();
    const reported = vi.fn();
    vi.stubGlobal("reportError", reported);
    const handler = vi.fn();
    stream.on("*", () => {
      throw new Error("mine");
    });
    stream.on("*", handler);
    take({ type: "event", event: step });
    expect(handler).toHaveBeenCalledOnce();
    expect(reported).toHaveBeenCalledOnce();
  });
});

describe("EventStream.messages", () => {
  it("begins with the latest snapshot for a later listener", () => {
    const { stream, take } = opened();
    stream.on("*", () => undefined);
    const snapshot = { events: [], routine: [], cursor: 7, log_id: "a" };
    take({ type: "status", status: "live" }, { type: "snapshot", snapshot });
    take({ type: "event", event: makeEvent(8) });
    const got: StreamMessage[] = [];
    stream.messages((message) => got.push(message));
    expect(got.map((message) => message.type)).toEqual(["status", "snapshot", "event"]);
    expect(stream.status).toBe("live");
  });
});
