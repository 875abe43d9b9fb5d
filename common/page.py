"""A page that stands alone: HTML whose pictures Vega-Lite draws, with the library inside.

Its policy (Content-Security-Policy) lets no request out and runs two scripts, by their sums: the
library, which vl-convert-python carries, and SCRIPT below.  Vega evaluates its expressions by an
interpreter, not by `eval`.  Texts from files are escaped wherever they stand; in the pictures'
data, which are JSON within the page, no text can end the element that holds it.
"""

import base64
import hashlib
import html
import json

from common.errors import UserError, printable

VEGA_LITE = "6.4"

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c1f23; --quiet: #4f5761;
  --grid: #d9dde2; --panel: #f5f6f8; --good: #14692f; --bad: #a8201a; --link: #0b57a4;
  --series-1: #0067a5; --series-2: #b84a00; --series-3: #00785a; --series-4: #8a3c8f;
  --series-5: #6d6a00; --series-6: #b3245e; --series-7: #4a5fb5; --series-8: #6b7280; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #eceff2;
  --quiet: #b3bcc6; --grid: #3a4149; --panel: #1d2125; --good: #74d394; --bad: #ff958c;
  --link: #8cc4ff; --series-1: #62b5f0; --series-2: #ff9e58; --series-3: #4fd0a6;
  --series-4: #d79be0; --series-5: #d6d04e; --series-6: #ff86b3; --series-7: #9fb0ff;
  --series-8: #a9b1bb; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin: 1.5rem 0 .25rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; overflow-wrap: anywhere; }
p { max-width: 48rem; margin: .5rem 0; }
a { color: var(--link); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; }
.skip { position: absolute; left: -999rem; }
.skip:focus { position: static; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
fieldset { border: 1px solid var(--grid); border-radius: .5rem; background: var(--panel);
  display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 1rem 0; padding: .25rem 1rem .5rem; }
fieldset.off { display: none; }
label { display: inline-flex; gap: .4rem; align-items: center; min-height: 2rem; }
input { width: 1.1rem; height: 1.1rem; }
.scroll { overflow-x: auto; border: 1px solid var(--grid); border-radius: .5rem; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .8125rem; width: 100%; }
caption { text-align: left; padding: .5rem .75rem; color: var(--quiet); }
caption div { position: sticky; left: .75rem; width: max-content; max-width: calc(100vw - 4rem); }
caption { white-space: normal; }
th, td { padding: .35rem .55rem; text-align: left; vertical-align: top;
  border-top: 1px solid var(--grid); font-variant-numeric: tabular-nums; }
thead th { background: var(--panel); white-space: nowrap; }
tbody th { font-weight: 600; }
th, td { white-space: nowrap; }
.number { text-align: right; }
.good { color: var(--good); }
.bad { color: var(--bad); font-weight: 600; }
.long { min-width: 16rem; white-space: normal; overflow-wrap: anywhere; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr));
  gap: 1rem; }
figure { margin: 0; border: 1px solid var(--grid); border-radius: .5rem; padding: .75rem;
  min-width: 0; }
figcaption { font-size: .875rem; margin-bottom: .5rem; }
figcaption b { display: block; font-size: 1rem; }
figcaption span { color: var(--quiet); }
.chart { width: 100%; overflow: hidden; }
.chart svg { max-width: 100%; height: auto; display: block; }
@media (max-width: 40rem) { th, td { padding: .3rem .45rem; font-size: .8rem; }
  tbody th { white-space: normal; overflow-wrap: anywhere; min-width: 7rem; } }
@media (min-width: 40.01rem) { wbr { display: none; } }
details { margin: .5rem 0; }
summary { cursor: pointer; min-height: 2rem; }
footer { color: var(--quiet); font-size: .875rem; padding-bottom: 2rem; margin-top: 2rem; }
#vg-tooltip-element { position: fixed; visibility: hidden; z-index: 9; pointer-events: none;
  background: var(--paper); color: var(--ink); border: 1px solid var(--quiet); padding: .4rem .6rem;
  border-radius: .4rem; font-size: .8rem; max-width: 22rem; overflow-wrap: anywhere; }
#vg-tooltip-element.visible { visibility: visible; }
#vg-tooltip-element table { width: auto; }
#vg-tooltip-element td { border: 0; padding: 0 .35rem; }
#vg-tooltip-element td.key { color: var(--quiet); }
@media print {
  body { font-size: 10pt; } nav, fieldset, details, .skip { display: none; }
  caption div { max-width: none; width: auto; }
  .scroll { overflow: visible; border: 0; } table { font-size: 7pt; } th, td { padding: 1pt 3pt; }
  th, td { white-space: normal; } .long { min-width: 0; }
  figcaption { font-size: 8pt; }
  figure, tr { break-inside: avoid; } h2, caption { break-after: avoid; }
  .pictures { grid-template-columns: 1fr 1fr; } }
