import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { apiUrl, getJson } from "./api";
import { type Health, HEALTH_PATH, healthText } from "./connection";
import { showHelp } from "./shortcuts";
import "./toast";
const THEMES = ["auto", "light", "dark"] as const;
const KEY = "realm-theme";
/** How often a page that is seen asks for the health of the service. */
const LOOK_MS = 30_000;
const SOON_MS = 1_000;
const THEME_LABELS: Record<Theme, [icon: string, word: string]> = { auto: ["◐", "Auto"], light: ["☀", "Light"], dark: ["☾", "Dark"] };

type Theme = (typeof THEMES)[number];

function storedTheme(): Theme {
  const stored = localStorage.getItem(KEY) as Theme | null;
  return stored && THEMES.includes(stored) ? stored : "auto";
}

/** Set the theme of the page; "auto" follows the system. */
function setTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme);
  applyTheme();
}

function applyTheme(): void {
  document.documentElement.dataset["theme"] = storedTheme();
}

const PAGES = [
  { name: "war-room", label: "War Room", plain: "Live", path: "", meaning: "What happens now" },
  { name: "runs", label: "Runs", plain: "", path: "runs", meaning: "How each training goes, or how it ended and why" },
  { name: "battle-log", label: "Battle Log", plain: "History", path: "battle-log", meaning: "All events, to filter and search" },
  { name: "alerts", label: "Alerts", plain: "", path: "alerts", meaning: "Rules, their messages, and where those go" },
] as const;

applyTheme();

/** The top of every page: navigation, the tools of the page, the theme. */
@customElement("realm-header")
export class RealmHeader extends LitElement {
  @property() page: (typeof PAGES)[number]["name"] | "health" = "war-room";
  @property({ attribute: false }) tools: TemplateResult | typeof nothing = nothing;
  @state() private theme: Theme = storedTheme();
  @state() private health: Pick<Health, "status" | "checks"> | null = null;
  private looking: ReturnType<typeof setInterval> | undefined;

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.looking = setInterval(() => void this.look(), LOOK_MS);
    // Not while the page reads what it is for.
    setTimeout(() => void this.look(), SOON_MS);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.looking);
  }

  /** Ask how the service is; while it does not answer, the pill of the page says so. */
  private async look(): Promise<void> {
    if (document.hidden || this.page === "health") return;
    this.health = await getJson<Health>("api/health").catch(() => null);
  }

  private healthLink(): TemplateResult | typeof nothing {
    if (this.page === "health") return nothing;
    const text = this.health ? healthText(this.health) : "";
    // A page without a pill is as it was, and so is this link.
    if (!text) return this.tools === nothing ? html`<a class="pill quiet" href=${apiUrl(HEALTH_PATH)} title="Health of the service">Health</a>` : nothing;
    const isProblem = this.health?.status === "problem";
    return html`<a class="pill ${isProblem ? "is-problem" : "is-warning"}" href=${apiUrl(HEALTH_PATH)} title="The service has ${text}" data-testid="health-link"
      ><span aria-hidden="true">${isProblem ? "✕" : "!"}</span> ${text}</a
    >`;
  }

  private nextTheme(): void {
    this.theme = THEMES[(THEMES.indexOf(this.theme) + 1) % THEMES.length] ?? "auto";
    setTheme(this.theme);
  }

  protected override render() {
    return html`<header class="page-header">
        <nav aria-label="Pages">
          ${PAGES.map(
            (page) => html`<a
              href=${apiUrl(page.path)}
              title=${page.meaning}
              aria-current=${page.name === this.page ? "page" : nothing}
              >${page.label}${page.plain ? html` <small>${page.plain}</small>` : nothing}</a
            >`,
          )}
        </nav>
        <div class="header-end">
        <div class="page-tools">${this.healthLink()}${this.tools}</div>
        <button class="quiet help" @click=${showHelp} aria-label="Keys and words" title="Keys and words (?)">?</button>
        <button class="quiet theme" @click=${this.nextTheme} aria-label="Theme: ${this.theme}">
          ${THEME_LABELS[this.theme][0]}<span class="theme-word">${THEME_LABELS[this.theme][1]}</span>
        </button>
        </div>
      </header>
      <realm-shortcuts></realm-shortcuts>
      <realm-toast></realm-toast>`;
  }
}
