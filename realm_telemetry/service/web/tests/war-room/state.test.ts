import { describe, expect, it } from "vitest";
import { awayItems } from "../../src/war-room/away";
import { etaSeconds, sumReceipts, workerStatus, type Receipt, type RunState, type WorkerState } from "../../src/war-room/state";

const receipt = (fields: Partial<Receipt>): Receipt => ({
  producer: "aa", emitted: 10, stored: 10, dropped: 0, ended: true, complete: true, ...fields,
});

describe("sumReceipts", () => {
  it("adds up what is complete", () => {
    expect(sumReceipts([receipt({}), receipt({ emitted: 5, stored: 5 })])).toEqual({
      emitted: 15, stored: 15, dropped: 0, open: 0, complete: true,
    });
  });

  it("does not call it complete while something is missing or dropped", () => {
    expect(sumReceipts([receipt({ stored: 9, complete: false })]).complete).toBe(false);
    expect(sumReceipts([receipt({ dropped: 3, complete: false })]).dropped).toBe(3);
    expect(sumReceipts([receipt({ emitted: null, complete: false })]).open).toBe(1);
  });
});

describe("etaSeconds", () => {
  const run = { status: "running", step: 25, total_steps: 100, started_at: "2025-11-29T10:00:00Z", step_at: "2025-11-29T10:01:00Z" } as RunState;
  it("goes by the pace so far", () => expect(etaSeconds(run, 0)).toBe(180));
  it("is unknown for a run that does not run, or has no end", () => {
    expect(etaSeconds({ ...run, status: "completed" }, 0)).toBeNull();
    expect(etaSeconds({ ...run, total_steps: null }, 0)).toBeNull();
  });
});

describe("workerStatus", () => {
  const worker = { status: "active", lost: false } as WorkerState;
  it("turns stale after 60 s without an answer of the service", () => {
    expect(workerStatus(worker, 60)).toBe("active");
    expect(workerStatus(worker, 60.1)).toBe("stale");
    expect(workerStatus({ ...worker, lost: true }, 1)).toBe("lost");
    expect(workerStatus({ ...worker, status: "left" }, 900)).toBe("left");
  });
});

describe("awayItems", () => {
  it("names what matters, each a link", () => {
    const items = awayItems(
      [
        { kind: "job_failed", severity: "error", count: 2 },
        { kind: "process_lost", severity: "error", count: 1 },
        { kind: "note", severity: "info", count: 9 },
      ],
      0,
    );
    expect(items.map((item) => item.text)).toEqual(["3 errors", "1 process lost", "2 jobs failed"]);
    expect(items[0]!.href).toContain("severity=error");
  });
});