"""

SCRIPT = """
(() => {
  const { specs, data } = JSON.parse(document.getElementById("charts").textContent);
  const views = [];
  const boxes = [...document.querySelectorAll("fieldset input")];
  const choose = (event) => {
    event.target.checked ||= !boxes.some((box) => box.checked);  // no picture is empty
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
    for (const view of views) {
      view.signal("shown", chosen).runAsync();
    }
  };
  const draw = [...document.querySelectorAll(".chart")].map(async (place) => {
    const spec = specs[place.dataset.chart];
    const name = spec.data.name;
    const { view } = await vegaEmbed(place, { ...spec, datasets: { [name]: data[name] } }, {
      actions: false, ast: true, defaultStyle: false, renderer: "svg",
      tooltip: { disableDefaultStyle: true },
    });
    if (spec.params) {
      views.push(view);
    }
  });
  Promise.allSettled(draw).then(() => {
    for (const box of boxes) {
      box.addEventListener("change", choose);
    }
    for (const set of document.querySelectorAll("fieldset")) {
      set.classList.remove("off");
    }
    document.documentElement.dataset.drawn = draw.length;
  });
})();
"""


MAX_TEXT = 2000  # characters of a cell; a file's text may have millions


def escaped(text):
    """Any text as HTML: on one line, of an element or of an attribute."""
    return html.escape(printable(text[:MAX_TEXT]))


def json_inside(value):
    """JSON that may stand in a script element, whatever its texts are."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def table(caption, header, rows):
    """A table that can be scrolled.  header: titles, or (title, class) of a column; rows: of cells,
    each a text or (text, class); the first one names its row.
    """
    titles, classes = zip(*((one, "") if isinstance(one, str) else one for one in header))
    lines = [f'<div class="scroll" role="region" tabindex="0" aria-label="{escaped(caption)}">'
             f"<table><caption><div>{escaped(caption)}</div></caption><thead><tr>"]
    lines += [f'<th scope="col"{_class(kind)}>{escaped(title)}</th>'
              for title, kind in zip(titles, classes)]
    lines.append("</tr></thead><tbody>")
    for row in rows:
        lines.append("<tr>")
        for index, (cell, kind) in enumerate(zip(row, classes, strict=True)):
            text, own = (cell, "") if isinstance(cell, str) else cell
            names = _class(f"{kind} {own}".strip())
            tag, scope = ("td", "") if index else ("th", ' scope="row"')
            shown = escaped(text) if index else escaped(text).replace("_", "_<wbr>")
            lines.append(f"<{tag}{scope}{names}>{shown}</{tag}>")
        lines.append("</tr>")
    return "".join([*lines, "</tbody></table></div>"])


def _class(names):
    return f' class="{names}"' if names else ""


def figure(name, title, description):
    """A place where the script draws the specification of that name."""
    return (f'<figure><figcaption><b>{escaped(title)}</b><span>{escaped(description)}</span>'
            f'</figcaption><div class="chart" data-chart="{escaped(name)}" role="img" '
            f'aria-label="{escaped(title)}. {escaped(description)}"></div></figure>')


def pictures(figures):
    """Figures side by side, where there is room."""
    return f'<div class="pictures">{"".join(figures)}</div>'


def details(summary, content):
    """HTML that is opened when asked for."""
    return f"<details><summary>{escaped(summary)}</summary>{content}</details>"


def choice(words, names):
    """A box for each name; the script shows it."""
    boxes = "".join(f'<label><input type="checkbox" checked value="{escaped(name)}">'
                    f"{escaped(name)}</label>" for name in names)  # fmt: skip
    return f'<fieldset class="off"><legend>{escaped(words)}</legend>{boxes}</fieldset>'


def library():
    """Vega-Lite with all that it needs, a script.  Raises UserError where it is missing."""
    try:
        import vl_convert  # nothing else here needs it
    except ImportError:
        raise UserError("a page: vl-convert-python is missing here. Say common/in_report.sh in "
                        "place of python, or name a .csv, .md or .json file.") from None
    return f"(() => {{{vl_convert.javascript_bundle(vl_version=VEGA_LITE)}}})();"


def page(title, introduction, sections, specs, data):
    """The whole page.  sections: [(id, heading, HTML)]; specs: {name: specification}; data: {name:
    rows}.
    """
    scripts = [library(), SCRIPT]
    policy = "; ".join([
        "default-src 'none'", "base-uri 'none'", "form-action 'none'",
        f"script-src {' '.join(map(_sum, scripts))}",
        "style-src 'unsafe-inline'",  # Vega writes style attributes
    ])  # fmt: skip
    links = "".join(f'<li><a href="#{escaped(name)}">{escaped(heading)}</a></li>'
                    for name, heading, _ in sections)
    parts = "".join(f'<section id="{escaped(name)}"><h2>{escaped(heading)}</h2>{content}</section>'
                    for name, heading, content in sections)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape(policy, quote=False)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)}</title><style>{STYLE}</style></head>
<body><a class="skip" href="#content">To the content</a>
<header><h1>{escaped(title)}</h1>{introduction}
<nav aria-label="Sections"><ul>{links}</ul></nav></header>
<main id="content">{parts}</main>
<footer><noscript>The pictures need a script of this page; each number is in a table too.</noscript>
</footer>
<script type="application/json" id="charts">{json_inside({"specs": specs, "data": data})}</script>
<script>{scripts[0]}</script><script>{scripts[1]}</script></body></html>
"""


def _sum(script):
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
