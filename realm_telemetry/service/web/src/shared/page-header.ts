import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { apiUrl } from "./api";
import { showHelp } from "./shortcuts";
import "./toast";

const THEMES = ["auto", "light", "dark"] as const;
const KEY = "realm-theme";
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
  @property() page: (typeof PAGES)[number]["name"] = "war-room";
  @property({ attribute: false }) tools: TemplateResult | typeof nothing = nothing;
  @state() private theme: Theme = storedTheme();

  protected override createRenderRoot() {
    return this;
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
        <div class="page-tools">${this.tools}</div>
        <button class="quiet help" @click=${showHelp} aria-label="Keys and words" title="Keys and words (?)">?</button>
        <button class="quiet theme" @click=${this.nextTheme} aria-label="Theme: ${this.theme}">
          ${THEME_LABELS[this.theme][0]}<span class="theme-word">${THEME_LABELS[this.theme][1]}</span>
        </button>
      </header>
      <realm-shortcuts></realm-shortcuts>
      <realm-toast></realm-toast>`;
  }
}
