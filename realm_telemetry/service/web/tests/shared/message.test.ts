import { expect, it } from "vitest";
import { shownText } from "../../src/shared/message";

it("takes the backticks from around names, and leaves single ones", () => {
  expect(shownText("Run `realm doctor`, or `realm up`.")).toBe("Run realm doctor, or realm up.");
  expect(shownText("a ` b")).toBe("a ` b");
});

it("shows what would turn the direction of a text", () => {
  expect(shownText("model\u202etxt.exe")).toBe("model⟨U+202E⟩txt.exe");
  expect(shownText("تدريب")).toBe("تدريب");
});
