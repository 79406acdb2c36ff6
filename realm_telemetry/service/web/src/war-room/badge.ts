/** Title and icon of the tab: errors and loss at a glance, while one works elsewhere. */
export function showBadge(errors: number, loss: string | null): void {
  const parts = [errors ? `(${errors}) ` : "", loss === null ? "" : `loss ${loss} · `, "War Room"];
  const title = parts.join("");
  if (document.title !== title) {
    document.title = title;
    drawIcon(errors);
  }
}

let drawn = -1;

function drawIcon(errors: number): void {
  if (errors === drawn) return;
  drawn = errors;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 32;
  const ctx = canvas.getContext("2d");
  if (!ctx) return;
  ctx.fillStyle = errors ? "#b3261e" : "#22702c";
  ctx.beginPath();
  ctx.arc(16, 16, 15, 0, 2 * Math.PI);
  ctx.fill();
  ctx.fillStyle = "#fff";
  ctx.font = "bold 19px sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillText(errors ? (errors > 9 ? "9+" : String(errors)) : "R", 16, 17);
  const link = document.querySelector<HTMLLinkElement>("link[rel=icon]") ?? document.createElement("link");
  link.rel = "icon";
  link.href = canvas.toDataURL();
  document.head.append(link);
}
