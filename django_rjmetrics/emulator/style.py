"""The pages' look."""

STYLE = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --surface: #fff; --line: #e1e4ea; --text: #1c2330; --soft: #667085; --dim: #a4abb8;
  --accent: #1f5fbf; --tint: #eef3fb; --good: #17693d; --good-tint: #e3f4ea;
  --bad: #a62b1f; --bad-tint: #fbe9e7; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12151b; --surface: #1a1f28; --line: #2c333f; --text: #e4e8ef; --soft: #98a2b3; --dim: #5f6978;
  --accent: #82b1ff; --tint: #222b3a; --good: #7fd6a3; --good-tint: #1b3426;
  --bad: #ff9b8f; --bad-tint: #3d211f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
a:focus-visible, .scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
header { background: var(--surface); border-bottom: 1px solid var(--line); padding: 12px 28px; }
header a { color: var(--text); }
header a:hover { text-decoration: none; }
header b { color: var(--accent); font-weight: 600; }
main { padding: 24px 28px 48px; }
h1 { font-size: 22px; line-height: 1.3; font-weight: 650; margin: 0 0 14px; overflow-wrap: anywhere; }
h2 { font-size: 16px; font-weight: 650; margin: 32px 0 12px; }
h3 { font-size: 13px; font-weight: 600; margin: 0 0 10px; color: var(--soft); }
.scroll { background: var(--surface); border: 1px solid var(--line); border-radius: 8px; overflow: auto; }
.narrow { max-width: 640px; }
table { border-collapse: separate; border-spacing: 0; min-width: 100%; font-size: 14px; }
th, td { padding: 7px 14px; text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 13px; border-bottom: 1px solid var(--line); }
tbody tr + tr td { border-top: 1px solid var(--line); }
tbody tr:hover td { background: var(--tint); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.tall { max-height: max(360px, calc(100vh - 190px)); }
.rows { font-size: 13.5px; }
.rows th { position: sticky; top: 0; background: var(--surface); }
.rows td, .rows th { padding: 5px 14px; }
.rows .index { color: var(--dim); font-weight: 400; border-right: 1px solid var(--line); padding: 5px 10px; }
.null { color: var(--dim); font-style: italic; }
.code, code { font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { white-space: pre-wrap; overflow-wrap: anywhere; }
.bar { display: flex; flex-wrap: wrap; align-items: baseline; gap: 8px 18px; margin-bottom: 12px; }
.bar h1 { margin: 0; }
.count { color: var(--soft); font-variant-numeric: tabular-nums; margin-right: auto; }
.pager { display: flex; gap: 6px; }
.pager a, .pager span { padding: 3px 12px; border: 1px solid var(--line); border-radius: 6px;
  background: var(--surface); font-size: 14px; }
.pager a:hover { background: var(--tint); text-decoration: none; }
.pager span { color: var(--dim); background: none; }
.switch { display: flex; flex-wrap: wrap; gap: 2px; margin: -8px -10px 18px; }
.switch a { padding: 3px 10px; border-radius: 6px; color: var(--soft); font-size: 14px; }
.switch a:hover { background: var(--tint); text-decoration: none; }
.switch a[aria-current] { background: var(--tint); color: var(--accent); font-weight: 600; }
.cards { display: flex; flex-wrap: wrap; gap: 14px; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 8px; padding: 14px 18px;
  flex: 0 1 313px; }
dl { display: flex; gap: 32px; margin: 0; }
dl div { display: flex; flex-direction: column-reverse; }
dt { color: var(--soft); font-size: 13px; }
dd { margin: 0; font-size: 24px; line-height: 1.2; font-weight: 600; font-variant-numeric: tabular-nums; }
.badges { list-style: none; display: flex; flex-wrap: wrap; gap: 6px; margin: 12px 0 0; padding: 0; }
.badges li { padding: 1px 10px; border-radius: 99px; font-size: 13px; font-variant-numeric: tabular-nums; }
.good { color: var(--good); background: var(--good-tint); }
.bad { color: var(--bad); background: var(--bad-tint); }
.empty { background: var(--surface); border: 1px dashed var(--line); border-radius: 8px; padding: 28px;
  max-width: 640px; color: var(--soft); }
.empty p { margin: 0; }
.empty p:first-child { color: var(--text); font-weight: 600; margin-bottom: 4px; }
@media (max-width: 600px) { header, main { padding-left: 16px; padding-right: 16px; } }
"""
